"""Write judged events, set-wise and exactly once.

`event_keys` decides: its keys are inserted in order (two posters of the same
ids wait for each other and cannot deadlock), and only the events whose key was
new are stored. Everything happens in the caller's transaction, which must be
READ COMMITTED, so that a key that another poster committed meanwhile is seen.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from itertools import repeat as repeat_always
from operator import itemgetter
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakSet

import msgspec
import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format
from psycopg.types.json import Jsonb
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from metering.events.judging import Lot, Special, refuse, repeat
from metering.events.model import (
    CONFLICT,
    DUPLICATE,
    REJECTED,
    UNCOUNTED_METER,
    USAGE,
    WITHDRAWAL,
    hashed_uuid,
)
from metering.kit.ids import uuid7
from metering.organisations.operations import CATALOGUE
from metering.periods import Month

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class CatalogueMoved(Exception):
    """The catalogue changed since the events were judged; judge them again."""


class _Array(bytes):
    """A one-dimensional array in PostgreSQL's binary form."""


class Int4s(_Array):
    """`integer[]`"""


class Uuids(_Array):
    """`uuid[]`"""


class Instants(_Array):
    """`timestamptz[]`"""


class Dates(_Array):
    """`date[]`"""


class Numerics(_Array):
    """`numeric[]`"""


# Array type and element type by PostgreSQL's fixed object ids (pg_type.dat).
_OIDS: dict[type[_Array], tuple[int, int]] = {
    Int4s: (1007, 23),
    Uuids: (2951, 2950),
    Instants: (1185, 1184),
    Dates: (1182, 1082),
    Numerics: (1231, 1700),
}


def _dumper(array_oid: int) -> type[Dumper]:
    class _Ready(Dumper):
        """The bytes are in binary form already."""

        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: Any) -> Buffer | None:
            return bytes(obj)

    return _Ready


_DUMPERS = {kind: _dumper(array_oid) for kind, (array_oid, _) in _OIDS.items()}
_taught: WeakSet[psycopg.Connection[Any]] = WeakSet()


def teach(connection: psycopg.Connection[Any]) -> None:
    """Let a connection send our ready arrays."""
    if connection not in _taught:
        for kind, dumper in _DUMPERS.items():
            connection.adapters.register_dumper(kind, dumper)
        _taught.add(connection)


def _array(kind: type[_Array], elements: Sequence[bytes], width: int) -> _Array:
    """Return elements of `width` bytes each as an array."""
    length = width.to_bytes(4, "big")
    head = struct.pack(">IIIII", 1, 0, _OIDS[kind][1], len(elements), 1)
    return kind(head + length + length.join(elements)) if elements else kind(_empty(kind))


def _empty(kind: type[_Array]) -> bytes:
    return struct.pack(">III", 0, 0, _OIDS[kind][1])


def _numerics(elements: Sequence[bytes]) -> _Array:
    """Return elements that carry their own length as an array."""
    if not elements:
        return Numerics(_empty(Numerics))
    return Numerics(
        struct.pack(">IIIII", 1, 0, _OIDS[Numerics][1], len(elements), 1) + b"".join(elements)
    )


_INSERT_KEYS = """
INSERT INTO event_keys (source_id, event_key, fingerprint, occurred_at)
SELECT s, k, f, o FROM unnest(%b, %b, %b, %b) AS u (s, k, f, o) ORDER BY k, s
ON CONFLICT DO NOTHING RETURNING source_id, event_key
"""
# ON CONFLICT can never arise on usage_events; RETURNING alone would cost the rows' way back.
_INSERT_EVENTS = """
INSERT INTO usage_events (period_month, subject_id, source_id, meter_id, dimension_set_id, kind,
    event_key, event_id, occurred_at, received_at, quantity, batch_id, detail)
SELECT p, s, c, m, d, 0, k, i, o, %s, q, b, j
FROM unnest(%b, %b, %b, %b, %b, %b, %s::text[], %b, %b, %b, %s::jsonb[])
    AS u (p, s, c, m, d, k, i, o, q, b, j)
"""
_INSERT_BATCH = """
INSERT INTO ingest_batches
    (id, source_id, received_at, received, accepted, duplicate, conflict, rejected, claimed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_QUARANTINE = """
