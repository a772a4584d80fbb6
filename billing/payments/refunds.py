"""Money given back: asked for, sent, failed."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.ledger import operations as ledger
from billing.ledger.model import EntryKind, LedgerAccount, move
from billing.money import show_pounds
from billing.payments.funds import (
    MoreThanAvailable,
    check_reason,
    check_whole,
    document,
    left_of,
    note,
    payment,
    refresh,
)
from billing.payments.tables import GatewayCallRow, RefundRow
from metering.kit.errors import Conflict, NotFound
from metering.kit.ids import new_id


class RefundUnknown(NotFound):
    """The account has no such refund."""

    code = "refund-unknown"
    title = "No such refund"


class RefundFinished(Conflict):
    """The refund was sent or has failed already, or the gateway has it in hand."""

    code = "refund-finished"
    title = "The refund is finished"


def request_refund(
    session: Session,
    *,
    account_id: str,
    amount: Decimal,
    reason: str,
    principal: str,
    now: datetime,
    payment_id: str | None = None,
    credit_note_id: str | None = None,
) -> RefundRow:
    """Set money aside to be given back; it leaves by the way it came.

    A payment by Stripe is refunded by Stripe, everything else by bank.

    Raises:
        PaymentUnknown, CreditNoteUnknown, NotWholePennies, ReasonMissing.
        MoreThanAvailable: less is left of the payment or credit note.
    """
    check_whole(amount)
    check_reason(reason)
    if (payment_id is None) == (credit_note_id is None):
        raise ValueError("a refund is of a payment or of a credit note")
    via = "bank"
    if payment_id is not None:
        source = payment(session, account_id=account_id, payment_id=payment_id)
        available, via = left_of(source), source.source
    else:
        assert credit_note_id is not None
        available = left_of(document(session, account_id, credit_note_id, kind="credit-note"))
    if amount > available:
        raise MoreThanAvailable(f"{show_pounds(available)} is left, less than what was asked.")
    row = RefundRow(
        account_id=account_id,
        id=new_id("rfd", now=now),
        payment_id=payment_id,
        credit_note_id=credit_note_id,
        amount=amount,
        via=via,
        status="requested",
        reason=reason,
        requested_at=now,
        requested_by=principal,
    )
    session.add(row)
    session.flush()
    refresh(session, account_id, payment_id, credit_note_id)
    note(session, "request refund", row.id, principal, now, {"amount": str(amount)})
    return row


def finish_refund(
    session: Session,
    *,
    account_id: str,
    refund_id: str,
    sent: bool,
    principal: str,
    now: datetime,
    remote_id: str | None = None,
) -> RefundRow:
    """Record that a refund left us, or failed and frees its amount again.

    One that was sent may still fail (a bank returns it); then its posting is undone.

    Raises:
        RefundUnknown.
        RefundFinished: it has failed, or was sent before and is sent again.
    """
    row = session.get(RefundRow, (account_id, refund_id), with_for_update=True)
    if row is None:
        raise RefundUnknown(f"The account has no refund {refund_id}.")
    if row.status == "failed" or (row.status == "sent" and sent):
        raise RefundFinished(f"This refund is {row.status} already.")
    was_sent = row.status == "sent"
    row.status = "sent" if sent else "failed"
    row.remote_id = remote_id or row.remote_id
    if sent:
        row.sent_at = now
    else:
        row.failed_at = now
    session.flush()
    refresh(session, account_id, row.payment_id, row.credit_note_id)
    if sent:
        origin = LedgerAccount.CREDIT if row.payment_id is None else LedgerAccount.UNALLOCATED
        ledger.post(
            session,
            kind=EntryKind.REFUND,
            subject_id=refund_id,
            description=f"Refund: {row.reason}",
            postings=move(
                row.amount,
                debit=origin,
                debit_account_id=account_id,
                credit=LedgerAccount.STRIPE if row.via == "stripe" else LedgerAccount.UNALLOCATED,
            ),
            principal=principal,
            now=now,
        )
    elif was_sent:
        ledger.undo(
            session,
            kind=EntryKind.REFUND,
            subject_id=refund_id,
            undo_id=refund_id,
            description="Refund returned",
            principal=principal,
            now=now,
        )
    note(session, "finish refund", refund_id, principal, now, {"status": row.status})
    return row


def cancel_refund(
    session: Session, *, account_id: str, refund_id: str, principal: str, now: datetime
) -> RefundRow:
    """Let a refund that was asked for not be sent; its amount is free again.

    One by the gateway only where the gateway has refused it: else it may be on its way.

    Raises:
        RefundUnknown.
        RefundFinished: it is not waiting any more, or the gateway has it in hand.
    """
    row = session.get(
        RefundRow, (account_id, refund_id), with_for_update=True, populate_existing=True
    )
    if row is None:
        raise RefundUnknown(f"The account has no refund {refund_id}.")
    if row.status != "requested":
        raise RefundFinished(f"This refund is {row.status} already.")
    if row.via == "stripe":
        call = session.scalar(
            select(GatewayCallRow.status).where(
                GatewayCallRow.account_id == account_id,
                GatewayCallRow.action == "refund",
                GatewayCallRow.subject_id == refund_id,
            )
        )
        if call != "refused":
            raise RefundFinished("Stripe has this refund in hand; it cannot be cancelled.")
    return finish_refund(
        session,
        account_id=account_id,
        refund_id=refund_id,
        sent=False,
        principal=principal,
        now=now,
    )
