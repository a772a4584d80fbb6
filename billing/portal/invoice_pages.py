"""What the pages of invoices show: frozen, worded, added up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any
from urllib.parse import quote

from billing.documents.render import DOCUMENTS
from billing.documents.words import show_vat_number
from billing.invoices import queries as invoices
from billing.invoices.model import Invoice, InvoiceKind, InvoiceStatus, Line, LineKind
from billing.invoices.parties import Party
from billing.invoices.tables import InvoiceLineRow
from billing.money import show_pounds, sum_pounds
from billing.portal.account import OpenAccount
from billing.portal.invoice_list_pages import standing_tag
from billing.portal.invoice_queries import (
    Document,
    IssuedInvoice,
    RelatedInvoice,
)
from billing.portal.parts import Figure, Link, Tag
from billing.portal.paying import bank_rows
from billing.portal.usage_asked import UsageAsked
from billing.portal.words import (
    shorten,
    show_number,
    show_size,
    show_span,
    show_treatment,
    show_unit_price,
)
from metering.periods import Month, london_day, show_date


@dataclass(frozen=True)
class WorkingStep:
    """A step of a working in words; `behind` says how the shared amount in it came about."""

    text: str
    behind: str = ""


@dataclass(frozen=True)
class LineView:
    """A line as it stands on the page, and what unfolds under it."""

    number: int
    description: str
    detail: tuple[str, ...]
    quantity: str
    price: str
    vat: str
    net: str
    working: tuple[WorkingStep, ...]
    saving: str
    usage_href: str | None
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LineGroup:
    """The lines of one service, and what they come to without VAT."""

    service: str
    lines: tuple[LineView, ...]
    net: str


@dataclass(frozen=True)
class VatView:
    """One row of the VAT summary."""

    treatment: str
    reason: str
    net: str
    vat: str


@dataclass(frozen=True)
class Download:
    """A document to download."""

    title: str
    href: str
    format_and_size: str


@dataclass(frozen=True)
class InvoicePage:
    """One invoice or credit note."""

    account: OpenAccount
    kind: str
    number: str
    month: str
    tag: Tag
    figures: tuple[Figure, ...]
    facts: tuple[tuple[str, str], ...]
    groups: tuple[LineGroup, ...]
    vat_rows: tuple[VatView, ...]
    net: str
    vat: str
    total: str
    total_label: str
    pay_to: tuple[tuple[str, str], ...]
    pay_page: str
    buyer: tuple[str, ...]
    supplier: tuple[str, ...]
    notes: tuple[str, ...]
    downloads: tuple[Download, ...]
    related: tuple[Link, ...]
    seal: str


def invoice_page(
    *,
    account: OpenAccount,
    path: str,
    issued: IssuedInvoice,
    today: date,
    pay_page: str | None = None,
) -> InvoicePage:
    """Return one invoice; `path` is the address of the account's list of invoices."""
    row, invoice = issued.row, invoices.read(issued.row)
    credit_note = invoice.kind is InvoiceKind.CREDIT_NOTE
    tag = standing_tag(
        kind=row.kind,
        status=row.status,
        due_on=row.due_on,
        total=row.total,
        left=issued.left,
        today=today,
    )
    codes = {line.number: line for line in issued.lines}
    groups = []
    for service, members in groupby(invoice.lines, key=lambda line: line.service):
        group = list(members)
        groups.append(
            LineGroup(
                service,
                tuple(_line(line, codes.get(line.number), account) for line in group),
                show_pounds(sum_pounds([line.net for line in group])),
            )
        )
    return InvoicePage(
        account=account,
        kind="Credit note" if credit_note else "Invoice",
        number=invoice.number or "",
        month=invoice.month.name,
        tag=tag,
        figures=_figures(invoice, tag, issued.left),
        facts=_facts(invoice),
        groups=tuple(groups),
        vat_rows=tuple(
            VatView(
                show_treatment(item.treatment, item.rate_percent),
                item.reason or "",
                show_pounds(item.net),
                show_pounds(item.vat),
            )
            for item in invoice.vat_summaries
        ),
        net=show_pounds(invoice.net),
        vat=show_pounds(invoice.vat),
        total=show_pounds(invoice.total),
        total_label="Total credited" if credit_note else "Total with VAT",
        pay_to=bank_rows(invoice.pay_to, reference=invoice.number),
        pay_page=pay_page or "",
        buyer=_party(invoice.buyer),
        supplier=_party(invoice.supplier),
        notes=invoice.notes,
        downloads=_downloads(issued.documents, path=f"{path}/{quote(row.id)}"),
        related=_related(issued, path),
        seal=invoice.seal or "",
    )


