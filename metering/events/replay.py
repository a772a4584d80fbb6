"""Replay refused events once the cause is mended: judged again, as if they came now.

This is an edge, like ingest itself: it opens its own transactions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from metering.events.decoding import Decoded, read_kept
from metering.events.ingest import Ingest
from metering.events.model import REJECTED
from metering.events.operations import open_events, resolve
from metering.events.tables import QuarantinedEventRow
from metering.kit import audit
from metering.kit.db import Database
from metering.kit.errors import Invalid
from metering.kit.nhs_number import MASK
from metering.sources.model import EVENTS_WRITE, SourcePrincipal
from metering.sources.tables import SourceRow

REPLAYED_TOGETHER_MAX = 1_000


class ReplayImpossible(Invalid):
    """These refused events cannot be replayed: they conflict, or hold a masked number."""

    code = "replay-impossible"
    title = "These events cannot be replayed"


@dataclass(frozen=True)
class Replayed:
    """What came of a replay.

    Attributes:
        accepted: now stored (or found stored already).
        refused: still refused. Where the reason is another one now, they are open under
            that reason, and what they were refused for before is closed.
        skipped: cannot be replayed, because a patient's number was masked in them
            or another event with their id stands.
    """

    accepted: int = 0
    refused: int = 0
    skipped: int = 0


def replay(
    database: Database,
    ingest: Ingest,
    *,
    ids: Collection[UUID] | None = None,
    source_id: int | None = None,
    code: str | None = None,
    principal: str,
    now: datetime,
) -> Replayed:
    """Judge refused events again, as if they came now, and store those that pass.

    Give `ids`, or `code` (with or without `source_id`) for all open ones of a reason.
    It opens its own transactions; a crash between leaves events open that are
    stored, and replaying them again finds them to be duplicates.

    Raises:
        ReplayImpossible: neither ids nor a reason is given, or none can be replayed.
    """
    if ids is None and code is None:
        raise ReplayImpossible("Say which events to replay, or for which reason they were refused.")
    with database.snapshot() as session:
        rows = open_events(session, ids=ids, source_id=source_id, code=code)
        sources = {row.id: row for row in session.scalars(select(SourceRow))}
    fit = [row for row in rows if _can_be_replayed(row)]
    skipped = len(rows) - len(fit)
    if rows and not fit:
        raise ReplayImpossible(
            "A conflict cannot be replayed, nor an event in which a number was masked."
        )
    closed: list[UUID] = []
    refused = 0
    for source in sorted({row.source_id for row in fit}):
        mine = [row for row in fit if row.source_id == source]
        for start in range(0, len(mine), REPLAYED_TOGETHER_MAX):
            some = mine[start : start + REPLAYED_TOGETHER_MAX]
            again = _replay_some(ingest, some, sources[source], now=now)
            refused += len(again)
            closed += [row.id for index, row in enumerate(some) if again.get(index) != row.id]
    with database.transaction() as session:
        resolve(session, ids=closed, status="replayed", principal=principal, now=now)
        audit.record(
            session,
            now=now,
            principal=principal,
            action="replay refused events",
            object_kind="quarantine",
            object_id=code or "chosen",
            facts={"accepted": len(fit) - refused, "refused": refused},
        )
    return Replayed(len(fit) - refused, refused, skipped)


def _can_be_replayed(row: QuarantinedEventRow) -> bool:
    return row.fate == REJECTED and MASK not in str(row.body) and "shortened" not in row.body


def _replay_some(
    ingest: Ingest, rows: Sequence[QuarantinedEventRow], source: SourceRow, *, now: datetime
) -> dict[int, UUID]:
    """Replay some events of a source; return, by place, as what the refused ones are kept now."""
    whoever = SourcePrincipal(source.id, source.code, "replay", "replay", frozenset({EVENTS_WRITE}))
    decoded = Decoded([read_kept(row.body) for row in rows])
    return ingest.accept_again(decoded, principal=whoever, now=now)
