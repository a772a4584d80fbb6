"""Reads of charges, pool totals and what is parked."""

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.charges.tables import ChargeRow, MonthRatingRow, ParkedUsageRow, PoolTotalRow
from billing.money import NOUGHT
from metering.organisations.tables import OrganisationRow
from metering.periods import Month


def charges(session: Session, *, account_id: str, month: Month) -> Sequence[ChargeRow]:
    """Return an account's charges of a month, by tariff, price and days."""
    return session.scalars(
        select(ChargeRow)
        .where(ChargeRow.account_id == account_id, ChargeRow.month == month.first_day)
        .order_by(
            ChargeRow.tariff_code,
            ChargeRow.first_on,
            ChargeRow.label,
            ChargeRow.price_key,
            ChargeRow.id,
        )
    ).all()


def charges_between(
    session: Session, *, account_id: str, first: Month, last: Month
) -> Sequence[ChargeRow]:
    """Return an account's charges of the months from `first` to `last`."""
    return session.scalars(
        select(ChargeRow)
        .where(
            ChargeRow.account_id == account_id,
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .order_by(
            ChargeRow.month,
            ChargeRow.tariff_code,
            ChargeRow.first_on,
            ChargeRow.label,
            ChargeRow.price_key,
            ChargeRow.id,
        )
    ).all()


def pool_totals(session: Session, *, month: Month) -> Sequence[PoolTotalRow]:
    """Return the shared prices' totals of a month."""
    return session.scalars(
        select(PoolTotalRow)
        .where(PoolTotalRow.month == month.first_day)
        .order_by(PoolTotalRow.version_id, PoolTotalRow.price_key, PoolTotalRow.group_code)
    ).all()


def parked(
    session: Session,
    *,
    month: Month | None = None,
    account_id: str | None = None,
    account_ids: Collection[str] | None = None,
) -> Sequence[ParkedUsageRow]:
    """Return usage that could not be rated, longest waiting first; of one or some accounts."""
    statement = select(ParkedUsageRow).order_by(ParkedUsageRow.parked_at, ParkedUsageRow.id)
    if month is not None:
        statement = statement.where(ParkedUsageRow.month == month.first_day)
    if account_id is not None:
        statement = statement.where(ParkedUsageRow.account_id == account_id)
    if account_ids is not None:
        statement = statement.where(ParkedUsageRow.account_id.in_(account_ids))
    return session.scalars(statement).all()


def frozen_months(session: Session, *, months: Collection[Month]) -> set[date]:
    """Return the first days of those months whose pools are frozen."""
    return set(
        session.scalars(
            select(MonthRatingRow.month).where(
                MonthRatingRow.month.in_([month.first_day for month in months]),
                MonthRatingRow.frozen_at.is_not(None),
            )
        )
    )


def sums_by_account_and_meter(
    session: Session, *, tariff_code: str, first: Month, last: Month
) -> dict[tuple[str, str], Decimal]:
    """Return pounds charged on a tariff from `first` to `last` by ODS code and meter."""
    rows = session.execute(
        select(OrganisationRow.ods_code, ChargeRow.meter, func.sum(ChargeRow.amount))
        .join(AccountRow, AccountRow.id == ChargeRow.account_id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .where(
            ChargeRow.tariff_code == tariff_code,
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .group_by(OrganisationRow.ods_code, ChargeRow.meter)
    )
    return {(code, meter): amount for code, meter, amount in rows}


def sums_by_month(
    session: Session, *, tariff_code: str, first: Month, last: Month
) -> dict[Month, Decimal]:
    """Return pounds charged on a tariff by month, from `first` to `last`."""
    rows = session.execute(
        select(ChargeRow.month, func.sum(ChargeRow.amount))
        .where(
            ChargeRow.tariff_code == tariff_code,
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .group_by(ChargeRow.month)
    )
    return {Month.of_day(month): amount for month, amount in rows}


def sums_by_account(session: Session, *, month: Month) -> dict[str, dict[tuple[str, str], Decimal]]:
    """Return pounds charged in a month by ODS code, and there by tariff code and meter."""
    rows = session.execute(
        select(
            OrganisationRow.ods_code,
            ChargeRow.tariff_code,
            ChargeRow.meter,
            func.sum(ChargeRow.amount),
        )
        .join(AccountRow, AccountRow.id == ChargeRow.account_id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .where(ChargeRow.month == month.first_day)
        .group_by(OrganisationRow.ods_code, ChargeRow.tariff_code, ChargeRow.meter)
    )
    found: dict[str, dict[tuple[str, str], Decimal]] = {}
    for code, tariff, meter, amount in rows:
        found.setdefault(code, {})[tariff, meter] = amount
    return found


def sum_of_charges(session: Session, *, month: Month) -> Decimal:
    """Return pounds that the charges of a month come to, over all accounts."""
    found = session.scalar(
        select(func.sum(ChargeRow.amount)).where(ChargeRow.month == month.first_day)
    )
    return NOUGHT if found is None else found