INSERT INTO quarantined_events
    (id, source_id, batch_id, received_at, event_id, fate, code, pointer, detail, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@dataclass(slots=True)
class _Batch:
    """The events of one source in this transaction."""

    id: UUID
    source_id: int
    received: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0


def store(connection: psycopg.Connection[Any], lots: Sequence[Lot], *, now: datetime) -> None:
    """Store the events of several requests in this transaction, and complete their fates.

    The connection may be in pipeline mode: two round trips, whatever is stored.

    Raises:
        CatalogueMoved: nothing was written; judge again and start a new transaction.
        psycopg.Error: the database refused or is gone.
    """
    _store(connection, lots, _insert_keys, _insert_events, now=now)


def store_bulk(session: Session, lots: Sequence[Lot], *, now: datetime) -> None:
    """Store the many events of a request, by COPY.

    Raises:
        CatalogueMoved: as `store`.
        DBAPIError: the database refused or is gone; `kit.db.is_transient` tells which.
    """
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    try:
        _store(connection, lots, _copy_keys, _copy_events, now=now)
    except psycopg.Error as error:
        gone = connection.closed
        if gone:
            session.invalidate()
        # As SQLAlchemy would have raised it, so that whoever retries knows it.
        raise DBAPIError("ingest", None, error, connection_invalidated=gone) from error


def _store(
    connection: psycopg.Connection[Any],
    lots: Sequence[Lot],
    keep_keys: "KeepKeys",
    keep_events: "KeepEvents",
    *,
    now: datetime,
) -> None:
    teach(connection)
    batches: dict[int, _Batch] = {}
    for lot in lots:
        lot.rewind()
        if lot.source_id not in batches:
            batches[lot.source_id] = _Batch(uuid7(now=now), lot.source_id)
    with connection.cursor() as cursor:
        chosen = keep_keys(cursor, lots)
        if chosen:
            keep_events(cursor, chosen, batches, now=now)
        for lot in lots:
            if lot.specials:
                _store_specials(cursor, lot, batches, now=now)
        _store_batches(cursor, lots, batches, now=now)


def _ask_version(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    cursor = connection.cursor()
    cursor.execute("SELECT version FROM cache_versions WHERE name = %s", (CATALOGUE,))
    return cursor


def _check_version(asked: psycopg.Cursor[Any], lots: Sequence[Lot]) -> None:
    found = asked.fetchone()
    asked.close()
    version = 0 if found is None else found[0]
    if any(lot.version != version for lot in lots):
        raise CatalogueMoved


Chosen = list[tuple[Lot, set[int] | None]]
"""Lots, and which positions of their keys are new; None for all."""

KeepKeys = Callable[[psycopg.Cursor[Any], Sequence[Lot]], Chosen]


class KeepEvents(Protocol):
    """Stores the events whose keys are new."""

    def __call__(
        self,
        cursor: psycopg.Cursor[Any],
        chosen: Chosen,
        batches: dict[int, _Batch],
        *,
        now: datetime,
    ) -> None:
        """Store them."""


def _insert_keys(cursor: psycopg.Cursor[Any], lots: Sequence[Lot]) -> Chosen:
    """Insert the keys of all lots, and say of those that were there what they are."""
    with cursor.connection.pipeline():
        # Both are sent before either is answered: one round trip.
        asked = _ask_version(cursor.connection)
        inserted = _send_keys(cursor, lots)
    _check_version(asked, lots)
    if not inserted:
        return []
    if cursor.rowcount == inserted:
        return [(lot, None) for lot in lots]
    new = {(source, key.bytes) for source, key in cursor.fetchall()}
    return _settle_repeats(cursor, lots, new)


def _send_keys(cursor: psycopg.Cursor[Any], lots: Sequence[Lot]) -> int:
    """Insert the keys of all lots; return how many there are, whether new or not."""
    keys = [key for lot in lots for key in lot.keys]
    if not keys:
        return 0
    sources = [
        source for lot in lots for source in (lot.source_id.to_bytes(4, "big"),) * len(lot.keys)
    ]
    # An id that two requests of one transaction share goes in once, from the first.
    cursor.execute(
        _INSERT_KEYS,
        (
            _array(Int4s, sources, 4),
            _array(Uuids, keys, 16),
            _array(Uuids, [print_ for lot in lots for print_ in lot.fingerprints], 16),
            _array(Instants, [at for lot in lots for at in lot.occurred], 8),
        ),
        binary=True,
    )
    return len(keys)


def _settle_repeats(
    cursor: psycopg.Cursor[Any], lots: Sequence[Lot], new: set[tuple[int, bytes]]
) -> Chosen:
    """Return the positions that are new in each lot, and note what became of the others."""
    chosen: Chosen = []
    old: list[tuple[Lot, int]] = []
    for lot in lots:
        positions: set[int] = set()
        for position, key in enumerate(lot.keys):
            if (lot.source_id, key) in new:
                new.discard((lot.source_id, key))
                positions.add(position)
            else:
                old.append((lot, position))
        chosen.append((lot, positions))
    known = _fingerprints(cursor, {(lot.source_id, lot.keys[position]) for lot, position in old})
    for lot, position in old:
        repeat(
            lot,
            lot.indexes[position],
            lot.ids[position],
            same=known[lot.source_id, lot.keys[position]] == lot.fingerprints[position],
        )
    return chosen


def _fingerprints(
    cursor: psycopg.Cursor[Any], pairs: set[tuple[int, bytes]]
) -> dict[tuple[int, bytes], bytes]:
    found: dict[tuple[int, bytes], bytes] = {}
    for source_id in sorted({source for source, _ in pairs}):
        cursor.execute(
            "SELECT event_key, fingerprint FROM event_keys"
            " WHERE source_id = %s AND event_key = ANY(%b)",
            (source_id, _array(Uuids, [key for source, key in pairs if source == source_id], 16)),
        )
        for key, print_ in cursor.fetchall():
            found[source_id, key.bytes] = print_.bytes
    return found


def _insert_events(
    cursor: psycopg.Cursor[Any],
    chosen: Chosen,
    batches: dict[int, _Batch],
    *,
    now: datetime,
) -> None:
    months: list[bytes] = []
    subjects: list[bytes] = []
    sources: list[bytes] = []
    meters: list[bytes] = []
    sets: list[bytes] = []
    keys: list[bytes] = []
    texts: list[str | None] = []
    occurred: list[bytes] = []
    quantities: list[bytes] = []
    batch_ids: list[bytes] = []
    details: dict[int, dict[str, Any]] = {}
    for lot, positions in chosen:
        rows = lot.rows
        start = len(months)
        if positions is None:
            picked: Sequence[int] = range(len(rows.position))
            months += rows.month
            subjects += rows.subject
            quantities += rows.quantity
        else:
            picked = [row for row, place in enumerate(rows.position) if place in positions]
            months += [rows.month[row] for row in picked]
            subjects += [rows.subject[row] for row in picked]
            quantities += [rows.quantity[row] for row in picked]
        meters += [rows.feed[row].meter for row in picked]
        sets += [rows.feed[row].dimension_set for row in picked]
        places = [rows.position[row] for row in picked]
        keys += [lot.keys[place] for place in places]
        occurred += [lot.occurred[place] for place in places]
        texts += [lot.texts[place] for place in places]
        if rows.detail:
            for offset, row in enumerate(picked):
                if row in rows.detail:
                    details[start + offset] = rows.detail[row]
        sources += [lot.source_id.to_bytes(4, "big")] * len(picked)
        batch_ids += [batches[lot.source_id].id.bytes] * len(picked)
    if not months:
        return
    cursor.execute(
        _INSERT_EVENTS,
        (
            now,
            _array(Dates, months, 4),
            _array(Int4s, subjects, 4),
            _array(Int4s, sources, 4),
            _array(Int4s, meters, 4),
            _array(Int4s, sets, 4),
            _array(Uuids, keys, 16),
            # A shorter array is filled up with nulls.
            texts if any(text is not None for text in texts) else [],
            _array(Instants, occurred, 8),
            _numerics(quantities),
            _array(Uuids, batch_ids, 16),
            [Jsonb(details[row]) if row in details else None for row in range(max(details) + 1)]
            if details
            else [],
        ),
    )


# COPY in binary form: a header, rows of a number of fields and each field's length, an end.
_COPY_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_LENGTH_2, _LENGTH_4, _LENGTH_8, _LENGTH_16 = (size.to_bytes(4, "big") for size in (2, 4, 8, 16))
_COPY_KEYS = (
    "COPY event_keys (source_id, event_key, fingerprint, occurred_at) FROM STDIN (FORMAT BINARY)"
)
_COPY_EVENTS = """
COPY usage_events (source_id, kind, received_at, batch_id, detail, event_id, meter_id,
    dimension_set_id, period_month, subject_id, event_key, occurred_at, quantity)
FROM STDIN (FORMAT BINARY)
"""


def _copy_keys(cursor: psycopg.Cursor[Any], lots: Sequence[Lot]) -> Chosen:
    """Store the keys that are new by COPY, and say of the others what they are.

    COPY knows no ON CONFLICT: what is there is looked for first, and where another
    poster's same key comes between, all goes the careful way.
    """
    (lot,) = lots
    with cursor.connection.pipeline():
        asked = _ask_version(cursor.connection)
        cursor.execute(
            "SELECT event_key, fingerprint FROM event_keys"
            " WHERE source_id = %s AND event_key = ANY(%b)",
            (lot.source_id, _array(Uuids, lot.keys, 16)),
        )
    _check_version(asked, lots)
    known = {key.bytes: print_.bytes for key, print_ in cursor.fetchall()}
    places = sorted(range(len(lot.keys)), key=lot.keys.__getitem__)
    if known:
        places = [place for place in places if lot.keys[place] not in known]
    try:
        with cursor.connection.transaction():  # a savepoint
            _copy(cursor, _COPY_KEYS, _keys_copied(lot, places))
    except psycopg.errors.UniqueViolation:
        return _insert_keys(cursor, lots)
    if not known:
        return [(lot, None)] if lot.keys else []
    for place, key in enumerate(lot.keys):
        if key in known:
            same = known[key] == lot.fingerprints[place]
            repeat(lot, lot.indexes[place], lot.ids[place], same=same)
    return [(lot, set(places))] if places else []


def _keys_copied(lot: Lot, places: Sequence[int]) -> bytes:
    head = b"\x00\x04" + _LENGTH_4 + lot.source_id.to_bytes(4, "big") + _LENGTH_16
    return b"".join(
        chain.from_iterable(
            zip(
                repeat_always(head),
                [lot.keys[place] for place in places],
                repeat_always(_LENGTH_16),
                [lot.fingerprints[place] for place in places],
                repeat_always(_LENGTH_8),
                [lot.occurred[place] for place in places],
                strict=False,
            )
        )
    )


def _copy_events(
    cursor: psycopg.Cursor[Any],
    chosen: Chosen,
    batches: dict[int, _Batch],
    *,
    now: datetime,
) -> None:
    """Store the events whose keys are new by COPY."""
    for lot, positions in chosen:
        rows = lot.rows
        places: Sequence[int] = rows.position
        columns: tuple[Sequence[Any], ...] = (rows.feed, rows.month, rows.subject, rows.quantity)
        picked: Sequence[int] = range(len(places))
        if positions is not None:
            picked = [row for row, place in enumerate(places) if place in positions]
            places = [places[row] for row in picked]
            columns = tuple([column[row] for row in picked] for column in columns)
        feeds, months, subjects, quantities = columns
        head = b"".join(
            (
                *(b"\x00\x0d", _LENGTH_4, lot.source_id.to_bytes(4, "big")),
                *(_LENGTH_2, USAGE.to_bytes(2, "big"), _LENGTH_8, _packed_instant(now)),
                *(_LENGTH_16, batches[lot.source_id].id.bytes),
            )
        )
        content = b"".join(
            chain.from_iterable(
                zip(
                    repeat_always(head),
                    _extras(lot, picked, places),
                    [feed.copied for feed in feeds],
                    months,
                    repeat_always(_LENGTH_4),
                    subjects,
                    repeat_always(_LENGTH_16),
                    [lot.keys[place] for place in places],
                    repeat_always(_LENGTH_8),
                    [lot.occurred[place] for place in places],
                    quantities,
                    strict=False,
                )
            )
        )
        _copy(cursor, _COPY_EVENTS, content)


def _extras(lot: Lot, picked: Sequence[int], places: Sequence[int]) -> Iterable[bytes]:
    """Return the fields `detail` and `event_id` of each row; most rows have neither."""
    details = lot.rows.detail
    if not details and not any(lot.texts):
        return repeat_always(_NULL + _NULL)
    return [
        _field(b"\x01" + msgspec.json.encode(details[row]) if row in details else None)
        + _field(None if lot.texts[place] is None else str(lot.texts[place]).encode())
        for row, place in zip(picked, places, strict=True)
    ]


def _field(content: bytes | None) -> bytes:
    return _NULL if content is None else len(content).to_bytes(4, "big") + content


def _packed_instant(instant: datetime) -> bytes:
    since = instant - _EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return microseconds.to_bytes(8, "big", signed=True)


def _copy(cursor: psycopg.Cursor[Any], statement: str, rows: bytes) -> None:
    if rows:
        with cursor.copy(statement) as copy:
            copy.write(_COPY_HEAD + rows + _COPY_END)


def _store_specials(
    cursor: psycopg.Cursor[Any], lot: Lot, batches: dict[int, _Batch], *, now: datetime
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
    batches: dict[int, _Batch],
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
                    _EPOCH + timedelta(microseconds=int.from_bytes(special.occurred, signed=True)),
                ),
            )
            if cursor.fetchone() is not None:
                _withdraw(cursor, lot, special, batches[lot.source_id].id, now=now)
                _insert_events(cursor, [(_lot_of(lot, special), None)], batches, now=now)
                return
    except _Undo as undo:
        refuse(
            lot, special.index, special.event_id, REJECTED, special.pointer, undo.code, undo.detail
        )
        return
    pair = (lot.source_id, special.key)
    same = _fingerprints(cursor, {pair})[pair] == special.fingerprint
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
        texts=[special.key_text],
        occurred=[special.occurred],
        rows=special.rows,
    )


