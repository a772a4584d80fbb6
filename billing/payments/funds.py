"""What operations on money share: the rows they lock, the refusals and the record of acts."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from billing.ledger.tables import ReceivableRow
from billing.money import to_pennies
from billing.payments.tables import PaymentRow
from metering.kit import audit
from metering.kit.errors import Conflict, Invalid, NotFound


class InvoiceNotOpen(NotFound):
    """The account has no issued invoice with this id."""

    code = "invoice-not-open"
    title = "No such issued invoice"


class PaymentUnknown(NotFound):
    """The account has no such payment."""

    code = "payment-unknown"
    title = "No such payment"


class CreditNoteUnknown(NotFound):
    """The account has no issued credit note with this id."""

    code = "credit-note-unknown"
    title = "No such credit note"


class NotWholePennies(Invalid):
    """An amount of money is above nought and in whole pennies."""

    code = "not-whole-pennies"
    title = "The amount is not whole pennies above nought"


class ReasonMissing(Invalid):
    """Writing off, refunding, setting aside and undoing need a reason."""

    code = "reason-missing"
    title = "Give a reason"


class MoreThanAvailable(Conflict):
    """A payment or credit note cannot be used beyond its amount."""

    code = "more-than-available"
    title = "More than is left of the payment"


def payment(session: Session, *, account_id: str, payment_id: str) -> PaymentRow:
    """Return a payment, locked, with its present sums.

    Raises:
        PaymentUnknown: see the class.
    """
    row = session.get(
        PaymentRow, (account_id, payment_id), with_for_update=True, populate_existing=True
    )
    if row is None:
        raise PaymentUnknown(f"The account has no payment {payment_id}.")
    return row


def left_of(row: PaymentRow | ReceivableRow) -> Decimal:
    """Return what of a payment or document is neither allocated nor refunded."""
    if isinstance(row, PaymentRow):
        whole = Decimal("0.00") if row.reversed_at is not None else row.amount
        return whole - row.allocated - row.refunded
    return row.total - row.allocated - row.refunded


def document(session: Session, account_id: str, document_id: str, *, kind: str) -> ReceivableRow:
    """Return an issued `invoice` or `credit-note` as money, locked, with its present sums.

    Raises:
        InvoiceNotOpen, CreditNoteUnknown: by kind.
    """
    row = session.get(
        ReceivableRow, (account_id, document_id), with_for_update=True, populate_existing=True
    )
    if row is None or row.kind != kind:
        if kind == "invoice":
            raise InvoiceNotOpen(f"The account has no issued invoice {document_id}.")
        raise CreditNoteUnknown(f"The account has no issued credit note {document_id}.")
    return row


def refresh(
    session: Session, account_id: str, payment_id: str | None, credit_note_id: str | None
) -> None:
    """Read again the sums that triggers have moved, for whoever holds the rows."""
    if payment_id is not None:
        session.refresh(session.get_one(PaymentRow, (account_id, payment_id)))
    if credit_note_id is not None:
        session.refresh(session.get_one(ReceivableRow, (account_id, credit_note_id)))


def check_whole(amount: Decimal) -> None:
    """Refuse what is not an amount of money above nought.

    Raises:
        NotWholePennies: see the class.
    """
    if amount <= 0 or amount != to_pennies(amount):
        raise NotWholePennies(f"{amount} is not an amount in whole pennies above nought.")


def check_reason(reason: str) -> None:
    """Refuse an empty reason.

    Raises:
        ReasonMissing: see the class.
    """
    if not reason.strip():
        raise ReasonMissing("Say in a few words why.")


def note(
    session: Session,
    action: str,
    object_id: str,
    principal: str,
    now: datetime,
    facts: Mapping[str, Any],
) -> None:
    """Record an act in the audit trail."""
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="payment",
        object_id=object_id,
        facts=facts,
    )
