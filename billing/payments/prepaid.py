"""Prepaid credit: money paid in advance, set against invoices as they are issued.

A payment that an account made in advance is held as prepaid. When an invoice is issued, what is
left of it is set against the invoice by itself, the oldest credit first and the oldest debt
first; it is an ordinary allocation, so ledger, statement and books need to know nothing more.
"""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.ledger.tables import ReceivableRow
from billing.payments.funds import left_of, note, payment
from billing.payments.operations import allocate
from billing.payments.tables import PaymentRow, PrepaidRow
from billing.rating.commitments import Credit, draw_credits
from metering.kit.errors import Conflict, Invalid
from metering.periods import london_day, show_date


class AlreadyPrepaid(Conflict):
    """The payment is held as prepaid credit already."""

    code = "already-prepaid"
    title = "The payment is prepaid credit already"


class PrepaidDatesInvalid(Invalid):
    """Prepaid credit ends after the day from which it can be drawn."""

    code = "prepaid-dates-invalid"
    title = "The dates of the credit do not fit"


def hold_as_prepaid(
    session: Session,
    *,
    account_id: str,
    payment_id: str,
    principal: str,
    now: datetime,
    granted_on: date | None = None,
    ends_on: date | None = None,
) -> PrepaidRow:
    """Hold what is left of a payment as credit for invoices to come.

    Args:
        granted_on: the London day from which it is drawn; the day it was received without.
        ends_on: the first day on which it is drawn no more; what is left then waits for a
            person, who sets it against an invoice or refunds it.

    Raises:
        PaymentUnknown, AlreadyPrepaid, PrepaidDatesInvalid.
    """
    row = payment(session, account_id=account_id, payment_id=payment_id)
    first = granted_on or row.received_on
    if ends_on is not None and ends_on <= first:
        raise PrepaidDatesInvalid(f"The credit ends after {show_date(first)}.")
    made: PrepaidRow | None = session.scalar(
        insert(PrepaidRow)
        .values(
            account_id=account_id,
            payment_id=payment_id,
            granted_on=first,
            ends_on=ends_on,
            held_by=principal,
            held_at=now,
        )
        .on_conflict_do_nothing()
        .returning(PrepaidRow)
    )
    if made is None:
        raise AlreadyPrepaid("The payment is held as prepaid credit already.")
    facts = {"granted_on": str(first), "ends_on": None if ends_on is None else str(ends_on)}
    note(session, "hold as prepaid", payment_id, principal, now, facts)
    return made


def to_draw(session: Session) -> Sequence[str]:
    """Return the accounts that have prepaid credit left and an invoice open."""
    return session.scalars(
        select(PrepaidRow.account_id)
        .join(
            PaymentRow,
            (PaymentRow.account_id == PrepaidRow.account_id)
            & (PaymentRow.id == PrepaidRow.payment_id),
        )
        .join(ReceivableRow, ReceivableRow.account_id == PrepaidRow.account_id)
        .where(
            PaymentRow.reversed_at.is_(None),
            PaymentRow.allocated + PaymentRow.refunded < PaymentRow.amount,
            ReceivableRow.kind == "invoice",
            ReceivableRow.allocated < ReceivableRow.total,
        )
        .distinct()
        .order_by(PrepaidRow.account_id)
    ).all()


def draw(session: Session, *, account_id: str, principal: str, now: datetime) -> int:
    """Set an account's prepaid credit against its open invoices; return how many draws.

    The oldest debt is paid first, from the credit that was granted first.
    """
    held = session.scalars(
        select(PrepaidRow).where(PrepaidRow.account_id == account_id).with_for_update()
    ).all()
    credits = tuple(
        Credit(
            code=row.payment_id,
            granted_on=row.granted_on,
            left=left_of(payment(session, account_id=account_id, payment_id=row.payment_id)),
            ends_on=row.ends_on,
        )
        for row in held
    )
    invoices = session.scalars(
        select(ReceivableRow)
        .where(
            ReceivableRow.account_id == account_id,
            ReceivableRow.kind == "invoice",
            ReceivableRow.allocated < ReceivableRow.total,
        )
        .order_by(ReceivableRow.due_on, ReceivableRow.number)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    drawn = 0
    for invoice in invoices:
        draws, credits, _ = draw_credits(credits, amount=left_of(invoice), on=london_day(now))
        for part in draws:
            allocate(
                session,
                account_id=account_id,
                invoice_id=invoice.document_id,
                payment_id=part.code,
                amount=part.amount,
                reason="prepaid credit",
                principal=principal,
                now=now,
            )
            drawn += 1
    return drawn
