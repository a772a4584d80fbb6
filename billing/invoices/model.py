"""An invoice as it stands on paper: frozen values, their sums and their seal.

Everything here is pure. An `Invoice` refuses to exist when it does not add up,
so a document made from one never shows a total that its lines deny.

Signs: on an invoice a positive amount is owed to the supplier; a correction
line may be negative. On a credit note positive amounts are credited to the
buyer, as on its paper and in UBL; `Invoice.owed` is the signed effect of both.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.invoices.parties import BankAccount, Party
from billing.money import NOUGHT, sum_pounds, to_pennies, vat_on
from metering.periods import Month

WorkingStep = Mapping[str, Any]
"""One recorded step of a charge: JSON-ready, decimals as strings, `text` in plain words."""

INVOICE_SERIES, CREDIT_SERIES = "PG", "PC"
_SERIES = re.compile(r"[A-Z]{1,8}")


class Treatment(StrEnum):
    """How VAT treats a supply. The order is the order of printing."""

    STANDARD = "standard"
    ZERO = "zero"
    EXEMPT = "exempt"
    OUTSIDE_SCOPE = "outside-scope"


class LineKind(StrEnum):
    """What a line asks payment for."""

    USAGE = "usage"
    FLAT = "flat"
    MINIMUM = "minimum"
    SHORTFALL = "shortfall"
    CORRECTION = "correction"


class InvoiceKind(StrEnum):
    """Which document it is."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"


class InvoiceStatus(StrEnum):
    """Where it stands; `MOVES` says what may follow what."""

    DRAFT = "draft"
    ISSUED = "issued"
    SETTLED = "settled"
    DISCARDED = "discarded"


MOVES: Mapping[InvoiceStatus, frozenset[InvoiceStatus]] = {
    InvoiceStatus.DRAFT: frozenset({InvoiceStatus.ISSUED, InvoiceStatus.DISCARDED}),
    InvoiceStatus.ISSUED: frozenset({InvoiceStatus.SETTLED}),
    # A payment that is returned or reallocated opens the invoice again.
    InvoiceStatus.SETTLED: frozenset({InvoiceStatus.ISSUED}),
    InvoiceStatus.DISCARDED: frozenset(),
}


def may_move(before: InvoiceStatus, after: InvoiceStatus) -> bool:
    """Say whether an invoice may go from `before` to `after`."""
    return after in MOVES[before]


