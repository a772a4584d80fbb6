"""Tell hosted services of usage that was refused: one notification a source and stretch of time.

Metering knows nothing of notifications, so a job looks at what it put into quarantine. Counts
by reason and no more: what was in an event is for those who sign in.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.notifications.operations import announce
from billing.notifications.tables import AnnouncementRow
from metering.events.tables import QuarantinedEventRow
from metering.sources.tables import SourceRow

_KIND = "usage.rejected"
SETTLE = timedelta(minutes=2)
"""How long after an event is received it may still be uncommitted; longer is not counted."""

FIRST_LOOK = timedelta(days=1)
_MOST_REASONS = 20


def announce_rejected(session: Session, *, now: datetime) -> Mapping[str, int]:
    """Announce, source by source, what was refused since it was last announced.

    Returns:
        `sources` that are told and `events` that were refused.
    """
    until = now - SETTLE
    told = _told_until(session)
    counts = {"sources": 0, "events": 0}
    for source in session.scalars(select(SourceRow).order_by(SourceRow.id)):
        since = told.get(source.id, now - FIRST_LOOK)
        reasons = _refused(session, source_id=source.id, since=since, until=until)
        if not reasons:
            continue
        total = reasons.total()
        announce(
            session,
            kind=_KIND,
            source_id=source.id,
            subject_id=f"{source.code}:{until.isoformat()}",
            facts={
                "source": source.code,
                "rejected": total,
                "reasons": dict(reasons.most_common(_MOST_REASONS)),
                "received_from": since,
                "received_to": until,
            },
            now=now,
        )
        counts["sources"] += 1
        counts["events"] += total
    return counts


def _told_until(session: Session) -> dict[int, datetime]:
    rows = session.execute(
        select(AnnouncementRow.source_id, func.max(AnnouncementRow.facts["received_to"].astext))
        .where(AnnouncementRow.kind == _KIND, AnnouncementRow.source_id.is_not(None))
        .group_by(AnnouncementRow.source_id)
    )
    return {source_id: datetime.fromisoformat(until) for source_id, until in rows}


def _refused(session: Session, *, source_id: int, since: datetime, until: datetime) -> Counter[str]:
    rows = session.execute(
        select(QuarantinedEventRow.code, func.count())
        .where(
            QuarantinedEventRow.source_id == source_id,
            QuarantinedEventRow.received_at > since,
            QuarantinedEventRow.received_at <= until,
        )
        .group_by(QuarantinedEventRow.code)
    )
    return Counter({row[0]: row[1] for row in rows})
