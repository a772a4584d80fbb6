"""Usage as others may read it: the public face of metering.

Quantities come from readings (London days); only an hourly view reads the raw
events of a narrow window. `month_totals` has what rating reads.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, INTEGER, JSONB
from sqlalchemy.orm import Session

from metering.events import partitions
from metering.events.model import WITHDRAWAL
from metering.kit.errors import Invalid
from metering.meters.model import ADDITIVE
from metering.periods import Month, days_period, london
from metering.readings.tables import ReadingRow

HOURLY_DAYS_MAX = 7
GRANULARITIES = ("hour", "day", "month")


class UsageWindowTooWide(Invalid):
    """An hourly view reads raw events, so it is bounded to a few days."""

    code = "usage-window-too-wide"
    title = "Ask for fewer days"


class UsageNotHourly(Invalid):
    """A maximum, a level or a count of different values has no hourly parts."""

    code = "usage-not-hourly"
    title = "This meter has no hourly view"


class DayUsage(NamedTuple):
    """One reading.

    Attributes:
        hour: London clock hour, -1 for the whole day.
    """

    subject_id: int
    meter_id: int
    used_on: date
    dimension_set_id: int
    hour: int
    quantity: Decimal
    event_count: int
    updated_at: datetime


def usage_by_day(
    session: Session,
    *,
    first_on: date,
    end_on: date,
    subject_ids: Collection[int] | None = None,
    meter_ids: Collection[int] | None = None,
) -> Iterator[DayUsage]:
    """Yield readings of London days [first_on, end_on), by subject, meter and day."""
    query = (
        select(
            ReadingRow.subject_id,
            ReadingRow.meter_id,
            ReadingRow.used_on,
            ReadingRow.dimension_set_id,
            ReadingRow.hour,
            ReadingRow.quantity,
            ReadingRow.event_count,
            ReadingRow.updated_at,
        )
        .where(ReadingRow.used_on >= first_on, ReadingRow.used_on < end_on)
        .order_by(
            ReadingRow.subject_id,
            ReadingRow.meter_id,
            ReadingRow.used_on,
            ReadingRow.dimension_set_id,
            ReadingRow.hour,
        )
    )
    if subject_ids is not None:
        query = query.where(ReadingRow.subject_id.in_(subject_ids))
    if meter_ids is not None:
        query = query.where(ReadingRow.meter_id.in_(meter_ids))
    for row in session.execute(query.execution_options(yield_per=5_000)):
        yield DayUsage(*row)


def newest_update(session: Session, *, month: Month) -> Mapping[int, datetime]:
    """Return, by subject, when a reading of the month last changed."""
    rows = session.execute(
        select(ReadingRow.subject_id, func.max(ReadingRow.updated_at))
        .where(ReadingRow.used_on >= month.first_day, ReadingRow.used_on < month.end_day)
        .group_by(ReadingRow.subject_id)
    )
    return {row[0]: row[1] for row in rows}


class UsageRow(NamedTuple):
    """Usage of one organisation, meter and dimension set in one span.

    Attributes:
        start: first instant of the hour, day or month, on the London clock.
        cursor: place in the order, to continue after it.
    """

    start: datetime
    ods_code: str
    organisation: str
    meter: str
    unit: str
    dimensions: Mapping[str, str]
    quantity: Decimal
    event_count: int
    cursor: tuple[Any, ...]


class MeterTotal(NamedTuple):
    """The whole of what was asked for, of one meter."""

    meter: str
    unit: str
    quantity: Decimal
    event_count: int


_PARAMETERS = (
    bindparam("meters", type_=ARRAY(INTEGER)),
    bindparam("subjects", type_=ARRAY(INTEGER)),
    bindparam("dimensions", type_=JSONB),
)
# `l`: one line for each span, subject, meter and dimension set.
_FROM_READINGS = """
    SELECT CASE WHEN :months THEN date_trunc('month', r.used_on)::date ELSE r.used_on END AS span,
        r.subject_id, r.meter_id, r.dimension_set_id,
        sum(r.quantity) AS quantity, sum(r.event_count) AS events
    FROM readings r
    WHERE r.used_on >= :first_on AND r.used_on < :end_on
        AND (:every_meter OR r.meter_id = ANY(:meters))
        AND (:every_subject OR r.subject_id = ANY(:subjects))
    GROUP BY 1, 2, 3, 4
