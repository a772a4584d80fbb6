"""One organisation's usage in months that are archived: rows of their files, as pages need them.

Files know no row-level security: every read here names the organisation.
"""

import json
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from metering.events import partitions
from metering.events.archive import ArchivedEvent, read_archive
from metering.events.tables import ArchivedMonthRow
from metering.periods import Month, Period

_WITHDRAWN = text(
    """
    SELECT source_id, event_key, recorded_at, reason FROM event_withdrawals
    WHERE event_key = ANY(:keys)
    """
)


class Withdrawn(NamedTuple):
    """When the withdrawal of an event was recorded, and why."""

    at: datetime
    because: str


def archive_of(session: Session, *, month: Month) -> ArchivedMonthRow | None:
    """Return a month's archive, None where its events are in the database."""
    return next(iter(partitions.archived(session, first=month, last=month)), None)


def rows(
    archive: ArchivedMonthRow,
    *,
    organisation_id: int,
    period: Period,
    meter_id: int | None = None,
    where: Mapping[str, str] | None = None,
    key: UUID | None = None,
) -> Iterator[ArchivedEvent]:
    """Yield an organisation's rows of some time within the month, in order of instant and key.

    Args:
        meter_id, key: of one meter, or of one event, alone.
        where: values that dimensions must have.

    Raises:
        ArchiveFileWrong, ArchiveExtraMissing: the archive cannot be read here.
    """
    assert period.end is not None
    wanted: dict[str, Collection[int] | Collection[bytes]] = {"subject_id": [organisation_id]}
    if meter_id is not None:
        wanted["meter_id"] = [meter_id]
    if key is not None:
        wanted["event_key"] = [key.bytes]
    asked = (where or {}).items()
    for row in read_archive(archive, period=(period.start, period.end), wanted=wanted):
        if not asked or asked <= json.loads(row.dimensions).items():
            yield row._replace(
                occurred_at=row.occurred_at.astimezone(UTC),
                received_at=row.received_at.astimezone(UTC),
            )


def page_of(
    found: Iterable[ArchivedEvent], *, latest_first: bool, page: int | None, page_size: int
) -> tuple[list[ArchivedEvent], int]:
    """Return one page of what comes in order of instant, and how many there are.

    Args:
        page: from 1; None returns all of them.
    """
    first, end = (0, None) if page is None else ((page - 1) * page_size, page * page_size)
    latest: deque[ArchivedEvent] = deque(maxlen=end)
    earliest: list[ArchivedEvent] = []
    total = 0
    for row in found:
        if latest_first:
            latest.append(row)
        elif total >= first and (end is None or total < end):
            earliest.append(row)
        total += 1
    return ([*reversed(latest)][first:end] if latest_first else earliest), total


def withdrawals(
    session: Session, found: Iterable[ArchivedEvent]
) -> dict[tuple[int, bytes], Withdrawn]:
    """Return which of these events were withdrawn, by source and key."""
    keys = [UUID(bytes=row.event_key) for row in found]
    return {
        (source_id, key.bytes): Withdrawn(*withdrawn)
        for source_id, key, *withdrawn in session.execute(_WITHDRAWN, {"keys": keys})
    }
