"""Saying what each bank line is, and taking that back.

Money that comes in is cash and unidentified the moment it is imported. Identifying it says whose
it is and what it pays; nothing is identified twice (a check on the line), and undoing leaves both
the act and its undoing to be seen.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.ledger import operations as ledger
from billing.ledger.model import EntryKind, LedgerAccount
from billing.money import sum_pounds
from billing.payments import operations as payments
from billing.payments.bank.lines import (
    UseUnknown,
    between,
    left_of_line,
    mark_undone,
    take_line,
    use_line,
)
from billing.payments.bank.matching import Share
from billing.payments.bank.tables import BankLineRow, BankLineUseRow
from billing.payments.funds import check_reason, check_whole, note
from billing.payments.tables import AllocationRow, PaymentRow
from metering.kit.errors import Conflict


class UseNotUndone(Conflict):
    """A refund that was sent, or a payment that was returned, is not undone: it happened."""

    code = "bank-line-use-final"
    title = "This cannot be undone"


def confirm(
    session: Session,
    *,
    bank_line_id: str,
    shares: Sequence[Share],
    principal: str,
    now: datetime,
    reason: str = "",
) -> tuple[PaymentRow, ...]:
    """Say whose money a line is and what it pays: one payment for each account.

    A share without an invoice stays unallocated on its account (an overpayment). Shares may
    come to less than the line; the rest stays in the unmatched queue.

    Raises:
        BankLineUnknown, BankLineDirection, NotWholePennies.
        BankLineIdentified: less of the line is left.
        InvoiceNotOpen, MoreThanOutstanding: see `payments.operations.allocate`.
    """
    for share in shares:
        check_whole(share.amount)
    total = sum_pounds([share.amount for share in shares])
    line = take_line(session, bank_line_id, total)
    by_account: dict[str, list[Share]] = defaultdict(list)
    for share in shares:
        by_account[share.account_id].append(share)
    made = []
    for account_id, own in sorted(by_account.items()):
        payment = payments.record_payment(
            session,
            account_id=account_id,
            source="bank",
            source_ref=line.id,
            received_on=line.booked_on,
            amount=sum_pounds([share.amount for share in own]),
            reference=line.reference,
            principal=principal,
            now=now,
        )
        use_line(session, line, "payment", account_id, payment.id, payment.amount, principal, now)
        # In the order of ids, so that two confirmations cannot wait for each other.
        for share in sorted(own, key=lambda one: one.invoice_id or ""):
            if share.invoice_id is not None:
                payments.allocate(
                    session,
                    account_id=account_id,
                    invoice_id=share.invoice_id,
                    payment_id=payment.id,
                    amount=share.amount,
                    reason=reason,
                    principal=principal,
                    now=now,
                )
        made.append(payment)
    return tuple(made)


def set_aside(
    session: Session, *, bank_line_id: str, reason: str, principal: str, now: datetime
) -> BankLineUseRow:
    """Say that what is left of a line is about no account: charges, interest, a transfer.

    Raises:
        BankLineUnknown, BankLineIdentified, ReasonMissing.
    """
    check_reason(reason)
    line = take_line(session, bank_line_id)
    amount = left_of_line(line)
    use = use_line(session, line, "set-aside", None, "", amount, principal, now, reason=reason)
    ledger.post(
        session,
        kind=EntryKind.SET_ASIDE,
        subject_id=use.id,
        description=reason,
        postings=between(amount, LedgerAccount.UNALLOCATED, LedgerAccount.OTHER),
        principal=principal,
        now=now,
    )
    return use


def confirm_payout(
    session: Session, *, bank_line_id: str, principal: str, now: datetime
) -> BankLineUseRow:
    """Say that what is left of a line is Stripe paying out (or taking back) what it holds for us.

    Raises:
        BankLineUnknown, BankLineIdentified.
    """
    line = take_line(session, bank_line_id)
    amount = left_of_line(line)
    use = use_line(session, line, "payout", None, "", amount, principal, now)
    ledger.post(
        session,
        kind=EntryKind.PAYOUT,
        subject_id=use.id,
        description=f"Stripe payout {line.reference}".strip(),
        postings=between(amount, LedgerAccount.UNALLOCATED, LedgerAccount.STRIPE),
        principal=principal,
        now=now,
    )
    return use


def undo(
    session: Session, *, use_id: str, reason: str, principal: str, now: datetime
) -> BankLineRow:
    """Take back what was said of a bank line; it, or that part of it, is unmatched again.

    Raises:
        UseUnknown, ReasonMissing.
        AlreadyUndone: it was undone before.
        UseNotUndone: it is a refund or a return.
        PaymentInUse: some of the payment was refunded.
    """
    check_reason(reason)
    use = session.get(BankLineUseRow, use_id, with_for_update=True)
    if use is None:
        raise UseUnknown("No bank line was used so.")
    if use.undone_at is not None:
        raise payments.AlreadyUndone("This was undone already.")
    if use.kind in {"refund", "returned"}:
        raise UseNotUndone("Money that was given back was given back.")
    if use.kind == "payment":
        assert use.account_id is not None
        undo_payment(
            session,
            account_id=use.account_id,
            payment_id=use.subject_id,
            reason=reason,
            principal=principal,
            now=now,
        )
    else:
        ledger.undo(
            session,
            kind=EntryKind.PAYOUT if use.kind == "payout" else EntryKind.SET_ASIDE,
            subject_id=use.id,
            undo_id=use.id,
            description=f"Undone: {reason}",
            principal=principal,
            now=now,
        )
    mark_undone(use, reason, principal, now)
    session.flush()
    facts = {"kind": use.kind, "amount": str(use.amount), "reason": reason}
    note(session, "undo use of bank line", use.bank_line_id, principal, now, facts)
    return session.get_one(BankLineRow, use.bank_line_id, populate_existing=True)


def undo_payment(
    session: Session,
    *,
    account_id: str,
    payment_id: str,
    reason: str,
    principal: str,
    now: datetime,
) -> PaymentRow:
    """Undo every allocation of a payment and take it back."""
    undone = select(AllocationRow.undoes).where(
        AllocationRow.account_id == account_id, AllocationRow.undoes.is_not(None)
    )
    live = session.scalars(
        select(AllocationRow.id)
        .where(
            AllocationRow.account_id == account_id,
            AllocationRow.payment_id == payment_id,
            AllocationRow.undoes.is_(None),
            AllocationRow.id.not_in(undone),
        )
        .order_by(AllocationRow.invoice_id)
    ).all()
    for allocation_id in live:
        payments.undo_allocation(
            session,
            account_id=account_id,
            allocation_id=allocation_id,
            reason=reason,
            principal=principal,
            now=now,
        )
    return payments.take_back_payment(
        session,
        account_id=account_id,
        payment_id=payment_id,
        reason=reason,
        principal=principal,
        now=now,
    )


def use_of_payment(session: Session, *, account_id: str, payment_id: str) -> str | None:
    """Return the use of a bank line that is a payment, None where it came another way."""
    return session.scalar(
        select(BankLineUseRow.id).where(
            BankLineUseRow.subject_id == payment_id,
            BankLineUseRow.account_id == account_id,
            BankLineUseRow.kind == "payment",
            BankLineUseRow.undone_at.is_(None),
        )
    )