@dataclass(frozen=True, kw_only=True)
class PurchaseOrder:
    """The buyer's order; `remaining` is what it still covers in pounds before this invoice."""

    number: str
    remaining: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class VatSummary:
    """One treatment and rate of an invoice: net, VAT (rounded once) and why none is charged."""

    treatment: Treatment
    rate_percent: Decimal
    net: Decimal
    vat: Decimal
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A charge as printed, rounded once.

    Attributes:
        number: from 1, in printing order.
        service: name of the hosted service.
        meter: name of the meter, for people.
        dimensions: in words, `Modality CT`; empty when usage is not split.
        quantity: exact, at most 9 places; None where a line has no quantity of its own.
        unit: in words, plural where it reads so: `studies`.
        unit_price: pounds a unit when one price applies to the whole line, else None.
        price_words: how it is priced when one unit price does not say it all (tiers, packages).
        pool_saving: what the national pool took off this line, pounds, or None outside a pool.
        first_day, end_day: London dates, half-open.
        net: pounds and pence without VAT.
        vat_rate_percent: nought unless `treatment` is standard.
        vat_reason: why no VAT is charged, for every treatment but standard.
        cos_heading: contracted-out-services heading under which an NHS buyer may reclaim VAT.
        charge_id: the charge that this line prints.
        working: how it was worked out, step by step.
    """

    number: int
    kind: LineKind
    service: str
    meter: str
    description: str
    net: Decimal
    treatment: Treatment
    vat_rate_percent: Decimal
    first_day: date
    end_day: date
    dimensions: str = ""
    quantity: Decimal | None = None
    unit: str = ""
    unit_price: Decimal | None = None
    price_words: str | None = None
    pool_saving: Decimal | None = None
    vat_reason: str | None = None
    cos_heading: str | None = None
    cost_centre: str | None = None
    subjective_code: str | None = None
    charge_id: str | None = None
    working: tuple[WorkingStep, ...] = ()

    def __post_init__(self) -> None:
        if not self.description.strip():
            raise ValueError(f"line {self.number} needs a description (VAT Regulations, reg. 14)")
        if self.end_day <= self.first_day:
            raise ValueError(f"line {self.number} ends before it starts")
        for amount in (self.net, self.pool_saving):
            if amount is not None and amount != to_pennies(amount):
                raise ValueError(f"line {self.number}: {amount} is not whole pennies")
        if (self.treatment is Treatment.STANDARD) != (self.vat_rate_percent > 0):
            raise ValueError(f"line {self.number}: a VAT rate goes with standard-rated lines alone")
        if self.treatment is not Treatment.STANDARD and not self.vat_reason:
            raise ValueError(f"line {self.number}: say why no VAT is charged")

    @property
    def last_day(self) -> date:
        """The last London date the line covers, for print."""
        return self.end_day - timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Invoice:
    """An invoice or credit note, whole; make one with `compose_invoice`.

    Attributes:
        number: allocated at issue, never before.
        series: number series, `PG`; credit notes have their own, `PC`.
        month: the London month that is billed.
        issued_at: aware instant of issue; None while it is a draft.
        tax_point: time of supply for VAT.
        due_on: last day to pay.
        purchase_order: None prints "No purchase order given".
        vat_summaries: one for each treatment and rate.
        pool_saving: what the national pool saved this buyer on these lines, pounds.
        notes: further sentences for print.
        pay_to: bank account to pay into; None on a credit note.
        seal, previous_seal: SHA-256 in hexadecimal; see `sealing`.
        credits_number, credits_issued_on, credit_reason: on a credit note, the invoice that it
            credits and why (VAT Regulations 1995, reg. 15C).
        usage_sha256: of the readings behind the lines, kept beside the invoice; see `backing`.

    Raises:
        ValueError: the parts do not add up, or the document contradicts itself.
    """

    id: str
    kind: InvoiceKind
    series: str
    status: InvoiceStatus
    account_id: str
    supplier: Party
    buyer: Party
    month: Month
    tax_point: date
    due_on: date
    lines: tuple[Line, ...]
    vat_summaries: tuple[VatSummary, ...]
    net: Decimal
    vat: Decimal
    total: Decimal
    pool_saving: Decimal
    number: str | None = None
    issued_at: datetime | None = None
    purchase_order: PurchaseOrder | None = None
    currency: str = "GBP"
    notes: tuple[str, ...] = ()
    pay_to: BankAccount | None = None
    seal: str | None = None
    previous_seal: str | None = None
    credits_number: str | None = None
    credits_issued_on: date | None = None
    credit_reason: str | None = None
    usage_sha256: str | None = None

    def __post_init__(self) -> None:
        check_invoice(self)

    @property
    def is_vat_invoice(self) -> bool:
        """False where every line is outside the scope of VAT."""
        return any(line.treatment is not Treatment.OUTSIDE_SCOPE for line in self.lines)

    @property
    def owed(self) -> Decimal:
        """What the document adds to the buyer's debt; negative on a credit note."""
        return -self.total if self.kind is InvoiceKind.CREDIT_NOTE else self.total


def check_invoice(invoice: Invoice) -> None:
    """Raise ValueError where an invoice does not add up or contradicts itself."""
    if not invoice.lines:
        raise ValueError("an invoice has at least one line")
    if invoice.vat_summaries != summarise_vat(invoice.lines):
        raise ValueError("the VAT summary is not the sum of the lines")
    net = sum_pounds([line.net for line in invoice.lines])
    vat = sum_pounds([summary.vat for summary in invoice.vat_summaries])
    if (invoice.net, invoice.vat, invoice.total) != (net, vat, net + vat):
        raise ValueError("the totals are not the sums of the lines and their VAT")
    if invoice.pool_saving != sum_pool_saving(invoice.lines):
        raise ValueError("the pool saving is not the sum of the lines'")
    if len(split_by_treatment(invoice.lines)) > 1:
        raise ValueError("supplies outside the scope of VAT go on an invoice of their own")
    if [line.number for line in invoice.lines] != list(range(1, len(invoice.lines) + 1)):
        raise ValueError("lines are numbered from 1 without a gap")
    if invoice.status in {InvoiceStatus.ISSUED, InvoiceStatus.SETTLED} and (
        invoice.number is None or invoice.issued_at is None or invoice.seal is None
    ):
        raise ValueError("an issued invoice has a number, an instant of issue and a seal")
    taxable = {Treatment.STANDARD, Treatment.ZERO}
    if invoice.supplier.vat_number is None and any(
        line.treatment in taxable for line in invoice.lines
    ):
        raise ValueError("a supplier of taxable supplies has a VAT number")
    if invoice.kind is InvoiceKind.CREDIT_NOTE and not (
        invoice.credits_number and invoice.credit_reason
    ):
        raise ValueError("a credit note names the invoice that it credits and the reason")


