"""What becomes of ingested batches and of refused events: claimed, replayed, dismissed."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from metering.events.tables import IngestBatchRow, QuarantinedEventRow
from metering.kit import audit


def claim_batches(
    session: Session, *, batches_max: int, events_max: int, now: datetime
) -> tuple[list[UUID], int]:
    """Claim batches that nobody has claimed, the oldest first, within these bounds.

    Batches that another transaction is claiming are passed over. The claim holds
    once the caller's transaction commits.

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
    ids: list[UUID] = []
    events = 0
    for batch_id, accepted in free:
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
