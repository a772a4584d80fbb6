"""National figures: what the nation spends, how its pools stand, and what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.accounts.tables import LocalAgreementRow
from billing.charges.tables import ChargeRow, MonthRatingRow, ParkedUsageRow, PoolTotalRow
from billing.console.account_queries import WAITS_FOR_APPROVAL
from billing.disputes.model import DisputeStatus
from billing.disputes.queries import counts
from billing.money import NOUGHT
from billing.tariffs.model import Tariff, parse_tariff
from billing.tariffs.tables import TariffRow, TariffVersionRow
from metering.events.tables import QuarantinedEventRow
from metering.organisations.tables import OrganisationRow
from metering.periods import Month
from metering.sources.tables import SourceRow


@dataclass(frozen=True)
class Spend:
    """Pounds without VAT in one month."""

    month: Month
    amount: Decimal


@dataclass(frozen=True)
class PoolStanding:
    """A pooled price's joint quantity in a month, and the version that prices it."""

    row: PoolTotalRow
    tariff: Tariff


@dataclass(frozen=True)
class MeterUse:
    """What the nation used of one meter in a month, priced."""

    tariff: str
    meter: str
    unit: str
    quantity: Decimal
    amount: Decimal
    accounts: int


@dataclass(frozen=True)
class Waiting:
    """How many things wait for a person."""

    quarantined: int
    parked: int
    submitted: int
    local: int
    disputes: int


def spend_by_month(session: Session, *, first: Month, last: Month) -> list[Spend]:
    """Return what each month with charges came to, from `first` to `last`.

    As rating kept it: a year of a nation's charges is too much to add up for each page.
    """
    row = MonthRatingRow
    rows = session.execute(
        select(row.month, row.amount)
        .where(row.month >= first.first_day, row.month <= last.first_day, row.amount != NOUGHT)
        .order_by(row.month)
    )
    return [Spend(Month.of_day(month), amount) for month, amount in rows]


def use_by_meter(session: Session, *, month: Month) -> list[MeterUse]:
    """Return what the nation used of each priced meter in a month."""
    of_accounts = (
        select(
            ChargeRow.tariff_code,
            ChargeRow.meter,
            func.max(ChargeRow.unit).label("unit"),
            func.sum(ChargeRow.quantity).label("quantity"),
            func.sum(ChargeRow.amount).label("amount"),
        )
        .where(ChargeRow.month == month.first_day, ChargeRow.meter != "")
        .group_by(ChargeRow.tariff_code, ChargeRow.account_id, ChargeRow.meter)
        .subquery()
    )
    of = of_accounts.c
    rows = session.execute(
        select(
            of.tariff_code,
            of.meter,
            func.max(of.unit),
            func.sum(of.quantity),
            func.sum(of.amount),
            func.count(),
        )
        .group_by(of.tariff_code, of.meter)
        .order_by(of.tariff_code, of.meter)
    )
    return [MeterUse(*row) for row in rows]


def pool_standings(session: Session, *, month: Month) -> list[PoolStanding]:
    """Return where each nationally pooled price stands in a month."""
    rows = session.execute(
        select(PoolTotalRow, TariffVersionRow.content)
        .join(TariffVersionRow, TariffVersionRow.id == PoolTotalRow.version_id)
        .where(PoolTotalRow.month == month.first_day, PoolTotalRow.scope == "pool")
        .order_by(TariffVersionRow.tariff_code, PoolTotalRow.label)
    )
    return [PoolStanding(row, parse_tariff(content)) for row, content in rows]


def saved_by_pools(session: Session, *, first: Month, last: Month) -> Decimal:
    """Return pounds that pooling saved its members in the months from `first` to `last`."""
    return (
        session.scalar(
            select(func.sum(PoolTotalRow.saving)).where(
                PoolTotalRow.month >= first.first_day, PoolTotalRow.month <= last.first_day
            )
        )
        or NOUGHT
    )


def waiting(session: Session) -> Waiting:
    """Return how many refused events, parked lines, tariffs and terms wait for a person."""
    return Waiting(
        quarantined=session.scalar(select(func.count()).where(QuarantinedEventRow.status == "open"))
        or 0,
        parked=session.scalar(select(func.count(ParkedUsageRow.id))) or 0,
        submitted=session.scalar(
            select(func.count(TariffVersionRow.id)).where(TariffVersionRow.status == "submitted")
        )
        or 0,
        local=session.scalar(select(func.count(LocalAgreementRow.id)).where(WAITS_FOR_APPROVAL))
        or 0,
        disputes=counts(session)[DisputeStatus.OPEN],
    )


def tariff_names(session: Session) -> dict[str, str]:
    """Return the names of tariffs by code."""
    return {row.code: row.name for row in session.execute(select(TariffRow.code, TariffRow.name))}


def source_names(session: Session) -> dict[int, str]:
    """Return the names of hosted services by id."""
    return {row.id: row.name for row in session.execute(select(SourceRow.id, SourceRow.name))}


def organisation_names(session: Session) -> dict[str, str]:
    """Return the names of organisations by ODS code."""
    return {
        row.ods_code: row.name
        for row in session.execute(select(OrganisationRow.ods_code, OrganisationRow.name))
    }


def latest_month(session: Session) -> Month | None:
    """Return the latest month with charges, None where there are none yet."""
    found: date | None = session.scalar(select(func.max(ChargeRow.month)))
    return None if found is None else Month.of_day(found)


def sources_without_tariff(session: Session) -> list[tuple[str, str]]:
    """Return code and name of each open hosted service that has no tariff, by name."""
    rows = session.execute(
        select(SourceRow.code, SourceRow.name)
        .outerjoin(TariffRow, TariffRow.source_id == SourceRow.id)
        .where(TariffRow.code.is_(None), SourceRow.closed_at.is_(None))
        .order_by(SourceRow.name)
    )
    return [(row.code, row.name) for row in rows]


def organisation_ids(session: Session, *, ods_codes: Sequence[str]) -> list[int]:
    """Return the ids of the organisations with these ODS codes."""
    return list(
        session.scalars(select(OrganisationRow.id).where(OrganisationRow.ods_code.in_(ods_codes)))
    )
