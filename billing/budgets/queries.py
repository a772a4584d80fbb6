"""Reads of budgets: what is set, and how it stands."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.allocation import borne_by, rule_for
from billing.budgets.model import Part, Span, Standing, standing
from billing.budgets.tables import BudgetRow, BudgetWarningRow
from billing.charges.tables import ChargeRow
from billing.forecasts import queries as forecasts
from billing.forecasts.model import read_parts
from billing.money import NOUGHT, to_pennies
from metering.kit.errors import NotFound
from metering.periods import Month, financial_year_start


class BudgetUnknown(NotFound):
    """The account has no such budget in force."""

    code = "budget-unknown"
    title = "No such budget"


def budget(session: Session, *, account_id: str, budget_id: str) -> BudgetRow:
    """Return a budget of the account that has not ended.

    Raises:
        BudgetUnknown: see the class.
    """
    row = session.get(BudgetRow, (account_id, budget_id))
    if row is None or row.ended_at is not None:
        raise BudgetUnknown(f"The account has no budget {budget_id}.")
    return row


def budgets(
    session: Session, *, account_id: str | None = None, account_ids: Collection[str] | None = None
) -> Sequence[BudgetRow]:
    """Return the budgets in force, of one account, of some or of all."""
    statement = (
        select(BudgetRow)
        .where(BudgetRow.ended_at.is_(None))
        .order_by(BudgetRow.account_id, BudgetRow.per, BudgetRow.set_at, BudgetRow.id)
    )
    if account_id is not None:
        statement = statement.where(BudgetRow.account_id == account_id)
    if account_ids is not None:
        statement = statement.where(BudgetRow.account_id.in_(account_ids))
    return session.scalars(statement).all()


def warnings(session: Session, *, account_id: str) -> Sequence[BudgetWarningRow]:
    """Return the warnings given to an account, latest first."""
    return session.scalars(
        select(BudgetWarningRow)
        .where(BudgetWarningRow.account_id == account_id)
        .order_by(BudgetWarningRow.warned_at.desc(), BudgetWarningRow.share_percent.desc())
    ).all()


def standings(session: Session, *, today: date, account_id: str) -> list[Standing]:
    """Return how an account's budgets stand on a London day, ready to show."""
    return [found for _, found in all_standings(session, today=today, account_ids=[account_id])]


def all_standings(
    session: Session, *, today: date, account_ids: Collection[str] | None = None
) -> list[tuple[str, Standing]]:
    """Return account id and standing of every budget in force, or of some accounts'."""
    rows = budgets(session, account_ids=account_ids)
    ids = {row.account_id for row in rows}
    if not ids:
        return []
    month = Month.of_day(today)
    parts = _parts(session, month, ids)
    borne = _Borne(
        session, month, {row.account_id for row in rows if row.cost_centre is not None}, parts
    )
    found = []
    for row in rows:
        span = Span(per=row.per, month=month)
        mine = parts.get(row.account_id, [])
        if row.tariff_code is not None:
            mine = [part for part in mine if part.service == row.tariff_code]
        elif row.cost_centre is not None:
            mine = borne.parts(row.account_id, row.cost_centre)
        if row.per == "month":
            mine = [
                Part(
                    service=part.service,
                    meter=part.meter,
                    before=NOUGHT,
                    to_date=part.to_date,
                    expected=part.expected,
                )
                for part in mine
            ]
        found.append(
            (
                row.account_id,
                standing(
                    budget_id=row.id,
                    span=span,
                    scope=row.tariff_code or row.cost_centre,
                    amount=row.amount,
                    shares=row.shares,
                    parts=mine,
                ),
            )
        )
    return found


