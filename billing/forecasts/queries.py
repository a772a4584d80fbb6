"""Reads of forecasts."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.forecasts.tables import ForecastRow
from metering.organisations.tables import OrganisationRow
from metering.periods import Month


def latest(session: Session, *, account_id: str, month: Month) -> ForecastRow | None:
    """Return the last forecast of an account's month, None where none was made."""
    return session.scalar(
        select(ForecastRow)
        .where(ForecastRow.account_id == account_id, ForecastRow.month == month.first_day)
        .order_by(ForecastRow.made_on.desc())
        .limit(1)
    )


def latest_of_all(
    session: Session, *, month: Month, account_ids: Collection[str] | None = None
) -> Sequence[ForecastRow]:
    """Return the last forecast of each account, or of some, that has one for the month."""
    statement = (
        select(ForecastRow)
        .ext(distinct_on(ForecastRow.account_id))
        .where(ForecastRow.month == month.first_day)
        .order_by(ForecastRow.account_id, ForecastRow.made_on.desc())
    )
    if account_ids is not None:
        statement = statement.where(ForecastRow.account_id.in_(account_ids))
    return session.scalars(statement).all()


def made(session: Session, *, account_id: str, month: Month) -> Sequence[ForecastRow]:
    """Return every forecast of an account's month, in order of the days they were made on."""
    return session.scalars(
        select(ForecastRow)
        .where(ForecastRow.account_id == account_id, ForecastRow.month == month.first_day)
        .order_by(ForecastRow.made_on)
    ).all()


def latest_with_names(session: Session, *, month: Month) -> list[tuple[ForecastRow, str, str]]:
    """Return each account's last forecast for a month, its ODS code and name, by ODS code."""
    names = {
        account_id: (code, name)
        for account_id, code, name in session.execute(
            select(AccountRow.id, OrganisationRow.ods_code, AccountRow.name).join(
                OrganisationRow, OrganisationRow.id == AccountRow.organisation_id
            )
        )
    }
    rows = [(row, *names[row.account_id]) for row in latest_of_all(session, month=month)]
    return sorted(rows, key=lambda item: item[1])
