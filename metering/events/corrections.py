"""Store withdrawals and replacements: rare, one by one, each whole or not at all."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from metering.events.lots import Lot, Special, refuse, repeat
from metering.events.model import REJECTED, UNCOUNTED_METER, USAGE, WITHDRAWAL
from metering.events.rows import Batch, fingerprints, insert_events
from metering.events.rules import PG_EPOCH
from metering.periods import Month


def store_specials(
    cursor: psycopg.Cursor[Any], lot: Lot, batches: dict[int, Batch], *, now: datetime
) -> None:
    """Store withdrawals and replacements, in order of what they withdraw."""
    for special in sorted(lot.specials, key=lambda special: (special.target, special.index)):
        _store_special(cursor, lot, special, batches, now=now)


_LOCATE = "SELECT occurred_at FROM event_keys WHERE source_id = %s AND event_key = %s"
# The index on subject, meter and instant finds the few rows of one event.
_ORIGINAL = """
SELECT period_month, subject_id, meter_id, dimension_set_id, kind, occurred_at, quantity, detail
FROM usage_events
WHERE period_month = %s AND occurred_at = %s AND source_id = %s AND event_key = %s
    AND subject_id = %s
    AND meter_id = ANY(ARRAY(SELECT id FROM meters WHERE source_id = %s) || %s::integer)
"""
_INSERT_KEY = """
INSERT INTO event_keys (source_id, event_key, fingerprint, occurred_at) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING RETURNING event_key
"""
_MARK_WITHDRAWN = """
INSERT INTO event_withdrawals (source_id, event_key, withdrawn_by, reason, recorded_at)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING event_key
"""
_INSERT_WITHDRAWAL = """
INSERT INTO usage_events (period_month, subject_id, source_id, meter_id, dimension_set_id, kind,
    event_key, event_id, occurred_at, received_at, quantity, batch_id, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class _Undo(Exception):
    """A withdrawal or replacement cannot be stored; what was written of it is undone."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def _store_special(
    cursor: psycopg.Cursor[Any],
    lot: Lot,
    special: Special,
    batches: dict[int, Batch],
    *,
    now: datetime,
) -> None:
    """Store one withdrawal or replacement whole, or note why not."""
    try:
        with cursor.connection.transaction():  # a savepoint: all of it or nothing
            cursor.execute(
                _INSERT_KEY,
                (
                    lot.source_id,
                    UUID(bytes=special.key),
                    UUID(bytes=special.fingerprint),
                    PG_EPOCH
                    + timedelta(microseconds=int.from_bytes(special.occurred, signed=True)),
                ),
            )
            if cursor.fetchone() is not None:
                _withdraw(cursor, lot, special, batches[lot.source_id].id, now=now)
                insert_events(cursor, [(_lot_of(lot, special), None)], batches, now=now)
                return
    except _Undo as undo:
        refuse(
            lot, special.index, special.event_id, REJECTED, special.pointer, undo.code, undo.detail
        )
        return
    pair = (lot.source_id, special.key)
    same = fingerprints(cursor, {pair})[pair] == special.fingerprint
    repeat(lot, special.index, special.event_id, same=same)


def _withdraw(
    cursor: psycopg.Cursor[Any], lot: Lot, special: Special, batch_id: UUID, *, now: datetime
) -> None:
    """Record the withdrawal of an event, on the original's instant.

    Raises:
        _Undo: it is unknown, another's, too old, itself a withdrawal, or withdrawn before.
    """
    shown = special.target_id[:100]
    target = UUID(bytes=special.target)
    cursor.execute(_LOCATE, (lot.source_id, target))
    located = cursor.fetchone()
    if located is None:
        raise _Undo("withdrawal-unknown", f"No event of this source has the id '{shown}'.")
    occurred_at: datetime = located[0]
    if occurred_at < lot.oldest:
        raise _Undo("time-too-old", f"The event '{shown}' can no longer be corrected.")
    cursor.execute(
        _ORIGINAL,
        (
            Month.of(occurred_at).first_day,
            occurred_at,
            lot.source_id,
            target,
            int.from_bytes(special.subject),
            lot.source_id,
            UNCOUNTED_METER,
        ),
    )
    originals = cursor.fetchall()
    if not originals:
        raise _Undo(
            "withdrawal-mismatch",
            f"The event '{shown}' is not usage of {special.subject_code}, or is a withdrawal.",
        )
    usage = [original for original in originals if original[4] == USAGE]
    if not usage:
        raise _Undo(
            "withdrawal-mismatch",
            f"The event '{shown}' is a withdrawal, which cannot be withdrawn; send usage anew.",
        )
    cursor.execute(
        _MARK_WITHDRAWN,
        (lot.source_id, target, UUID(bytes=special.key), special.reason, now),
    )
    if cursor.fetchone() is None:
        raise _Undo("withdrawn-already", f"The event '{shown}' was withdrawn before.")
    for month, subject, meter, dimension_set, _, at, quantity, detail in usage:
        about = {**(detail or {}), "withdraws": str(target), "reason": special.reason}
        cursor.execute(
            _INSERT_WITHDRAWAL,
            (
                month,
                subject,
                lot.source_id,
                meter,
                dimension_set,
                WITHDRAWAL,
                UUID(bytes=special.key),
                special.key_text,
                at,
                now,
                -quantity,
                batch_id,
                Jsonb(about),
            ),
        )


def _lot_of(lot: Lot, special: Special) -> Lot:
    """Return the new usage of a replacement (none, for a withdrawal) as a lot of its own."""
    return replace(
        lot,
        keys=[special.key],
        texts={} if special.key_text is None else {0: special.key_text},
        occurred=[special.occurred],
        rows=special.rows,
    )


def _instant(packed: bytes) -> datetime:
    return PG_EPOCH + timedelta(microseconds=int.from_bytes(packed, signed=True))