"""
_FROM_EVENTS = f"""
    SELECT date_trunc('hour', e.occurred_at) AS span,
        e.subject_id, e.meter_id, e.dimension_set_id, sum(e.quantity) AS quantity,
        sum(CASE e.kind WHEN {WITHDRAWAL} THEN -1 ELSE 1 END) AS events
    FROM usage_events e
    WHERE e.occurred_at >= :first AND e.occurred_at < :end
        AND e.period_month >= :first_month AND e.period_month <= :last_month
        AND (:every_meter OR e.meter_id = ANY(:meters))
        AND (:every_subject OR e.subject_id = ANY(:subjects))
    GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - only constants are put in
_JOINS = """
    JOIN meters m ON m.id = l.meter_id
    JOIN organisations o ON o.id = l.subject_id
    JOIN dimension_sets d ON d.id = l.dimension_set_id AND d.dimensions @> :dimensions
"""


def usage(
    session: Session,
    *,
    first_on: date,
    end_on: date,
    granularity: str,
    meter_ids: Collection[int] | None = None,
    subject_ids: Collection[int] | None = None,
    dimensions: Mapping[str, str] | None = None,
    after: Sequence[Any] | None = None,
    limit: int,
) -> list[UsageRow]:
    """Return usage of the London days [first_on, end_on), in order of span and codes.

    Args:
        granularity: `hour`, `day` or `month`; an hour is one real hour.
        meter_ids: only these meters; all where None.
        subject_ids: only these organisations; all where None.
        dimensions: only usage that has these values.
        after: a row's `cursor`, to continue after it.
        limit: most rows returned.

    Raises:
        UsageWindowTooWide: more than seven days by the hour.
        UsageNotHourly: a meter cannot be split into hours.
    """
    inner, facts = _lines(
        session,
        first_on=first_on,
        end_on=end_on,
        granularity=granularity,
        meter_ids=meter_ids,
        subject_ids=subject_ids,
        dimensions=dimensions,
    )
    beyond = ""
    if after is not None:
        beyond = "WHERE (l.span, o.ods_code, m.code, l.dimension_set_id) > (:a, :b, :c, :d)"
        span, code, meter, number = after
        facts |= {"a": span, "b": code, "c": meter, "d": number}
    rows = session.execute(
        text(
            f"""
            SELECT l.span, o.ods_code, o.name, m.code, m.unit, d.dimensions, l.quantity, l.events,
                l.dimension_set_id
            FROM ({inner}) l {_JOINS} {beyond}
            ORDER BY l.span, o.ods_code, m.code, l.dimension_set_id LIMIT :limit
            """  # noqa: S608 - only constants are put in
        ).bindparams(*_PARAMETERS),
        {**facts, "limit": limit},
    )
    return [
        UsageRow(
            _start(row.span),
            row.ods_code,
            row.name,
            row.code,
            row.unit,
            row.dimensions,
            row.quantity,
            int(row.events),
            (row.span, row.ods_code, row.code, row.dimension_set_id),
        )
        for row in rows
    ]


def check_usage(session: Session, **asked: Any) -> None:
    """Refuse what `usage` would refuse, before an answer begins.

    Args:
        asked: as for `usage_totals`.

    Raises:
        UsageWindowTooWide, UsageNotHourly, MonthArchived: as `usage`.
    """
    _lines(session, **asked)


def _start(span: date | datetime) -> datetime:
    if isinstance(span, datetime):
        return london(span)
    return london(days_period(span, None).start)


def usage_totals(
    session: Session,
    *,
    first_on: date,
    end_on: date,
    granularity: str,
    meter_ids: Collection[int] | None = None,
    subject_ids: Collection[int] | None = None,
    dimensions: Mapping[str, str] | None = None,
) -> list[MeterTotal]:
    """Return the totals by meter of what `usage` lists, whatever its page."""
    inner, facts = _lines(
        session,
        first_on=first_on,
        end_on=end_on,
        granularity=granularity,
        meter_ids=meter_ids,
        subject_ids=subject_ids,
        dimensions=dimensions,
    )
    rows = session.execute(
        text(
            f"""
            SELECT m.code, m.unit, sum(l.quantity) AS quantity, sum(l.events) AS events
            FROM ({inner}) l {_JOINS} GROUP BY m.code, m.unit ORDER BY m.code
            """  # noqa: S608 - only constants are put in
        ).bindparams(*_PARAMETERS),
        facts,
    )
    return [MeterTotal(row.code, row.unit, row.quantity, int(row.events)) for row in rows]


