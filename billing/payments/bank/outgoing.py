"""Lines of money that went out: refunds, and payments that the bank took back."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.money import show_pounds
from billing.payments import refunds
from billing.payments.bank.lines import (
    BankLineDirection,
    UseUnknown,
    left_of_line,
    mark_undone,
    take_line,
    use_line,
)
from billing.payments.bank.operations import undo_payment
from billing.payments.bank.tables import BankLineUseRow
from billing.payments.funds import check_reason
from billing.payments.tables import PaymentRow, RefundRow
from metering.kit.errors import Conflict


class RefundAmountDiffers(Conflict):
    """A bank line is a refund only when it is of exactly its amount."""

    code = "refund-amount-differs"
    title = "The amounts differ"


def confirm_refund(
    session: Session,
    *,
    bank_line_id: str,
    account_id: str,
    refund_id: str,
    principal: str,
    now: datetime,
) -> RefundRow:
    """Say that a line that went out is a refund that was asked for, of exactly its amount.

    Raises:
        BankLineUnknown, BankLineIdentified, BankLineDirection, RefundUnknown, RefundFinished.
        RefundAmountDiffers: see the class.
    """
    line = take_line(session, bank_line_id)
    refund = session.get(RefundRow, (account_id, refund_id))
    if refund is None:
        raise refunds.RefundUnknown(f"The account has no refund {refund_id}.")
    if line.amount > 0 or refund.via != "bank":
        raise BankLineDirection("A refund by bank is a line of money that went out.")
    if -left_of_line(line) != refund.amount:
        raise RefundAmountDiffers(
            f"The refund is of {show_pounds(refund.amount)}; "
            f"the line is of {show_pounds(line.amount)}."
        )
    use_line(session, line, "refund", account_id, refund_id, line.amount, principal, now)
    return refunds.finish_refund(
        session,
        account_id=account_id,
        refund_id=refund_id,
        sent=True,
        remote_id=line.id,
        principal=principal,
        now=now,
    )


def confirm_refund_returned(
    session: Session,
    *,
    bank_line_id: str,
    account_id: str,
    refund_id: str,
    reason: str,
    principal: str,
    now: datetime,
) -> RefundRow:
    """Say that a line that came in is a refund of ours that the bank could not deliver.

    Its amount is the account's again, to be set against an invoice or refunded anew.

    Raises:
        BankLineUnknown, BankLineIdentified, BankLineDirection, RefundUnknown, ReasonMissing.
        RefundFinished: the refund was never sent, or has failed before.
        RefundAmountDiffers: the line is not of the refund's amount.
    """
    check_reason(reason)
    line = take_line(session, bank_line_id)
    refund = session.get(RefundRow, (account_id, refund_id), with_for_update=True)
    if refund is None:
        raise refunds.RefundUnknown(f"The account has no refund {refund_id}.")
    if line.amount < 0 or refund.via != "bank":
        raise BankLineDirection("A refund that came back is a line of money that came in.")
    if refund.status != "sent":
        raise refunds.RefundFinished(f"This refund is {refund.status}, so it cannot come back.")
    if left_of_line(line) != refund.amount:
        raise RefundAmountDiffers(
            f"The refund is of {show_pounds(refund.amount)}; "
            f"the line is of {show_pounds(left_of_line(line))}."
        )
    use_line(
        session, line, "returned", account_id, refund_id, refund.amount, principal, now, reason
    )
    return refunds.finish_refund(
        session,
        account_id=account_id,
        refund_id=refund_id,
        sent=False,
        principal=principal,
        now=now,
    )


def confirm_return(
    session: Session,
    *,
    bank_line_id: str,
    account_id: str,
    payment_id: str,
    reason: str,
    principal: str,
    now: datetime,
) -> PaymentRow:
    """Say that a line that went out is the bank taking a payment back (an unpaid Direct Debit).

    What the payment was set against is open again.

    Raises:
        BankLineUnknown, BankLineIdentified, BankLineDirection, PaymentUnknown, ReasonMissing.
        RefundAmountDiffers: the line is not of the payment's amount.
        PaymentInUse: some of it was refunded.
    """
    check_reason(reason)
    line = take_line(session, bank_line_id)
    use = session.scalars(
        select(BankLineUseRow).where(
            BankLineUseRow.subject_id == payment_id,
            BankLineUseRow.account_id == account_id,
            BankLineUseRow.kind == "payment",
            BankLineUseRow.undone_at.is_(None),
        )
    ).one_or_none()
    if use is None:
        raise UseUnknown("No bank line was confirmed as that payment.")
    if line.amount > 0:
        raise BankLineDirection("A payment is taken back by a line of money that went out.")
    if -left_of_line(line) != use.amount:
        raise RefundAmountDiffers(
            f"The payment is of {show_pounds(use.amount)}; "
            f"the line is of {show_pounds(line.amount)}."
        )
    row = undo_payment(
        session,
        account_id=account_id,
        payment_id=payment_id,
        reason=reason,
        principal=principal,
        now=now,
    )
    mark_undone(use, reason, principal, now)
    session.flush()
    received = take_line(session, use.bank_line_id)
    # Both lines are explained: the money came and went.
    for one, amount in ((received, use.amount), (line, line.amount)):
        use_line(session, one, "returned", account_id, payment_id, amount, principal, now, reason)
    return row


def explain(
    session: Session,
    *,
    kind: str,
    bank_line_id: str,
    account_id: str,
    subject_id: str,
    reason: str,
    principal: str,
    now: datetime,
) -> None:
    """Say what a line of money that went out is; it raises what saying so raises.

    Args:
        kind: `refund`, `refund-returned` or `return`.
        subject_id: of the refund, or of the payment that the bank took back.
        reason: not asked of a refund.
    """
    what = {"bank_line_id": bank_line_id, "account_id": account_id, "principal": principal}
    if kind == "refund":
        confirm_refund(session, refund_id=subject_id, now=now, **what)
    elif kind == "refund-returned":
        confirm_refund_returned(session, refund_id=subject_id, reason=reason, now=now, **what)
    else:
        confirm_return(session, payment_id=subject_id, reason=reason, now=now, **what)
