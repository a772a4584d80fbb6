"""Credit notes that people give: the whole of an invoice, some lines, or some quantity.

Never more than was invoiced: each credit is measured against what earlier ones left of the
line, under a lock on the invoice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from sqlalchemy.orm import Session

from billing.invoices import operations, queries
from billing.invoices.composing import Key, LineKey
from billing.invoices.keeping import keep_draft
from billing.invoices.model import (
    CREDIT_SERIES,
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    compose_invoice,
)
from billing.invoices.tables import InvoiceLineRow
from billing.money import NOUGHT, show_pounds, to_pennies
from metering.kit.errors import Conflict, Invalid
from metering.kit.ids import new_id
from metering.periods import Month, london_day

Basis = Literal["concession", "rebill"]
"""`concession`: money back, the usage stays invoiced. `rebill`: the usage is to be invoiced
again, as the account and its prices then stand."""


class NotCreditable(Conflict):
    """Only an issued or settled invoice is credited, never a credit note or a draft."""

    code = "invoice-not-creditable"
    title = "The document cannot be credited"


class CreditTooLarge(Invalid):
    """A credit is never more than earlier credits left of what was invoiced."""

    code = "credit-too-large"
    title = "More than was invoiced"


class CreditInvalid(Invalid):
    """A credit names lines of the invoice, a quantity above nought, and its reason."""

    code = "credit-invalid"
    title = "The credit is not complete"


@dataclass(frozen=True, kw_only=True)
class Creditable:
    """What is left to credit of one line: its quantity and pounds without VAT."""

    line: Line
    quantity: Decimal
    net: Decimal


def creditable(session: Session, *, account_id: str, invoice_id: str) -> list[Creditable]:
    """Return what is left to credit of each line of an issued invoice.

    Raises:
        InvoiceUnknown; NotCreditable.
    """
    row = queries.invoice_row(session, account_id=account_id, invoice_id=invoice_id)
    if row.kind != "invoice" or row.status not in queries.DONE:
        raise NotCreditable(f"{row.number or row.id} is a {row.status} {row.kind}.")
    taken = queries.credited(session, account_id=account_id, invoice_id=invoice_id)
    found = []
    for line in queries.read(row).lines:
        quantity, net = taken.get(line.number, (Decimal(0), NOUGHT))
        found.append(
            Creditable(
                line=line, quantity=(line.quantity or Decimal(0)) - quantity, net=line.net - net
            )
        )
    return found


def credit_invoice(
    session: Session,
    *,
    account_id: str,
    invoice_id: str,
    reason: str,
    basis: Basis,
    principal: str,
    now: datetime,
    lines: Mapping[int, Decimal | None] | None = None,
) -> Invoice:
    """Issue a credit note for an invoice and return it.

    Args:
        lines: by line number the quantity to credit, None for all that is left of the line;
            without it all that is left of the invoice.

    Raises:
        InvoiceUnknown; NotCreditable; CreditInvalid; CreditTooLarge.
    """
    if not reason.strip():
        raise CreditInvalid("A credit note says why it is given.")
    # The lock: two credits of one invoice are measured one after the other.
    row = queries.invoice_row(
        session, account_id=account_id, invoice_id=invoice_id, for_update=True
    )
    left = {
        item.line.number: item
        for item in creditable(session, account_id=account_id, invoice_id=invoice_id)
    }
    if queries.invoices(session, account_id=account_id, statuses=("draft",)):
        raise NotCreditable(
            "The account has drafts in a bill run, which were worked out without this credit; "
            "issue them, or hold the account and release it afterwards."
        )
    wanted = dict.fromkeys(left) if lines is None else dict(lines)
    unknown = sorted(wanted.keys() - left.keys())
    if unknown or not wanted:
        raise CreditInvalid(f"The invoice has no line {', '.join(map(str, unknown)) or 'named'}.")
    credited = [_credit(left[number], wanted[number]) for number in sorted(wanted)]
    credited = [line for line in credited if line.net or line.quantity]
    if not credited or sum(line.net for line in credited) <= 0:
        raise CreditTooLarge("Nothing is left of this to credit.")
    invoice = queries.read(row)
    assert invoice.issued_at is not None
    today = london_day(now)
    document = compose_invoice(
        lines=[replace(line, number=number) for number, line in enumerate(credited, start=1)],
        id=new_id("crn", now=now),
        kind=InvoiceKind.CREDIT_NOTE,
        series=CREDIT_SERIES,
        status=InvoiceStatus.DRAFT,
        account_id=account_id,
        supplier=invoice.supplier,
        buyer=invoice.buyer,
        month=invoice.month,
        tax_point=today,
        due_on=today,
        purchase_order=invoice.purchase_order,
        notes=invoice.notes,
        credits_number=invoice.number,
        credits_issued_on=london_day(invoice.issued_at),
        credit_reason=reason.strip(),
    )
    already = queries.credited_total(session, account_id=account_id, invoice_id=invoice_id)
    if already + document.total > invoice.total:
        # VAT is rounded on each note, so that many small ones could pass what was charged.
        raise CreditTooLarge(
            f"With its VAT the credit is {show_pounds(document.total)}, and "
            f"{show_pounds(invoice.total - already)} is left of the invoice; credit its lines "
            "together."
        )
    numbers = [line.number for line in credited]
    keys = _keys(session, account_id=account_id, invoice_id=invoice_id)
    _refuse_twice(session, account_id=account_id, credited=credited, keys=keys)
    keep_draft(
        session,
        invoice=document,
        keys=[keys[number] for number in numbers],
        now=now,
        credits_invoice_id=invoice_id,
        credit_basis=basis,
        credits_lines=numbers,
    )
    return queries.read(
        operations.issue(
            session, account_id=account_id, invoice_id=document.id, principal=principal, now=now
        )
    )


def _refuse_twice(
    session: Session, *, account_id: str, credited: Sequence[Line], keys: Mapping[int, LineKey]
) -> None:
    """Refuse to give back what a later correction of the same price took off already.

    Raises:
        CreditTooLarge: less is left of the month's price than is credited.
    """
    back: dict[Key, Decimal] = {}
    for line in credited:
        key = keys[line.number].key
        back[key] = back.get(key, NOUGHT) + line.net
    months = [key.month for key in back]
    sums = queries.invoiced_sums(
        session, account_id=account_id, first=min(months), last=max(months)
    )
    for key, net in back.items():
        left = sums[key].net - sums[key].conceded
        if net > left:
            raise CreditTooLarge(
                f"{show_pounds(max(left, NOUGHT))} is left of {key.month.name} at this price "
                "after its corrections."
            )


def _credit(item: Creditable, quantity: Decimal | None) -> Line:
    """Return the line of the credit note, still with the number of the line it credits."""
    line = item.line
    if quantity is None:
        net, quantity = item.net, item.quantity
    else:
        if not line.quantity or quantity <= 0:
            raise CreditInvalid(f"Line {line.number} is not credited by that quantity.")
        if quantity > item.quantity:
            raise CreditTooLarge(
                f"{item.quantity.normalize():f} is left of line {line.number} to credit."
            )
        share = Fraction(item.net) * Fraction(quantity) / Fraction(item.quantity)
        net = item.net if quantity == item.quantity else to_pennies(share)
    working = {
        "step": "credit",
        "text": f"Of {show_pounds(line.net)} invoiced on line {line.number} "
        f"{show_pounds(item.net)} was left; {show_pounds(net)} is credited.",
        "invoiced_net": f"{line.net:.2f}",
        "left_net": f"{item.net:.2f}",
        "left_quantity": f"{item.quantity:f}",
        "quantity": f"{quantity:f}",
        "amount": f"{net:.2f}",
    }
    return replace(
        line,
        net=net,
        quantity=quantity or None,
        pool_saving=None,
        working=(working,),
    )


def _keys(session: Session, *, account_id: str, invoice_id: str) -> dict[int, LineKey]:
    rows: list[InvoiceLineRow] = list(
        queries.lines(session, account_id=account_id, invoice_id=invoice_id)
    )
    return {
        row.number: LineKey(
            key=Key(
                month=Month.of_day(row.month),
                tariff_code=row.tariff_code,
                version_id=row.version_id,
                price_key=row.price_key,
            ),
            meter_code=row.meter,
            dimensions=dict(row.dimensions),
        )
        for row in rows
    }