def _lines(
    session: Session,
    *,
    first_on: date,
    end_on: date,
    granularity: str,
    meter_ids: Collection[int] | None,
    subject_ids: Collection[int] | None,
    dimensions: Mapping[str, str] | None,
) -> tuple[str, dict[str, Any]]:
    facts: dict[str, Any] = {
        "first_on": first_on,
        "end_on": end_on,
        "every_meter": meter_ids is None,
        "meters": list(meter_ids or ()),
        "every_subject": subject_ids is None,
        "subjects": list(subject_ids or ()),
        "dimensions": dict(dimensions or {}),
    }
    if granularity != "hour":
        return _FROM_READINGS, facts | {"months": granularity == "month"}
    if end_on - first_on > timedelta(days=HOURLY_DAYS_MAX):
        raise UsageWindowTooWide(f"An hourly view covers at most {HOURLY_DAYS_MAX} days.")
    for month in {Month.of_day(first_on), Month.of_day(end_on - timedelta(days=1))}:
        partitions.refuse_archived(session, month=month)
    additive = _additive_only(session, meter_ids)
    period = days_period(first_on, end_on)
    assert period.end is not None
    facts |= {
        "every_meter": False,
        "meters": additive,
        "first": period.start,
        "end": period.end,
        "first_month": Month.of_day(first_on).first_day,
        "last_month": Month.of_day(end_on).first_day,
    }
    return _FROM_EVENTS, facts


def _additive_only(session: Session, meter_ids: Collection[int] | None) -> list[int]:
    rows = session.execute(text("SELECT id, code, aggregation FROM meters"))
    additive = []
    for row in rows:
        if row.aggregation in ADDITIVE:
            if meter_ids is None or row.id in meter_ids:
                additive.append(row.id)
        elif meter_ids is not None and row.id in meter_ids and len(meter_ids) == 1:
            refuse_not_hourly(row.code, row.aggregation)
    return additive


def refuse_not_hourly(meter: str, aggregation: str) -> None:
    """Refuse an hourly view of a meter that has no hourly parts.

    Raises:
        UsageNotHourly: it is neither a sum nor a count.
    """
    if aggregation not in ADDITIVE:
        raise UsageNotHourly(f"{meter} is a {aggregation}: ask for days or months.")


class Unbalanced(NamedTuple):
    """A meter's month whose readings are not what its claimed events come to."""

    meter: str
    events_quantity: Decimal
    readings_quantity: Decimal
    events_count: int
    readings_count: int


def unbalanced(session: Session, *, month: Month) -> list[Unbalanced]:
    """Return meters that are added up and whose readings of a month differ from the events.

    An empty answer is the first half of conservation: events = readings. Events
    that no roll-up has claimed yet are in neither side.
    """
    rows = session.execute(
        text(
            f"""
            SELECT m.code, coalesce(e.quantity, 0) AS eq, coalesce(r.quantity, 0) AS rq,
                coalesce(e.events, 0) AS ec, coalesce(r.events, 0) AS rc
            FROM meters m
            LEFT JOIN (
                SELECT u.meter_id, sum(u.quantity) AS quantity,
                    sum(CASE u.kind WHEN {WITHDRAWAL} THEN -1 ELSE 1 END) AS events
                FROM usage_events u
                LEFT JOIN ingest_batches b ON b.id = u.batch_id AND b.claimed_at IS NULL
                WHERE u.period_month = :month AND b.id IS NULL GROUP BY u.meter_id
            ) e ON e.meter_id = m.id
            LEFT JOIN (
                SELECT meter_id, sum(quantity) AS quantity, sum(event_count) AS events
                FROM readings WHERE used_on >= :month AND used_on < :end GROUP BY meter_id
            ) r ON r.meter_id = m.id
            WHERE m.aggregation = ANY(:additive) AND (
                coalesce(e.quantity, 0) <> coalesce(r.quantity, 0)
                OR coalesce(e.events, 0) <> coalesce(r.events, 0)
            )
            ORDER BY m.code
            """  # noqa: S608 - only constants are put in
        ),
        {"month": month.first_day, "end": month.end_day, "additive": sorted(ADDITIVE)},
    )
    return [Unbalanced(row.code, row.eq, row.rq, int(row.ec), int(row.rc)) for row in rows]
