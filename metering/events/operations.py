"""What becomes of ingested batches and of refused events: claimed, replayed, dismissed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from metering.events.batches import OF_BATCHES, by_batch, these
from metering.events.tables import IngestBatchRow, QuarantinedEventRow, usage_events
from metering.kit import audit, citus


def claim_batches(
    session: Session, *, batches_max: int, events_max: int, now: datetime
) -> tuple[list[UUID], int]:
    """Claim batches that nobody has claimed, the oldest first, within these bounds.

    Batches that another transaction is claiming are passed over, and on a cluster those whose
    events cannot all be seen yet. The claim holds once the caller's transaction commits.

    Returns:
        Their ids, and how many accepted events they have.
    """
    free = session.execute(
        select(IngestBatchRow.id, IngestBatchRow.accepted)
        .where(IngestBatchRow.claimed_at.is_(None))
        .order_by(IngestBatchRow.id)
        .limit(batches_max)
        .with_for_update(skip_locked=True)
    ).all()
    whole = None
    if free and citus.is_cluster(session):
        whole = _seen_whole(session, {row.id: row.accepted for row in free})
    ids: list[UUID] = []
    events = 0
    for batch_id, accepted in free:
        if whole is not None and batch_id not in whole:
            continue
        if ids and events + accepted > events_max:
            break
        ids.append(batch_id)
        events += accepted
    if ids:
        session.execute(
            update(IngestBatchRow)
            .where(IngestBatchRow.id.in_(ids))
            .values(claimed_at=now)
            .execution_options(synchronize_session=False)
        )
    return ids, events


def _seen_whole(session: Session, accepted: Mapping[UUID, int]) -> set[UUID]:
    """Return the batches of which every accepted event can be seen.

    A cluster commits on its coordinator first, where batches are, and then on the workers,
    where their events are: in between a batch is seen without them. What is missing is
    there at the next look.
    """
    # An event has one subject, so each node counts its own.
    of_subject = (
        select(
            usage_events.c.batch_id,
            func.count(usage_events.c.event_key.distinct()).label("events"),
        )
        .where(text(OF_BATCHES))
        .group_by(usage_events.c.subject_id, usage_events.c.batch_id)
        .subquery()
    )
    by_node = select(of_subject.c.batch_id, func.sum(of_subject.c.events))
    with by_batch(session):
        seen = session.execute(by_node.group_by(of_subject.c.batch_id), these(list(accepted))).all()
    return {batch_id for batch_id, events in seen if events == accepted[batch_id]}


def open_events(
    session: Session,
    *,
    ids: Collection[UUID] | None,
    source_id: int | None,
    code: str | None,
) -> Sequence[QuarantinedEventRow]:
    """Return open refused events, the oldest first, detached from the session."""
    query = (
        select(QuarantinedEventRow)
        .where(QuarantinedEventRow.status == "open")
        .order_by(QuarantinedEventRow.received_at, QuarantinedEventRow.id)
    )
    if ids is not None:
        query = query.where(QuarantinedEventRow.id.in_(ids))
    if source_id is not None:
        query = query.where(QuarantinedEventRow.source_id == source_id)
    if code is not None:
        query = query.where(QuarantinedEventRow.code == code)
    rows = session.scalars(query).all()
    session.expunge_all()
    return rows


def dismiss(
    session: Session, *, ids: Collection[UUID], principal: str, reason: str, now: datetime
) -> int:
    """Set refused events aside for good; they stay, with who did it. Returns how many."""
    count = resolve(session, ids=ids, status="dismissed", principal=principal, now=now)
    audit.record(
        session,
        now=now,
        principal=principal,
        action="dismiss refused events",
        object_kind="quarantine",
        object_id="chosen",
        facts={"count": count, "reason": reason},
    )
    return count


def resolve(
    session: Session, *, ids: Collection[UUID], status: str, principal: str, now: datetime
) -> int:
    """Close refused events that are still open; return how many."""
    changed = session.execute(
        update(QuarantinedEventRow)
        .where(QuarantinedEventRow.id.in_(ids), QuarantinedEventRow.status == "open")
        .values(status=status, resolved_at=now, resolved_by=principal)
        .returning(QuarantinedEventRow.id)
        .execution_options(synchronize_session=False)
    )
    return len(changed.all())
