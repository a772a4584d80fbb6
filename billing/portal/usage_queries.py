"""Reads of one organisation's usage, from months down to single events."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal, select
from sqlalchemy.orm import Session

from billing.charges.tables import ChargeRow
from metering.events import partitions
from metering.events.tables import event_withdrawals, usage_events
from metering.kit.columns import UtcDateTime
from metering.kit.errors import NotFound
from metering.meters.tables import DimensionSetRow, MeterRow
from metering.periods import Month, Period
from metering.readings.tables import ReadingRow
from metering.sources.tables import SourceRow


class NoSuchEvent(NotFound):
    """The organisation has no usage event with that id."""

    code = "event-not-found"
    title = "No such event"


class UsedMeter(NamedTuple):
    """A meter that has readings of the organisation, and the service that reports it."""

    meter: MeterRow
    service: str


class MonthUse(NamedTuple):
    """A meter's month: quantity, events and pounds without VAT (None where nothing is charged)."""

    meter_id: int
    quantity: Decimal
    events: int
    amount: Decimal | None


class Use(NamedTuple):
    """What was used on a day or in a month, of one value of the dimension that splits it."""

    on: date
    value: str
    quantity: Decimal
    events: int


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


def used_meters(session: Session, *, organisation_id: int) -> list[UsedMeter]:
    """Return the meters that have readings of the organisation, by service and name."""
    used = (
        select(ReadingRow.meter_id)
        .where(ReadingRow.subject_id == organisation_id)
        .distinct()
        .subquery()
    )
    rows = session.execute(
        select(MeterRow, SourceRow.name)
        .join(used, used.c.meter_id == MeterRow.id)
        .join(SourceRow, SourceRow.id == MeterRow.source_id)
        .order_by(SourceRow.name, MeterRow.name)
    )
    return [UsedMeter(*row) for row in rows]


def first_used_on(session: Session, *, organisation_id: int) -> date | None:
    """Return the first London date with a reading, None where there is none."""
    return session.scalar(
        select(func.min(ReadingRow.used_on)).where(ReadingRow.subject_id == organisation_id)
    )


def month_use(
    session: Session, *, organisation_id: int, account_id: str, month: Month
) -> list[MonthUse]:
    """Return what was used of each meter in a month, and what is charged for it so far."""
    charged = (
        select(ChargeRow.meter.label("meter"), func.sum(ChargeRow.amount).label("amount"))
        .where(ChargeRow.account_id == account_id, ChargeRow.month == month.first_day)
        .group_by(ChargeRow.meter)
        .subquery()
    )
    used = (
        select(
            ReadingRow.meter_id.label("meter_id"),
            func.sum(ReadingRow.quantity).label("quantity"),
            func.sum(ReadingRow.event_count).label("events"),
        )
        .where(
            ReadingRow.subject_id == organisation_id,
            ReadingRow.used_on >= month.first_day,
            ReadingRow.used_on < month.end_day,
        )
        .group_by(ReadingRow.meter_id)
        .subquery()
    )
    rows = session.execute(
        select(used.c.meter_id, used.c.quantity, used.c.events, charged.c.amount)
        .join(MeterRow, MeterRow.id == used.c.meter_id)
        .outerjoin(charged, charged.c.meter == MeterRow.code)
    )
    return [MonthUse(row[0], row[1], int(row[2]), row[3]) for row in rows]


def _dimensions(where: Mapping[str, str]) -> ColumnElement[bool] | None:
    if not where:
        return None
    return DimensionSetRow.dimensions.contains(dict(where))


def uses(
    session: Session,
    *,
    organisation_id: int,
    meter_id: int,
    first_day: date,
    end_day: date,
    by_month: bool,
    split: str,
    where: Mapping[str, str],
) -> list[Use]:
    """Return what was used of a meter on London dates `[first_day, end_day)`.

    Args:
        by_month: one row a month (`on` is its first day), else one a day.
        split: the dimension whose values are told apart, empty for none.
        where: values that dimensions must have.
    """
    on = (
        cast(func.date_trunc("month", ReadingRow.used_on), ReadingRow.used_on.type)
        if by_month
        else ReadingRow.used_on
    )
    value = (
        func.coalesce(DimensionSetRow.dimensions[split].astext, "") if split else literal("", Text)
    )
    statement = (
        select(
            on.label("used_on"),
            value.label("value"),
            func.sum(ReadingRow.quantity),
            func.sum(ReadingRow.event_count),
        )
        .join(DimensionSetRow, DimensionSetRow.id == ReadingRow.dimension_set_id)
        .where(
            ReadingRow.subject_id == organisation_id,
            ReadingRow.meter_id == meter_id,
            ReadingRow.used_on >= first_day,
            ReadingRow.used_on < end_day,
        )
        .group_by("used_on", "value")
        .order_by("used_on", "value")
    )
    narrowed = _dimensions(where)
    if narrowed is not None:
        statement = statement.where(narrowed)
    return [Use(row[0], row[1], row[2], int(row[3])) for row in session.execute(statement)]


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
    narrowed = _dimensions(where)
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
    partitions.refuse_archived(session, month=Month.of(period.start))
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
    partitions.refuse_archived(session, month=Month.of(period.start))
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
        .order_by(at.desc() if latest_first else at, key)
    )
    if page is not None:
        statement = statement.limit(page_size).offset((page - 1) * page_size)
    return [Event(*row) for row in session.execute(statement)], total or 0


def event(
    session: Session, *, organisation_id: int, source_code: str, key: UUID, month: Month
) -> Sequence[EventMeter]:
    """Return what one event counted for, on each meter that it feeds.

    Raises:
        NoSuchEvent: the organisation has none with that key in that month.
    """
    partitions.refuse_archived(session, month=month)
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
