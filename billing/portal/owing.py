"""What an account owes today, as the ledger has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.disputes.queries import disputed_amounts
from billing.ledger import queries as ledger
from billing.money import sum_pounds
from billing.payments.debt import BUCKETS, OpenDebt, open_debts, taken_over_debts


@dataclass(frozen=True)
class TakenOver:
    """An open invoice of an organisation that became part of this one, by its ODS code."""

    code: str
    name: str
    debt: OpenDebt


@dataclass(frozen=True)
class Owing:
    """What an account owes on issued invoices, pounds.

    Attributes:
        debts: invoices that leave something open, oldest first.
        balance: debts less credit; negative where the account has more credit than debt.
        taken_over: what accounts that became part of this one left open; in neither of both.
    """

    debts: Sequence[OpenDebt]
    balance: Decimal
    taken_over: Sequence[TakenOver] = ()

    @property
    def overdue(self) -> tuple[OpenDebt, ...]:
        """What should have been paid before today."""
        return tuple(debt for debt in self.debts if debt.days_overdue > 0)

    @property
    def to_pay(self) -> Decimal:
        """All that is open."""
        return sum_pounds([debt.outstanding for debt in self.debts])

    @property
    def to_pay_late(self) -> Decimal:
        """What is open and overdue."""
        return sum_pounds([debt.outstanding for debt in self.overdue])

    @property
    def credit(self) -> Decimal:
        """Payments and credit notes that are not set against an invoice yet."""
        return self.to_pay - self.balance

    @property
    def next_due_on(self) -> date | None:
        """The first day by which something must be paid, None where nothing is to come."""
        return min((debt.due_on for debt in self.debts if debt.days_overdue <= 0), default=None)

    @property
    def by_age(self) -> Mapping[str, Decimal]:
        """What is open for each of `BUCKETS`."""
        return {
            bucket: sum_pounds([debt.outstanding for debt in self.debts if debt.bucket == bucket])
            for bucket in BUCKETS
        }


def owing(session: Session, *, account_id: str, today: date) -> Owing:
    """Return what the account owes at the end of a London date."""
    taken_over = taken_over_debts(session, on=today, account_id=account_id)
    ids = sorted({debt.account_id for debt in taken_over})
    by_id = {
        payer.account.id: payer
        for payer in (accounts.payers(session, account_ids=ids) if ids else ())
    }
    return Owing(
        open_debts(session, on=today, account_id=account_id, disputed=disputed_amounts),
        ledger.account_balance(session, account_id=account_id, before=today + timedelta(days=1)),
        tuple(
            TakenOver(by_id[debt.account_id].ods_code, by_id[debt.account_id].account.name, debt)
            for debt in taken_over
        ),
    )
