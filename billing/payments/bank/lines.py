"""Bank lines, locked while something is said of them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.ledger.model import LedgerAccount, Posting, move
from billing.money import show_pounds
from billing.payments.bank.tables import BankLineRow, BankLineUseRow
from billing.payments.funds import note
from metering.kit.errors import Conflict, Invalid, NotFound
from metering.kit.ids import new_id


class BankLineUnknown(NotFound):
    """There is no such line on any statement."""

    code = "bank-line-unknown"
    title = "No such bank line"


class BankLineIdentified(Conflict):
    """The line, or that much of it, is identified already; undo that first."""

    code = "bank-line-identified"
    title = "The bank line is identified already"


class BankLineDirection(Invalid):
    """Money that went out pays no invoice, and money that came in is no refund."""

    code = "bank-line-direction"
    title = "The bank line goes the other way"


class UseUnknown(NotFound):
    """No bank line was used so."""

    code = "bank-line-use-unknown"
    title = "No such use of a bank line"


def between(amount: Decimal, debit: LedgerAccount, credit: LedgerAccount) -> tuple[Posting, ...]:
    """Return the postings of a signed amount; money that went out goes the other way."""
    if amount < 0:
        debit, credit = credit, debit
    return move(abs(amount), debit=debit, credit=credit)


def take_line(session: Session, bank_line_id: str, amount: Decimal | None = None) -> BankLineRow:
    """Return a line, locked, of which `amount` (any, when None) is left.

    Raises:
        BankLineUnknown, BankLineIdentified.
        BankLineDirection: `amount` is given and the line is of money that went out.
    """
    line = session.get(BankLineRow, bank_line_id, with_for_update=True, populate_existing=True)
    if line is None:
        raise BankLineUnknown(f"No statement has the line {bank_line_id}.")
    if amount is not None and line.amount < 0:
        raise BankLineDirection("Money that went out pays no invoice.")
    left = left_of_line(line)
    if left == 0 or (amount is not None and amount > left):
        raise BankLineIdentified(f"{show_pounds(abs(left))} of this line is not identified yet.")
    return line


def left_of_line(line: BankLineRow) -> Decimal:
    """Return what of a line is not identified, with the sign of its amount."""
    return line.amount - line.identified


def use_line(
    session: Session,
    line: BankLineRow,
    kind: str,
    account_id: str | None,
    subject_id: str,
    amount: Decimal,
    principal: str,
    now: datetime,
    reason: str = "",
) -> BankLineUseRow:
    """Say what `amount` of a line is."""
    use = BankLineUseRow(
        id=new_id("use", now=now),
        bank_line_id=line.id,
        kind=kind,
        account_id=account_id,
        subject_id=subject_id,
        amount=amount,
        reason=reason,
        made_at=now,
        made_by=principal,
    )
    session.add(use)
    session.flush()
    session.refresh(line)
    facts = {"kind": kind, "amount": str(amount), "account": account_id}
    note(session, "identify bank line", line.id, principal, now, facts)
    return use


def mark_undone(use: BankLineUseRow, reason: str, principal: str, now: datetime) -> None:
    """Let what was said of a line hold no longer; the trigger frees the amount."""
    use.undone_at, use.undone_by, use.undo_reason = now, principal, reason
