"""Reads for the pages of budgets and cost centres."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.tables import AgreementRow
from billing.tariffs.tables import TariffRow
from metering.meters.tables import MeterRow


def tariff_names(session: Session) -> dict[str, str]:
    """Return the name of every service by the code of its tariff."""
    rows = session.execute(select(TariffRow.code, TariffRow.name))
    return {row.code: row.name for row in rows}


def borne(session: Session, *, account_id: str) -> list[tuple[str, str, str, str]]:
    """Return what a cost centre can bear: tariff code, its name, meter code, its name.

    Of the services that the account is or was on, by name.
    """
    own = (
        select(AgreementRow.tariff_code)
        .where(AgreementRow.account_id == account_id)
        .distinct()
        .subquery()
    )
    rows = session.execute(
        select(TariffRow.code, TariffRow.name, MeterRow.code, MeterRow.name)
        .join(own, own.c.tariff_code == TariffRow.code)
        .join(MeterRow, MeterRow.source_id == TariffRow.source_id)
        .order_by(TariffRow.name, MeterRow.name)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]