def compose_invoice(*, lines: Sequence[Line], **facts: Any) -> Invoice:
    """Return the invoice of `lines` with its sums worked out; `facts` are its other fields."""
    summaries = summarise_vat(lines)
    net = sum_pounds([line.net for line in lines])
    vat = sum_pounds([summary.vat for summary in summaries])
    return Invoice(
        lines=tuple(lines),
        vat_summaries=summaries,
        net=net,
        vat=vat,
        total=net + vat,
        pool_saving=sum_pool_saving(lines),
        **facts,
    )


def sum_pool_saving(lines: Iterable[Line]) -> Decimal:
    """Return what the pool saved over all lines, pounds."""
    return sum_pounds([line.pool_saving for line in lines if line.pool_saving is not None])


def cost_centre_totals(
    lines: Iterable[Line],
) -> tuple[tuple[str | None, str | None, Decimal], ...]:
    """Return (cost centre, subjective code, net pounds) for each coding, in order of code.

    What no cost centre bears comes last; nothing is returned where no line is coded.
    """
    groups: dict[tuple[str | None, str | None], list[Decimal]] = defaultdict(list)
    for line in lines:
        groups[line.cost_centre, line.subjective_code].append(line.net)
    if all(centre is None for centre, _ in groups):
        return ()
    order = sorted(groups, key=lambda key: (key[0] is None, key[0] or "", key[1] or ""))
    return tuple((centre, code, sum_pounds(groups[centre, code])) for centre, code in order)


def summarise_vat(lines: Iterable[Line]) -> tuple[VatSummary, ...]:
    """Return one summary for each treatment and rate, VAT rounded once on the sum of its lines.

    In the order standard, zero, exempt, outside the scope; higher rates first.
    """
    groups: dict[tuple[Treatment, Decimal], list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.treatment, line.vat_rate_percent].append(line)
    order = list(Treatment)
    summaries = []
    for treatment, rate in sorted(groups, key=lambda key: (order.index(key[0]), -key[1])):
        group = groups[treatment, rate]
        net = sum_pounds([line.net for line in group])
        # dict.fromkeys: each reason once, in the order of the lines.
        reasons = dict.fromkeys(line.vat_reason for line in group if line.vat_reason)
        summaries.append(
            VatSummary(
                treatment=treatment,
                rate_percent=rate,
                net=net,
                vat=vat_on(net, rate_percent=rate) if rate else NOUGHT,
                reason="; ".join(reasons) or None,
            )
        )
    return tuple(summaries)


def split_by_treatment(lines: Iterable[Line]) -> tuple[tuple[Line, ...], ...]:
    """Return the lines of each invoice they must be printed on, renumbered from 1.

    Lines outside the scope of VAT never share an invoice with taxable or exempt lines: the
    first is not a VAT invoice, the second is (EN 16931, BR-O-11 to BR-O-14). Taxable first;
    an empty group is left out.
    """
    taxable: list[Line] = []
    outside: list[Line] = []
    for line in lines:
        (outside if line.treatment is Treatment.OUTSIDE_SCOPE else taxable).append(line)
    return tuple(
        tuple(replace(line, number=number) for number, line in enumerate(group, start=1))
        for group in (taxable, outside)
        if group
    )


def invoice_number(series: str, financial_year: int, sequence: int) -> str:
    """Return a document number.

    Args:
        series: 1 to 8 capital letters.
        financial_year: the calendar year in which it starts.
        sequence: from 1, gapless within series and year.

    >>> invoice_number("PG", 2026, 123)
    'PG-2627-000123'
    """
    if not _SERIES.fullmatch(series):
        raise ValueError(f"'{series}' is not a number series: 1 to 8 capital letters")
    if sequence < 1:
        raise ValueError("document numbers start at 1")
    return f"{series}-{financial_year % 100:02d}{(financial_year + 1) % 100:02d}-{sequence:06d}"
