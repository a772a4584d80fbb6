"""Reads for the pages of hosted services that metering has not."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.tariffs.tables import TariffRow
from metering.events.tables import IngestBatchRow, QuarantinedEventRow
from metering.organisations.tables import OrganisationRow
from metering.periods import london_day, london_midnight
from metering.sources.queries import SourceUnknown
from metering.sources.tables import ServiceKeyRow, SourceRow

DAYS_SHOWN = 14


@dataclass(frozen=True)
class ServiceSummary:
    """A hosted service as the list shows it."""

    row: SourceRow
    last_received_at: datetime | None
    refused: int
    keys: int


@dataclass(frozen=True)
class Day:
    """What arrived from a service on one London day."""

    day: date
    accepted: int
    refused: int


def source(session: Session, *, source_id: int) -> SourceRow:
    """Return a hosted service.

    Raises:
        SourceUnknown: there is none.
    """
    found = session.get(SourceRow, source_id)
    if found is None:
        raise SourceUnknown("There is no such service.")
    return found


def services(
    session: Session, *, now: datetime, source_ids: Collection[int] | None = None
) -> list[ServiceSummary]:
    """Return hosted services with when they last sent, by name; all unless ids are given."""
    last = (
        select(IngestBatchRow.source_id, func.max(IngestBatchRow.received_at).label("at"))
        .group_by(IngestBatchRow.source_id)
        .subquery()
    )
    refused = (
        select(QuarantinedEventRow.source_id, func.count().label("count"))
        .where(QuarantinedEventRow.status == "open")
        .group_by(QuarantinedEventRow.source_id)
        .subquery()
    )
    keys = (
        select(ServiceKeyRow.source_id, func.count().label("count"))
        .where(
            ServiceKeyRow.revoked_at.is_(None),
            ServiceKeyRow.expires_at.is_(None) | (ServiceKeyRow.expires_at > now),
        )
        .group_by(ServiceKeyRow.source_id)
        .subquery()
    )
    statement = (
        select(
            SourceRow, last.c.at, func.coalesce(refused.c.count, 0), func.coalesce(keys.c.count, 0)
        )
        .outerjoin(last, last.c.source_id == SourceRow.id)
        .outerjoin(refused, refused.c.source_id == SourceRow.id)
        .outerjoin(keys, keys.c.source_id == SourceRow.id)
        .order_by(SourceRow.name)
    )
    if source_ids is not None:
        statement = statement.where(SourceRow.id.in_(source_ids))
    return [ServiceSummary(*row) for row in session.execute(statement)]


def received_by_day(session: Session, *, source_id: int, now: datetime) -> Sequence[Day]:
    """Return what arrived in the last days, each London day, the earliest first."""
    today = london_day(now)
    first = today - timedelta(days=DAYS_SHOWN - 1)
    rows = {
        row.day: row
        for row in session.execute(
            text(
                """
                SELECT (received_at AT TIME ZONE 'Europe/London')::date AS day,
                    sum(accepted) AS accepted, sum(rejected + conflict) AS refused
                FROM ingest_batches
                WHERE source_id = :source AND received_at >= :since
                GROUP BY 1
                """
            ),
            {"source": source_id, "since": london_midnight(first)},
        )
    }
    days = [first + timedelta(days=number) for number in range(DAYS_SHOWN)]
    return [
        Day(
            day,
            int(rows[day].accepted) if day in rows else 0,
            int(rows[day].refused) if day in rows else 0,
        )
        for day in days
    ]


def tariff_code(session: Session, *, source_id: int) -> str | None:
    """Return the code of a service's tariff, None where it has none."""
    return session.scalar(select(TariffRow.code).where(TariffRow.source_id == source_id))


def example_organisation(session: Session, *, today: date) -> str:
    """Return the ODS code of some open organisation, for an example that works."""
    return (
        session.scalar(
            select(OrganisationRow.ods_code)
            .where(
                OrganisationRow.opened_on.is_(None) | (OrganisationRow.opened_on <= today),
                OrganisationRow.closed_from.is_(None) | (OrganisationRow.closed_from > today),
            )
            .order_by(OrganisationRow.ods_code)
            .limit(1)
        )
        or "RRK"
    )