class _Borne:
    """What cost centres bear of charges and forecasts, by the accounts' own dated rules."""

    def __init__(
        self, session: Session, month: Month, ids: set[str], parts: Mapping[str, list[Part]]
    ) -> None:
        self._month = month
        self._parts = parts
        self._rules = {
            account_id: accounts.allocation_rules(session, account_id=account_id)
            for account_id in ids
        }
        self._charges: dict[str, list[_Charged]] = {}
        for row in _charged(session, month, ids) if ids else ():
            self._charges.setdefault(row.account_id, []).append(row)

    def parts(self, account_id: str, cost_centre: str) -> list[Part]:
        """Return the part of an account's charges and forecast that a cost centre bears.

        A charge follows the rule of its last day, as the invoice's line will. The forecast of
        a service's meter is borne as what is charged of it this month; before anything is, as
        the rule of the month's last day says for all of it.
        """
        rules = self._rules[account_id]
        sums: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
        for row in self._charges.get(account_id, ()):
            rule = rule_for(
                rules,
                tariff_code=row.tariff_code,
                meter=row.meter,
                dimensions=row.dimensions,
                day=row.end_on - timedelta(days=1),
            )
            amount = borne_by(rule, cost_centre, row.amount)
            before, to_date = sums.get((row.tariff_code, row.meter), (NOUGHT, NOUGHT))
            if row.month == self._month.first_day:
                to_date += amount
            else:
                before += amount
            sums[row.tariff_code, row.meter] = (before, to_date)
        found = []
        for part in self._parts.get(account_id, ()):
            before, to_date = sums.get((part.service, part.meter), (NOUGHT, NOUGHT))
            if part.to_date:
                expected = to_pennies(part.expected * to_date / part.to_date)
            else:
                rule = rule_for(
                    rules,
                    tariff_code=part.service,
                    meter=part.meter,
                    dimensions={},
                    day=self._month.end_day - timedelta(days=1),
                )
                expected = borne_by(rule, cost_centre, part.expected)
            found.append(replace(part, before=before, to_date=to_date, expected=expected))
        return found


class _Charged(NamedTuple):
    account_id: str
    tariff_code: str
    meter: str
    dimensions: dict[str, Any]
    month: date
    end_on: date
    amount: Decimal


def _charged(session: Session, month: Month, ids: set[str]) -> Iterator[_Charged]:
    rows = session.execute(
        select(
            ChargeRow.account_id,
            ChargeRow.tariff_code,
            ChargeRow.meter,
            ChargeRow.dimensions,
            ChargeRow.month,
            ChargeRow.end_on,
            ChargeRow.amount,
        ).where(
            ChargeRow.account_id.in_(ids),
            ChargeRow.month >= financial_year_start(month.financial_year).first_day,
            ChargeRow.month <= month.first_day,
        )
    )
    return (_Charged(*row) for row in rows)


def _parts(session: Session, month: Month, ids: set[str]) -> dict[str, list[Part]]:
    """Return by account what each service's meter came to, before this month and in it."""
    this_month = ChargeRow.month == month.first_day
    rows = session.execute(
        select(
            ChargeRow.account_id,
            ChargeRow.tariff_code,
            ChargeRow.meter,
            func.sum(case((this_month, 0), else_=ChargeRow.amount)),
            func.sum(case((this_month, ChargeRow.amount), else_=0)),
        )
        .where(
            ChargeRow.account_id.in_(ids),
            ChargeRow.month >= financial_year_start(month.financial_year).first_day,
            ChargeRow.month <= month.first_day,
        )
        .group_by(ChargeRow.account_id, ChargeRow.tariff_code, ChargeRow.meter)
    )
    charged: dict[str, dict[tuple[str, str], tuple[Decimal, Decimal]]] = {}
    for account_id, tariff, meter, before, to_date in rows:
        charged.setdefault(account_id, {})[tariff, meter] = (before + NOUGHT, to_date + NOUGHT)
    expected: dict[str, dict[tuple[str, str], Decimal]] = {}
    for forecast in forecasts.latest_of_all(session, month=month, account_ids=ids):
        expected[forecast.account_id] = {
            (part.service, part.meter): part.expected for part in read_parts(forecast.parts)
        }
    found: dict[str, list[Part]] = {}
    for account_id in ids:
        had, will = charged.get(account_id, {}), expected.get(account_id, {})
        for service, meter in sorted(had.keys() | will.keys()):
            before, to_date = had.get((service, meter), (NOUGHT, NOUGHT))
            found.setdefault(account_id, []).append(
                Part(
                    service=service,
                    meter=meter,
                    before=before,
                    to_date=to_date,
                    expected=max(will.get((service, meter), NOUGHT), to_date),
                )
            )
    return found
