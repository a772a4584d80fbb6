"""What each counterparty is told at the end of December (M9) and of March (M12).

Each is told what we say that it owes at the month's end, invoice by invoice,
and what we took as income from it since 1 April, so that both sides book the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accruals import queries as accruals
from billing.disputes.queries import disputed_amounts_on
from billing.ledger import queries as ledger
from billing.ledger.model import LedgerAccount
from billing.ledger.tables import LedgerEntryRow, LedgerPostingRow
from billing.money import NOUGHT, sum_pounds
from billing.payments.debt import OpenDebt, open_debts
from metering.kit.errors import Invalid
from metering.periods import Month, financial_year_start, london_midnight

AGREEMENT_MONTHS = (9, 12)


class NotAnAgreementMonth(Invalid):
    """Balances are agreed at the end of December (M9) and of March (M12)."""

    code = "not-an-agreement-month"
    title = "Balances are not agreed in that month"


@dataclass(frozen=True, kw_only=True)
class AgreedBalance:
    """What we say that one counterparty owes, and what we earned from it.

    Attributes:
        invoices: open at the month's end, oldest first; VAT with them.
        credit: payments and credit notes not set against an invoice.
        accrued: charged for use up to the month and not invoiced, pounds without VAT.
        income: invoiced since 1 April, credit notes taken off, pounds without VAT; what is
            accrued comes on top of it.
    """

    account_id: str
    ods_code: str
    name: str
    month: Month
    invoices: tuple[OpenDebt, ...]
    balance: Decimal
    accrued: Decimal
    income: Decimal

    @property
    def receivable(self) -> Decimal:
        """All that is open on invoices."""
        return sum_pounds([debt.outstanding for debt in self.invoices])

    @property
    def disputed(self) -> Decimal:
        """Of `receivable`, what the counterparty queries."""
        return sum_pounds([debt.disputed for debt in self.invoices])

    @property
    def credit(self) -> Decimal:
        """Payments and credit notes that are not set against an invoice yet."""
        return self.receivable - self.balance


def agreement_of_balances(
    session: Session, *, month: Month, account_id: str | None = None
) -> list[AgreedBalance]:
    """Return the statement of every counterparty with anything to agree, by ODS code.

    What is not invoiced is as the month's accruals were taken, and as it stands until they
    are; disputes are those that were open at the month's end.

    Args:
        account_id: of one counterparty alone, as the portal must.

    Raises:
        NotAnAgreementMonth: the month is neither December nor March.
    """
    if month.financial_month not in AGREEMENT_MONTHS:
        raise NotAnAgreementMonth(f"{month.name} is M{month.financial_month}, not M9 or M12.")
    on = month.end_day - timedelta(days=1)
    disputed = partial(disputed_amounts_on, before=london_midnight(month.end_day))
    debts: dict[str, list[OpenDebt]] = {}
    for debt in open_debts(session, on=on, account_id=account_id, disputed=disputed):
        debts.setdefault(debt.account_id, []).append(debt)
    income = _income(session, month=month, account_id=account_id)
    accrued: dict[str, Decimal] = {}
    taken = accruals.taken_at(session, month=month) is not None
    for item in (
        accruals.taken(session, month=month, account_id=account_id)
        if taken
        else accruals.standing(session, month=month)
    ):
        accrued[item.account_id] = accrued.get(item.account_id, NOUGHT) + item.amount
    found = []
    for payer in accounts.payers(session, account_ids=None if account_id is None else [account_id]):
        one_id = payer.account.id
        balance = ledger.account_balance(session, account_id=one_id, before=month.end_day)
        one = AgreedBalance(
            account_id=one_id,
            ods_code=payer.ods_code,
            name=payer.account.name,
            month=month,
            invoices=tuple(debts.get(one_id, ())),
            balance=balance,
            accrued=accrued.get(one_id, NOUGHT),
            income=income.get(one_id, NOUGHT),
        )
        if one.invoices or one.balance or one.accrued or one.income:
            found.append(one)
    return found


def agreement_months(*, today: date, count: int = 6) -> list[Month]:
    """Return the latest months at whose end balances were agreed, newest first."""
    month = Month.of_day(today).previous
    found: list[Month] = []
    while len(found) < count:
        if month.financial_month in AGREEMENT_MONTHS:
            found.append(month)
        month = month.previous
    return found


def _income(session: Session, *, month: Month, account_id: str | None) -> dict[str, Decimal]:
    start = financial_year_start(month.financial_year).first_day
    statement = (
        select(LedgerPostingRow.account_id, func.sum(LedgerPostingRow.amount))
        .join(LedgerEntryRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(
            LedgerPostingRow.ledger_account == LedgerAccount.REVENUE.value,
            LedgerEntryRow.posted_on >= start,
            LedgerEntryRow.posted_on < month.end_day,
        )
        .group_by(LedgerPostingRow.account_id)
    )
    if account_id is not None:
        statement = statement.where(LedgerPostingRow.account_id == account_id)
    rows = session.execute(statement)
    return {one_id: NOUGHT - amount for one_id, amount in rows if one_id is not None}


BALANCES_HEADER = (
    "ODS code",
    "Counterparty",
    "Month",
    "Receivable (GBP)",
    "Of it disputed (GBP)",
    "Unallocated credit (GBP)",
    "Balance (GBP)",
    "Accrued without VAT (GBP)",
    "Income this year without VAT (GBP)",
    "Open invoices",
)


def balance_rows(balances: Sequence[AgreedBalance]) -> Iterator[tuple[str, ...]]:
    """Yield the cells under `BALANCES_HEADER`, a row for each counterparty."""
    for one in balances:
        yield (
            one.ods_code,
            one.name,
            str(one.month),
            f"{one.receivable:.2f}",
            f"{one.disputed:.2f}",
            f"{one.credit:.2f}",
            f"{one.balance:.2f}",
            f"{one.accrued:.2f}",
            f"{one.income:.2f}",
            " ".join(debt.number for debt in one.invoices),
        )
