"""Single stored events, as drill-down and the API show them."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from metering.events import partitions
from metering.events.archive import ArchivedEvent, read_archive
from metering.meters.queries import dimensions_by_id
from metering.periods import Month, days_period


class StoredEvent(NamedTuple):
    """One stored record of an event, as drill-down shows it.

    Attributes:
        event_id: as the source sent it.
        kind: 0 usage, 1 withdrawal.
        dimension_set_id: number of `dimensions`.
        detail: what the columns do not hold, such as a withdrawal's reason.
        cursor: place in the order, to continue after it.
    """

    event_id: str
    kind: int
    ods_code: str
    meter: str | None
    dimension_set_id: int
    dimensions: Mapping[str, str]
    quantity: Decimal
    occurred_at: datetime
    received_at: datetime
    detail: Mapping[str, Any] | None
    cursor: tuple[Any, ...]


def events_of(
    session: Session,
    *,
    first_on: date,
    end_on: date,
    source_id: int | None = None,
    subject_ids: Collection[int] | None = None,
    meter_ids: Collection[int] | None = None,
    dimension_set_ids: Collection[int] | None = None,
    received_by: datetime | None = None,
    after: Sequence[Any] | None = None,
    limit: int,
) -> list[StoredEvent]:
    """Return raw events of the London days [first_on, end_on), in order of instant.

    Give `subject_ids` wherever possible: the index begins with the subject. Months that
    are archived are read from their files, which is slow.

    Args:
        received_by: only events that had come by this instant.
        after: a row's `cursor`, to continue after it.

    Raises:
        ArchiveFileWrong, ArchiveExtraMissing: an archive cannot be read here.
    """
    period = days_period(first_on, end_on)
    assert period.end is not None
    archives = partitions.archived(session, first=Month.of_day(first_on), last=Month.of_day(end_on))
    conditions = [
        "e.occurred_at >= :first AND e.occurred_at < :end",
        "e.period_month >= :first_month AND e.period_month <= :last_month",
    ]
    facts: dict[str, Any] = {
        "first": period.start,
        "end": period.end,
        "first_month": Month.of_day(first_on).first_day,
        "last_month": Month.of_day(end_on).first_day,
        "limit": limit,
    }
    for name, column, value in (
        ("source", "e.source_id = :source", source_id),
        ("subjects", "e.subject_id = ANY(:subjects)", subject_ids),
        ("meters", "e.meter_id = ANY(:meters)", meter_ids),
        ("sets", "e.dimension_set_id = ANY(:sets)", dimension_set_ids),
    ):
        if value is not None:
            conditions.append(column)
            facts[name] = value if isinstance(value, int) else list(value)
    if received_by is not None:
        conditions.append("e.received_at <= :received_by")
        facts["received_by"] = received_by
    if after is not None:
        conditions.append("(e.occurred_at, e.event_key, e.meter_id, e.kind) > (:a, :b, :c, :d)")
        facts |= dict(zip("abcd", after, strict=True))
    rows = session.execute(
        text(
            f"""
            SELECT e.event_id, e.event_key, e.kind, o.ods_code, m.code, e.meter_id,
                e.dimension_set_id, e.quantity, e.occurred_at, e.received_at, e.detail
            FROM usage_events e
            JOIN organisations o ON o.id = e.subject_id
            LEFT JOIN meters m ON m.id = e.meter_id
            WHERE {" AND ".join(conditions)}
            ORDER BY e.occurred_at, e.event_key, e.meter_id, e.kind LIMIT :limit
            """  # noqa: S608 - only constants are put in
        ),
        facts,
    ).all()
    sets = dimensions_by_id(session, ids={row.dimension_set_id for row in rows})
    stored = [
        StoredEvent(
            row.event_id or str(row.event_key),
            row.kind,
            row.ods_code,
            row.code,
            row.dimension_set_id,
            sets[row.dimension_set_id],
            row.quantity,
            row.occurred_at,
            row.received_at,
            row.detail,
            (row.occurred_at, row.event_key, row.meter_id, row.kind),
        )
        for row in rows
    ]
    if not archives:
        return stored
    wanted = {
        column: numbers
        for column, numbers in (
            ("source_id", None if source_id is None else {source_id}),
            ("subject_id", subject_ids),
            ("meter_id", meter_ids),
            ("dimension_set_id", dimension_set_ids),
        )
        if numbers is not None
    }
    # Months do not overlap and archives are the oldest, so theirs come before the others'.
    kept = (
        _from_archive(event)
        for archive in archives
        for event in read_archive(archive, period=(period.start, period.end), wanted=wanted)
    )
    later = (
        event
        for event in kept
        if (received_by is None or event.received_at <= received_by)
        and (after is None or event.cursor > tuple(after))
    )
    return sorted([*islice(later, limit), *stored], key=lambda event: event.cursor)[:limit]


def _from_archive(event: ArchivedEvent) -> StoredEvent:
    key = UUID(bytes=event.event_key)
    return StoredEvent(
        event.event_id or str(key),
        event.kind,
        event.organisation,
        event.meter,
        event.dimension_set_id,
        json.loads(event.dimensions),
        event.quantity,
        event.occurred_at,
        event.received_at,
        None if event.detail is None else json.loads(event.detail),
        (event.occurred_at, key, event.meter_id, event.kind),
    )
