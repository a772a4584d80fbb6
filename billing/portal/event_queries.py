"""Reads of one organisation's events of a day, an hour or one alone, wherever they are kept."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, func, select
from sqlalchemy.orm import Session

from billing.portal import archived_usage
from billing.portal.usage_queries import of_dimensions
from metering.events.archive import ArchivedEvent
from metering.events.tables import event_withdrawals, usage_events
from metering.kit.columns import UtcDateTime
from metering.kit.errors import NotFound
from metering.meters.tables import DimensionSetRow, MeterRow
from metering.periods import Month, Period, day_period
from metering.sources.tables import SourceRow


class NoSuchEvent(NotFound):
    """The organisation has no usage event with that id."""

    code = "event-not-found"
    title = "No such event"


class HourUse(NamedTuple):
    """What events of one real hour come to; `start` is the instant at which it began."""

    start: datetime
    quantity: Decimal
    events: int


class Event(NamedTuple):
    """A usage event as it counted on a meter.

    Attributes:
        key: what the address of its page has.
        event_id: the service's own id.
        kind: 0 usage, 1 withdrawal.
        withdrawn: a later record cancelled it.
    """

    key: UUID
    event_id: str
    source_code: str
    kind: int
    occurred_at: datetime
    received_at: datetime
    quantity: Decimal
    dimensions: dict[str, str]
    withdrawn: bool


class EventMeter(NamedTuple):
    """What an event counted for on one meter."""

    meter: MeterRow
    service: str
    event: Event
    withdrawn_at: datetime | None
    withdrawn_because: str | None
    detail: dict[str, Any] | None


def _in_window(
    *, organisation_id: int, meter_id: int, period: Period, where: Mapping[str, str]
) -> list[ColumnElement[bool]]:
    assert period.end is not None
    events = usage_events.c
    conditions: list[ColumnElement[bool]] = [
        events.subject_id == organisation_id,
        events.meter_id == meter_id,
        # The month is said too: by it PostgreSQL reads one partition alone.
        events.period_month == Month.of(period.start).first_day,
        events.occurred_at >= period.start,
        events.occurred_at < period.end,
    ]
    narrowed = of_dimensions(where)
    if narrowed is not None:
        conditions.append(narrowed)
    return conditions


def hours(
    session: Session,
    *,
    organisation_id: int,
    meter_id: int,
    period: Period,
    where: Mapping[str, str],
) -> list[HourUse]:
    """Return what events of one London day come to by real hour; hours without are left out."""
    archive = archived_usage.archive_of(session, month=Month.of(period.start))
    if archive is not None:
        return _by_hour(
            archived_usage.rows(
                archive,
                organisation_id=organisation_id,
                meter_id=meter_id,
                period=period,
                where=where,
            )
        )
    hour = func.date_trunc("hour", usage_events.c.occurred_at, type_=UtcDateTime()).label("hour")
    rows = session.execute(
        select(hour, func.sum(usage_events.c.quantity), func.count())
        .join(DimensionSetRow, DimensionSetRow.id == usage_events.c.dimension_set_id)
        .where(
            *_in_window(
                organisation_id=organisation_id, meter_id=meter_id, period=period, where=where
            )
        )
        .group_by(hour)
        .order_by(hour)
    )
    return [HourUse(*row) for row in rows]


def _by_hour(found: Iterable[ArchivedEvent]) -> list[HourUse]:
    hours: dict[datetime, HourUse] = {}
    for row in found:
        start = row.occurred_at.replace(minute=0, second=0, microsecond=0)
        before = hours.get(start, HourUse(start, Decimal(0), 0))
        hours[start] = HourUse(start, before.quantity + row.quantity, before.events + 1)
    return list(hours.values())


_IS_WITHDRAWN = and_(
    event_withdrawals.c.source_id == usage_events.c.source_id,
    event_withdrawals.c.event_key == usage_events.c.event_key,
)
_EVENT = (
    usage_events.c.event_key,
    func.coalesce(usage_events.c.event_id, cast(usage_events.c.event_key, Text)),
    SourceRow.code,
    usage_events.c.kind,
    usage_events.c.occurred_at,
    usage_events.c.received_at,
    usage_events.c.quantity,
    DimensionSetRow.dimensions,
    and_(usage_events.c.kind == 0, event_withdrawals.c.event_key.is_not(None)),
)


def events(
    session: Session,
    *,
    organisation_id: int,
    meter_id: int,
    period: Period,
    where: Mapping[str, str],
    latest_first: bool,
    page: int | None,
    page_size: int,
) -> tuple[list[Event], int]:
    """Return a page of the events of a London day or hour, and how many there are.

    Args:
        period: within one London month.
        page: from 1; None returns all of them.
    """
    archive = archived_usage.archive_of(session, month=Month.of(period.start))
    if archive is not None:
        kept, count = archived_usage.page_of(
            archived_usage.rows(
                archive,
                organisation_id=organisation_id,
                meter_id=meter_id,
                period=period,
                where=where,
            ),
            latest_first=latest_first,
            page=page,
            page_size=page_size,
        )
        gone = archived_usage.withdrawals(session, kept)
        return [_archived(row, gone) for row in kept], count
    conditions = _in_window(
        organisation_id=organisation_id, meter_id=meter_id, period=period, where=where
    )
    total = session.scalar(
        select(func.count())
        .select_from(usage_events)
        .join(DimensionSetRow, DimensionSetRow.id == usage_events.c.dimension_set_id)
        .where(*conditions)
    )
    at, key = usage_events.c.occurred_at, usage_events.c.event_key
    statement = (
        select(*_EVENT)
        .select_from(usage_events)
        .join(SourceRow, SourceRow.id == usage_events.c.source_id)
        .join(DimensionSetRow, DimensionSetRow.id == usage_events.c.dimension_set_id)
        .outerjoin(event_withdrawals, _IS_WITHDRAWN)
        .where(*conditions)
        .order_by(*((at.desc(), key.desc()) if latest_first else (at, key)))
    )
    if page is not None:
        statement = statement.limit(page_size).offset((page - 1) * page_size)
    return [Event(*row) for row in session.execute(statement)], total or 0


def _archived(
    row: ArchivedEvent, gone: Mapping[tuple[int, bytes], archived_usage.Withdrawn]
) -> Event:
    key = UUID(bytes=row.event_key)
    return Event(
        key,
        row.event_id or str(key),
        row.source,
        row.kind,
        row.occurred_at,
        row.received_at,
        row.quantity,
        json.loads(row.dimensions),
        row.kind == 0 and (row.source_id, row.event_key) in gone,
    )


def event(
    session: Session,
    *,
    organisation_id: int,
    source_code: str,
    key: UUID,
    month: Month,
    day: date | None = None,
) -> Sequence[EventMeter]:
    """Return what one event counted for, on each meter that it feeds.

    Args:
        day: London date on which it is said to have happened: of an archived month no more is
            then read.

    Raises:
        NoSuchEvent: the organisation has none with that key in that month.
    """
    archive = archived_usage.archive_of(session, month=month)
    if archive is not None:
        known = day is not None and Month.of_day(day) == month
        read = archived_usage.rows(
            archive,
            organisation_id=organisation_id,
            period=day_period(day) if day is not None and known else month.period,
            key=key,
        )
        return _archived_event(session, [row for row in read if row.source == source_code])
    rows = session.execute(
        select(
            MeterRow,
            SourceRow.name,
            *_EVENT,
            event_withdrawals.c.recorded_at,
            event_withdrawals.c.reason,
            usage_events.c.detail,
        )
        .select_from(usage_events)
        .join(SourceRow, SourceRow.id == usage_events.c.source_id)
        .join(MeterRow, MeterRow.id == usage_events.c.meter_id)
        .join(DimensionSetRow, DimensionSetRow.id == usage_events.c.dimension_set_id)
        .outerjoin(event_withdrawals, _IS_WITHDRAWN)
        .where(
            usage_events.c.subject_id == organisation_id,
            usage_events.c.period_month == month.first_day,
            usage_events.c.event_key == key,
            SourceRow.code == source_code,
        )
        .order_by(MeterRow.name)
    ).all()
    if not rows:
        raise NoSuchEvent("There is no such usage event.")
    return [EventMeter(row[0], row[1], Event(*row[2:11]), *row[11:]) for row in rows]


def _archived_event(session: Session, rows: Sequence[ArchivedEvent]) -> Sequence[EventMeter]:
    gone = archived_usage.withdrawals(session, rows)
    meters = session.execute(
        select(MeterRow, SourceRow.name)
        .join(SourceRow, SourceRow.id == MeterRow.source_id)
        .where(MeterRow.id.in_({row.meter_id for row in rows}))
        .order_by(MeterRow.name)
    ).all()
    found = []
    for meter, service in meters:
        for row in rows:
            if row.meter_id == meter.id:
                at, because = gone.get((row.source_id, row.event_key), (None, None))
                detail = None if row.detail is None else json.loads(row.detail)
                found.append(EventMeter(meter, service, _archived(row, gone), at, because, detail))
    if not found:
        raise NoSuchEvent("There is no such usage event.")
    return found