def _figures(invoice: Invoice, tag: Tag, left: Decimal) -> tuple[Figure, ...]:
    total = show_pounds(invoice.total)
    if invoice.kind is InvoiceKind.CREDIT_NOTE:
        figures = [Figure("Credited to you", total, "With VAT")]
    elif invoice.status is InvoiceStatus.SETTLED:
        figures = [Figure("Paid", total, "With VAT", "success")]
    else:
        tone = "warning" if tag.colour == "red" else ""
        due = f"By {show_date(invoice.due_on)}"
        if left != invoice.total:
            paid = show_pounds(invoice.total - left)
            due = f"By {show_date(invoice.due_on)}; {paid} of {total} is paid or credited"
        figures = [Figure("To pay", show_pounds(left), due, tone)]
    if invoice.pool_saving > 0:
        figures.append(
            Figure(
                "Saved by the national pool",
                show_pounds(invoice.pool_saving),
                "Less than you would have paid alone, without VAT",
                "success",
            )
        )
    return tuple(figures)


def _facts(invoice: Invoice) -> tuple[tuple[str, str], ...]:
    facts = [("For usage in", invoice.month.name)]
    if invoice.issued_at is not None:
        facts.append(("Issued", show_date(london_day(invoice.issued_at))))
    facts.append(("Tax point", show_date(invoice.tax_point)))
    if invoice.kind is InvoiceKind.CREDIT_NOTE:
        return (*facts, ("Reason", invoice.credit_reason or ""))
    facts.append(("Due", show_date(invoice.due_on)))
    order = invoice.purchase_order
    if order is None:
        words = "No purchase order given"
    elif order.remaining is None:
        words = order.number
    else:
        words = f"{order.number} ({show_pounds(order.remaining)} left on it before this invoice)"
    return (*facts, ("Purchase order", words))


def _line(line: Line, row: InvoiceLineRow | None, account: OpenAccount) -> LineView:
    facts = [
        ("Dates", show_span(line.first_day, line.end_day)),
        ("VAT", show_treatment(line.treatment, line.vat_rate_percent)),
        ("Why no VAT is charged", line.vat_reason),
        ("Contracted-out services heading", line.cos_heading),
        ("Cost centre", line.cost_centre),
        ("Subjective code", line.subjective_code),
        ("Charge", line.charge_id),
    ]
    correction = line.kind is LineKind.CORRECTION
    detail = (
        line.dimensions,
        "" if line.unit_price is not None else line.price_words,
        # A correction is about other days than the rest of the invoice.
        show_span(line.first_day, line.end_day) if correction else "",
    )
    if line.unit_price is not None:
        price = show_unit_price(line.unit_price)
    else:
        price = "See working" if line.quantity is not None else "–"
    quantity = "–" if line.quantity is None else f"{show_number(line.quantity)} {line.unit}"
    saving = line.pool_saving
    return LineView(
        number=line.number,
        description=line.description,
        detail=tuple(shorten(part) for part in detail if part),
        quantity=quantity.strip(),
        price=price,
        vat=f"{show_number(line.vat_rate_percent)}%" if line.vat_rate_percent else "None",
        net=show_pounds(line.net),
        working=tuple(_step(step) for step in line.working if step.get("text")),
        saving=show_pounds(saving) if saving is not None and saving > 0 else "",
        usage_href=None if row is None else _usage_href(row, account),
        facts=tuple((label, text) for label, text in facts if text),
    )


def _step(step: Mapping[str, Any]) -> WorkingStep:
    joint = step.get("joint_working")
    behind = str(joint["text"]) if isinstance(joint, Mapping) and joint.get("text") else ""
    return WorkingStep(str(step["text"]), behind)


def _usage_href(line: InvoiceLineRow, account: OpenAccount) -> str | None:
    if not line.meter:
        return None
    where = tuple(sorted((name, str(value)) for name, value in line.dimensions.items()))
    asked = UsageAsked(Month.of_day(line.first_on), meter=line.meter, where=where)
    return asked.href(f"/portal/{quote(account.code)}/usage")


def _party(party: Party) -> tuple[str, ...]:
    vat_number = party.vat_number
    parts = (
        party.name,
        *party.address,
        party.postcode,
        f"VAT number {show_vat_number(vat_number)}" if vat_number else "",
        party.email or "",
    )
    return tuple(part for part in parts if part)


def _downloads(documents: Iterable[Document], *, path: str) -> tuple[Download, ...]:
    made = {document.name: document for document in documents}
    return tuple(
        Download(
            kind.title,
            f"{path}/documents/{name}",
            f"{kind.suffix.rpartition('.')[2].upper()}, {show_size(made[name].size)}",
        )
        for name, kind in DOCUMENTS.items()
        if name in made
    )


def _related(issued: IssuedInvoice, path: str) -> tuple[Link, ...]:
    def link(words: str, other: RelatedInvoice) -> Link:
        return Link(f"{words} {other.number}", f"{path}/{quote(other.id)}")

    links = [link("Credits invoice", issued.credits)] if issued.credits else []
    return (
        *links,
        *(
            link(f"{show_pounds(other.total)} credited by credit note", other)
            for other in issued.credit_notes
        ),
    )