def _store_batches(
    cursor: psycopg.Cursor[Any],
    lots: Sequence[Lot],
    batches: dict[int, _Batch],
    *,
    now: datetime,
) -> None:
    quarantined: list[tuple[Any, ...]] = []
    for lot in lots:
        batch = batches[lot.source_id]
        counted = Counter(fate.fate for fate in lot.fates)
        batch.received += lot.received
        batch.duplicate += counted[DUPLICATE]
        batch.conflict += counted[CONFLICT]
        batch.rejected += counted[REJECTED]
        for refused in lot.refused:
            fate = refused.fate
            # The same refused event sent again and again is kept once.
            content = msgspec.json.encode([lot.source_id, fate.fate, fate.code, refused.body])
            quarantined.append(
                (
                    UUID(bytes=hashed_uuid(content)),
                    lot.source_id,
                    batch.id,
                    now,
                    fate.event_id,
                    fate.fate,
                    fate.code,
                    fate.pointer,
                    fate.detail,
                    Jsonb(refused.body),
                )
            )
    if quarantined:
        quarantined.sort(
            key=itemgetter(0)
        )  # in one order, so that two transactions cannot deadlock
        cursor.executemany(_INSERT_QUARANTINE, quarantined)
    for batch in batches.values():
        accepted = batch.received - batch.duplicate - batch.conflict - batch.rejected
        cursor.execute(
            _INSERT_BATCH,
            (
                batch.id,
                batch.source_id,
                now,
                batch.received,
                accepted,
                batch.duplicate,
                batch.conflict,
                batch.rejected,
                # Nothing accepted, nothing to claim.
                None if accepted else now,
            ),
        )
