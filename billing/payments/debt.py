"""Who owes what and for how long, and how promptly accounts pay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.accounts.queries import predecessors
from billing.disputes.queries import disputed_amounts
from billing.ledger.tables import ReceivableRow
from billing.money import NOUGHT, sum_pounds
from billing.payments.tables import AllocationRow
from metering.periods import london_day, london_midnight

PROMPT_DAYS = 30
"""Better Payment Practice Code: a valid invoice is paid within 30 days."""

BUCKETS = ("not due", "1 to 30", "31 to 60", "61 to 90", "over 90")
"""Days overdue."""


class DisputedAmounts(Protocol):
    """Says what of open invoices is disputed and not to be chased."""

    def __call__(self, session: Session, *, account_id: str | None) -> Mapping[str, Decimal]:
        """Return disputed pounds by invoice id, for one account or for all."""


@dataclass(frozen=True, kw_only=True)
class OpenDebt:
    """What an invoice leaves open.

    Attributes:
        disputed: of `outstanding`, what is in dispute.
        days_overdue: nought until the day after the due date.
    """

    account_id: str
    invoice_id: str
    number: str
    issued_on: date
    due_on: date
    total: Decimal
    outstanding: Decimal
    disputed: Decimal
    days_overdue: int

    @property
    def undisputed(self) -> Decimal:
        """What may be chased."""
        return self.outstanding - self.disputed

    @property
    def bucket(self) -> str:
        """Which of `BUCKETS` it falls in."""
        return bucket_of(self.days_overdue)


@dataclass(frozen=True, kw_only=True)
class AgedDebt:
    """An account's debt by age.

    Attributes:
        by_bucket: pounds for each of `BUCKETS`, disputed amounts included.
    """

    account_id: str
    by_bucket: Mapping[str, Decimal]
    disputed: Decimal

    @property
    def total(self) -> Decimal:
        """All that is open."""
        return sum_pounds(list(self.by_bucket.values()))


@dataclass(frozen=True, kw_only=True)
class PromptPayment:
    """Better Payment Practice figures over the invoices that were paid in a span of days.

    Attributes:
        paid_count, paid_value: invoices wholly covered in the span, by number and by total.
        prompt_count, prompt_value: of them, those covered within 30 days of issue.
        unpaid_overdue_count, unpaid_overdue_value: still open and overdue at the end.
    """

    account_id: str
    paid_count: int
    paid_value: Decimal
    prompt_count: int
    prompt_value: Decimal
    unpaid_overdue_count: int
    unpaid_overdue_value: Decimal

    @property
    def share_by_count(self) -> Fraction | None:
        """The share paid promptly by number, None where nothing was paid."""
        return Fraction(self.prompt_count, self.paid_count) if self.paid_count else None

    @property
    def share_by_value(self) -> Fraction | None:
        """The share paid promptly by value, None where nothing was paid."""
        if self.paid_value == 0:
            return None
        return Fraction(self.prompt_value) / Fraction(self.paid_value)


def bucket_of(days_overdue: int) -> str:
    """Return which of `BUCKETS` a debt falls in."""
    if days_overdue <= 0:
        return BUCKETS[0]
    return BUCKETS[min((days_overdue - 1) // 30, 3) + 1]


def open_debts(
    session: Session,
    *,
    on: date,
    account_id: str | None = None,
    disputed: DisputedAmounts = disputed_amounts,
) -> Sequence[OpenDebt]:
    """Return what invoices left open at the end of the London date `on`, oldest first.

    What was set against them later than that day is not counted; disputes are today's.
    """
    cut = london_midnight(on + timedelta(days=1))
    fields = (
        ReceivableRow.account_id,
        ReceivableRow.document_id,
        ReceivableRow.number,
        ReceivableRow.issued_on,
        ReceivableRow.due_on,
        ReceivableRow.total,
    )
    if session.scalar(select(AllocationRow.id).where(AllocationRow.made_at >= cut).limit(1)):
        covered = (
            select(
                AllocationRow.account_id,
                AllocationRow.invoice_id,
                func.sum(AllocationRow.amount).label("amount"),
            )
            .where(AllocationRow.made_at < cut)
            .group_by(AllocationRow.account_id, AllocationRow.invoice_id)
            .subquery()
        )
        taken = func.coalesce(covered.c.amount, NOUGHT)
        statement = (
            select(*fields, taken)
            .outerjoin(
                covered,
                (covered.c.account_id == ReceivableRow.account_id)
                & (covered.c.invoice_id == ReceivableRow.document_id),
            )
            .where(taken < ReceivableRow.total)
        )
    else:
        # Nothing was set against invoices since: what the rows say is what stood that day, and
        # an index has those that are open.
        statement = select(*fields, ReceivableRow.allocated).where(
            ReceivableRow.allocated < ReceivableRow.total
        )
    statement = statement.where(
        ReceivableRow.kind == "invoice", ReceivableRow.issued_on <= on
    ).order_by(ReceivableRow.due_on, ReceivableRow.number)
    if account_id is not None:
        statement = statement.where(ReceivableRow.account_id == account_id)
    in_dispute = disputed(session, account_id=account_id)
    debts = []
    for account, document, number, issued_on, due_on, total, amount in session.execute(statement):
        outstanding = total - amount
        debts.append(
            OpenDebt(
                account_id=account,
                invoice_id=document,
                number=number,
                issued_on=issued_on,
                due_on=due_on,
                total=total,
                outstanding=outstanding,
                disputed=min(in_dispute.get(document, NOUGHT), outstanding),
                days_overdue=max((on - due_on).days, 0),
            )
        )
    return debts


def taken_over_debts(
    session: Session,
    *,
    on: date,
    account_id: str,
    disputed: DisputedAmounts = disputed_amounts,
) -> Sequence[OpenDebt]:
    """Return what accounts that this one has taken over by `on` leave open, by ODS code.

    The invoices stay on the account that they were issued to, its history whole; whoever
    took it over owes them.
    """
    return [
        debt
        for payer in predecessors(session, account_id=account_id)
        if payer.account.closed_at is not None and london_day(payer.account.closed_at) <= on
        for debt in open_debts(session, on=on, account_id=payer.account.id, disputed=disputed)
    ]


def aged_debt(
    session: Session,
    *,
    on: date,
    account_id: str | None = None,
    disputed: DisputedAmounts = disputed_amounts,
) -> Sequence[AgedDebt]:
    """Return debt by age for each account that owes, by account."""
    by_account: dict[str, dict[str, Decimal]] = {}
    in_dispute: dict[str, Decimal] = {}
    for debt in open_debts(session, on=on, account_id=account_id, disputed=disputed):
        buckets = by_account.setdefault(debt.account_id, dict.fromkeys(BUCKETS, NOUGHT))
        buckets[debt.bucket] += debt.outstanding
        in_dispute[debt.account_id] = in_dispute.get(debt.account_id, NOUGHT) + debt.disputed
    return [
        AgedDebt(account_id=account, by_bucket=buckets, disputed=in_dispute[account])
        for account, buckets in sorted(by_account.items())
    ]


def prompt_payment(
    session: Session, *, first_day: date, end_day: date, account_id: str | None = None
) -> Sequence[PromptPayment]:
    """Return the figures for London dates [first_day, end_day), by account.

    An invoice is paid on the day the last money that covers it was received, not the day
    somebody matched it. Invoices that credit notes or write-offs alone cover are not paid.
    """
    undone = select(AllocationRow.undoes).where(AllocationRow.undoes.is_not(None))
    covered = (
        select(
            AllocationRow.account_id,
            AllocationRow.invoice_id,
            func.max(AllocationRow.effective_on).label("paid_on"),
        )
        .where(
            AllocationRow.undoes.is_(None),
            AllocationRow.kind == "payment",
            AllocationRow.id.not_in(undone),
            # The last of them is not before `first_day`, so earlier ones need not be read.
            AllocationRow.effective_on >= first_day,
        )
        .group_by(AllocationRow.account_id, AllocationRow.invoice_id)
        .subquery()
    )
    promptly = covered.c.paid_on - ReceivableRow.issued_on <= PROMPT_DAYS
    statement = (
        select(
            ReceivableRow.account_id,
            func.count(),
            func.sum(ReceivableRow.total),
            func.count().filter(promptly),
            func.coalesce(func.sum(ReceivableRow.total).filter(promptly), NOUGHT),
        )
        .join(
            covered,
            (covered.c.account_id == ReceivableRow.account_id)
            & (covered.c.invoice_id == ReceivableRow.document_id),
        )
        .where(
            ReceivableRow.allocated == ReceivableRow.total,
            covered.c.paid_on >= first_day,
            covered.c.paid_on < end_day,
        )
        .group_by(ReceivableRow.account_id)
    )
    if account_id is not None:
        statement = statement.where(ReceivableRow.account_id == account_id)
    paid: dict[str, tuple[int, Decimal, int, Decimal]] = {
        row[0]: (row[1], row[2], row[3], row[4]) for row in session.execute(statement)
    }
    overdue: dict[str, list[Decimal]] = {}
    for debt in open_debts(session, on=end_day - timedelta(days=1), account_id=account_id):
        if debt.days_overdue:
            overdue.setdefault(debt.account_id, []).append(debt.outstanding)
    nothing = (0, NOUGHT, 0, NOUGHT)
    found = []
    for account in sorted(paid.keys() | overdue.keys()):
        paid_count, paid_value, prompt_count, prompt_value = paid.get(account, nothing)
        found.append(
            PromptPayment(
                account_id=account,
                paid_count=paid_count,
                paid_value=paid_value,
                prompt_count=prompt_count,
                prompt_value=prompt_value,
                unpaid_overdue_count=len(overdue.get(account, [])),
                unpaid_overdue_value=sum_pounds(overdue.get(account, [])),
            )
        )
    return found


def together(figures: Sequence[PromptPayment]) -> PromptPayment:
    """Return the figures of all accounts as one; its `account_id` is empty."""
    return PromptPayment(
        account_id="",
        paid_count=sum(one.paid_count for one in figures),
        paid_value=sum_pounds([one.paid_value for one in figures]),
        prompt_count=sum(one.prompt_count for one in figures),
        prompt_value=sum_pounds([one.prompt_value for one in figures]),
        unpaid_overdue_count=sum(one.unpaid_overdue_count for one in figures),
        unpaid_overdue_value=sum_pounds([one.unpaid_overdue_value for one in figures]),
    )
