"""Reads about what came in: a source's health, quarantine, one event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from metering.events.tables import IngestBatchRow, QuarantinedEventRow
from metering.kit.errors import NotFound

RECENT = timedelta(hours=24)


class QuarantinedEventUnknown(NotFound):
    """No refused event has that id."""

    code = "quarantined-event-unknown"
    title = "No such refused event"


@dataclass(frozen=True)
class Health:
    """How a source is doing.

    Attributes:
        last_received_at: of its last request, None where there was none yet.
        last_accepted_at: of its last request of which an event was accepted.
        received: events in the last 24 hours, and what became of them.
        waiting: accepted events that are not in the readings yet.
        lag: how long the oldest of those has waited; nought where none does.
        quarantined: open refused and conflicting events, by reason.
    """

    last_received_at: datetime | None
    last_accepted_at: datetime | None
    received: int
    accepted: int
    duplicate: int
    conflict: int
    rejected: int
    waiting: int
    lag: timedelta
    quarantined: dict[str, int]


def health(session: Session, *, source_id: int, now: datetime) -> Health:
    """Return how a source is doing at `now`."""
    mine = IngestBatchRow.source_id == source_id
    last = session.scalar(select(func.max(IngestBatchRow.received_at)).where(mine))
    last_accepted = session.scalar(
        select(IngestBatchRow.received_at)
        .where(mine, IngestBatchRow.accepted > 0)
        .order_by(IngestBatchRow.received_at.desc())
        .limit(1)
    )
    counted = session.execute(
        select(
            func.coalesce(func.sum(IngestBatchRow.received), 0),
            func.coalesce(func.sum(IngestBatchRow.accepted), 0),
            func.coalesce(func.sum(IngestBatchRow.duplicate), 0),
            func.coalesce(func.sum(IngestBatchRow.conflict), 0),
            func.coalesce(func.sum(IngestBatchRow.rejected), 0),
        ).where(mine, IngestBatchRow.received_at > now - RECENT)
    ).one()
    waiting, oldest = session.execute(
        select(
            func.coalesce(func.sum(IngestBatchRow.accepted), 0),
            func.min(IngestBatchRow.received_at),
        ).where(mine, IngestBatchRow.claimed_at.is_(None))
    ).one()
    quarantined = session.execute(
        select(QuarantinedEventRow.code, func.count())
        .where(QuarantinedEventRow.source_id == source_id, QuarantinedEventRow.status == "open")
        .group_by(QuarantinedEventRow.code)
        .order_by(QuarantinedEventRow.code)
    )
    received, accepted, duplicate, conflict, rejected = map(int, counted)
    return Health(
        last,
        last_accepted,
        received,
        accepted,
        duplicate,
        conflict,
        rejected,
        int(waiting),
        timedelta() if oldest is None else max(now - oldest, timedelta()),
        {row[0]: row[1] for row in quarantined},
    )


def quarantine(
    session: Session,
    *,
    source_id: int | None = None,
    status: str | None = "open",
    code: str | None = None,
    after: Sequence[Any] | None = None,
    limit: int = 100,
) -> Sequence[QuarantinedEventRow]:
    """Return refused and conflicting events, the oldest first.

    Args:
        status: `open`, `replayed` or `dismissed`; None for all.
        code: only those refused for this reason.
        after: (received_at, id) of the last row seen.
    """
    query = (
        select(QuarantinedEventRow)
        .order_by(QuarantinedEventRow.received_at, QuarantinedEventRow.id)
        .limit(limit)
    )
    if source_id is not None:
        query = query.where(QuarantinedEventRow.source_id == source_id)
    if status is not None:
        query = query.where(QuarantinedEventRow.status == status)
    if code is not None:
        query = query.where(QuarantinedEventRow.code == code)
    if after is not None:
        query = query.where(
            tuple_(QuarantinedEventRow.received_at, QuarantinedEventRow.id) > tuple_(*after)
        )
    return session.scalars(query).all()


def quarantined(session: Session, *, event_id: UUID) -> QuarantinedEventRow:
    """Return one refused event by the id under which it is kept.

    Raises:
        QuarantinedEventUnknown: there is none.
    """
    found = session.get(QuarantinedEventRow, event_id)
    if found is None:
        raise QuarantinedEventUnknown("No refused event is kept under that id.")
    return found


def quarantine_reasons(session: Session, *, source_id: int | None = None) -> dict[str, int]:
    """Return how many open refused events there are, by reason."""
    query = (
        select(QuarantinedEventRow.code, func.count())
        .where(QuarantinedEventRow.status == "open")
        .group_by(QuarantinedEventRow.code)
        .order_by(QuarantinedEventRow.code)
    )
    if source_id is not None:
        query = query.where(QuarantinedEventRow.source_id == source_id)
    return {row[0]: row[1] for row in session.execute(query)}
