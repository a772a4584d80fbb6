"""Prepaid credit: money paid in advance, set against invoices as they are issued.

A payment that an account made in advance is held as prepaid. When an invoice is issued, what is
left of it is set against the invoice by itself, the oldest credit first and the oldest debt
first; it is an ordinary allocation, so ledger, statement and books need to know nothing more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.ledger.tables import ReceivableRow
from billing.payments.funds import left_of, note, payment
from billing.payments.operations import allocate
from billing.payments.tables import AllocationRow, PaymentRow, PrepaidRow
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


@dataclass(frozen=True, kw_only=True)
class PrepaidStanding:
    """One prepaid credit and how far it is used, in pounds and pence.

    Attributes:
        granted_on, ends_on: it is drawn on London dates from the one up to the other.
        drawn: set against invoices, by itself or by a person; `refunded`: given back.
        taken_back: whether the payment turned out not to be the account's.
    """

    payment_id: str
    received_on: date
    reference: str
    granted_on: date
    ends_on: date | None
    amount: Decimal
    drawn: Decimal
    refunded: Decimal
    taken_back: bool

    @property
    def left(self) -> Decimal:
        """What may still be used."""
        return Decimal("0.00") if self.taken_back else self.amount - self.drawn - self.refunded

    def is_drawn_on(self, day: date) -> bool:
        """Say whether invoices are paid from it on a London day."""
        ended = self.ends_on is not None and day >= self.ends_on
        return self.left > 0 and self.granted_on <= day and not ended


@dataclass(frozen=True, kw_only=True)
class PrepaidDraw:
    """A part of a credit set against an invoice, or (below nought) taken off it again."""

    payment_id: str
    granted_on: date
    invoice_id: str
    number: str
    amount: Decimal
    reason: str
    made_at: datetime
    made_by: str


def standings(session: Session, *, account_id: str) -> list[PrepaidStanding]:
    """Return an account's prepaid credits, in the order in which they are drawn."""
    rows = session.execute(
        select(PrepaidRow, PaymentRow)
        .join(
            PaymentRow,
            (PaymentRow.account_id == PrepaidRow.account_id)
            & (PaymentRow.id == PrepaidRow.payment_id),
        )
        .where(PrepaidRow.account_id == account_id)
        .order_by(PrepaidRow.granted_on, PrepaidRow.payment_id)
    )
    return [
        PrepaidStanding(
            payment_id=paid.id,
            received_on=paid.received_on,
            reference=paid.reference,
            granted_on=held.granted_on,
            ends_on=held.ends_on,
            amount=paid.amount,
            drawn=paid.allocated,
            refunded=paid.refunded,
            taken_back=paid.reversed_at is not None,
        )
        for held, paid in rows
    ]


def history(session: Session, *, account_id: str) -> list[PrepaidDraw]:
    """Return what an account's prepaid credits paid, the latest first."""
    rows = session.execute(
        select(AllocationRow, PrepaidRow.granted_on, ReceivableRow.number)
        .join(
            PrepaidRow,
            (PrepaidRow.account_id == AllocationRow.account_id)
            & (PrepaidRow.payment_id == AllocationRow.payment_id),
        )
        .join(
            ReceivableRow,
            (ReceivableRow.account_id == AllocationRow.account_id)
            & (ReceivableRow.document_id == AllocationRow.invoice_id),
        )
        .where(AllocationRow.account_id == account_id)
        .order_by(AllocationRow.made_at.desc(), AllocationRow.id.desc())
    )
    return [
        PrepaidDraw(
            payment_id=row.payment_id or "",
            granted_on=granted_on,
            invoice_id=row.invoice_id,
            number=number,
            amount=row.amount,
            reason=row.reason,
            made_at=row.made_at,
            made_by=row.made_by,
        )
        for row, granted_on, number in rows
    ]


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
