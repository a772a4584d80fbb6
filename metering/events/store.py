"""Write judged events, set-wise and exactly once.

The primary key of `event_keys` decides. Keys are written in their order, so that two
posters of the same ids wait for each other and cannot deadlock, and only the events whose
key was new are stored. Everything happens in the caller's transaction, which must be READ
COMMITTED, so that a key that another poster committed meanwhile is seen.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from operator import itemgetter
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy.exc import DBAPIError

from metering.events.corrections import store_specials
from metering.events.lots import Lot
from metering.events.model import CONFLICT, DUPLICATE, REJECTED
from metering.events.packing import (
    COPY_EVENTS,
    COPY_KEYS,
    PLACEHOLDERS,
    Instants,
    Int4s,
    Uuids,
    array,
    column,
    copied_events,
    copied_keys,
    placeholder,
    teach,
)
from metering.events.rows import Batch, Chosen, fingerprints, insert_events
from metering.kit.ids import uuid7
from metering.organisations.operations import CATALOGUE

TOGETHER_MIN = 64
"""From so many events on it is cheaper not to ask for conflicts key by key."""

COPIED_MIN = 2_000
"""From so many events on COPY is cheaper than INSERT."""


class CatalogueMoved(Exception):
    """The catalogue changed since the events were judged; judge them again."""


class Care(IntEnum):
    """What is reckoned with, of ids that are there already; where it was too little, the
    primary key ends the transaction as `came_between` tells, and more care is due."""

    ALL_NEW = 0
    """Every id is new: nothing is asked, everything goes in one round trip."""

    REPEATS = 1
    """Ids may be there already: they are looked up first."""

    RIVALS = 2
    """And somebody may be storing the same ones at this very moment."""


# As long as nobody's same key comes between, no conflict is looked for again.
_INSERT_NEW_KEYS = {
    source: f"""
INSERT INTO event_keys (source_id, event_key, fingerprint, occurred_at)
SELECT {source}, unnest(%b), unnest(%b), unnest(%b)
"""
    for source in PLACEHOLDERS
}
_INSERT_KEYS = """
INSERT INTO event_keys (source_id, event_key, fingerprint, occurred_at)
SELECT s, k, f, o FROM unnest(%b, %b, %b, %b) AS u (s, k, f, o) ORDER BY k, s
ON CONFLICT DO NOTHING RETURNING source_id, event_key
"""
_KNOWN = """
SELECT event_key, fingerprint FROM event_keys WHERE source_id = %s AND event_key = ANY(%b)
"""
_MOVED = "catalogue-moved"
# Whether the catalogue is still the one, asked so that the answer need not be waited for:
# where it is not, a text that is no number ends the transaction.
_HOLD_VERSION = """
SELECT (CASE coalesce((SELECT version FROM cache_versions WHERE name = %s), 0) WHEN %s THEN '0'
    ELSE 'catalogue-moved' END)::integer
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


def store(
    connection: psycopg.Connection[Any], lots: Sequence[Lot], *, now: datetime, care: Care
) -> None:
    """Store the events of several requests in this transaction, and complete their fates.

    The connection may be in pipeline mode: two round trips at most, whatever is stored.

    Raises:
        CatalogueMoved: nothing was written; judge again and start a new transaction.
        psycopg.Error: the database refused or is gone; see `came_between`, `has_moved`.
    """
    batches = _begin(connection, lots, now=now)
    with connection.cursor() as cursor:
        if care is Care.RIVALS or sum(len(lot.keys) for lot in lots) < TOGETHER_MIN:
            chosen = _insert_keys(cursor, lots)
        else:
            chosen = _hold(cursor, lots) if care is Care.ALL_NEW else _look_up(cursor, lots)
            if chosen:
                _send_keys(cursor, chosen, rivals=False)
        if chosen:
            insert_events(cursor, chosen, batches, now=now)
        _finish(cursor, lots, batches, now=now)


def store_by_copy(
    connection: psycopg.Connection[Any], lot: Lot, *, now: datetime, care: Care
) -> None:
    """Store the very many events of one request, by COPY; not in pipeline mode.

    COPY knows no ON CONFLICT, so this cannot reckon with rivals.

    Raises:
        CatalogueMoved, psycopg.Error: as `store`.
    """
    assert care is not Care.RIVALS
    batches = _begin(connection, [lot], now=now)
    with connection.cursor() as cursor:
        look = _hold if care is Care.ALL_NEW else _look_up
        for _, positions in look(cursor, [lot]):
            chosen = range(len(lot.keys)) if positions is None else positions
            places = sorted(chosen, key=lot.keys.__getitem__)
            _copy(cursor, COPY_KEYS, copied_keys(lot, places))
            rows = copied_events(lot, positions, batches[lot.source_id].id, now)
            _copy(cursor, COPY_EVENTS, rows)
        with connection.pipeline():
            _finish(cursor, [lot], batches, now=now)


def came_between(error: DBAPIError) -> bool:
    """Return whether a transaction failed because one of its keys is there already."""
    return isinstance(error.orig, psycopg.errors.UniqueViolation)


def has_moved(error: DBAPIError) -> bool:
    """Return whether a transaction failed because the catalogue changed: judge again."""
    held = isinstance(error.orig, psycopg.errors.InvalidTextRepresentation)
    return held and _MOVED in str(error.orig)


def _begin(
    connection: psycopg.Connection[Any], lots: Sequence[Lot], *, now: datetime
) -> dict[int, Batch]:
    teach(connection)
    batches: dict[int, Batch] = {}
    for lot in lots:
        lot.rewind()
        if lot.source_id not in batches:
            batches[lot.source_id] = Batch(uuid7(now=now), lot.source_id)
    return batches


def _finish(
    cursor: psycopg.Cursor[Any],
    lots: Sequence[Lot],
    batches: dict[int, Batch],
    *,
    now: datetime,
) -> None:
    for lot in lots:
        if lot.specials:
            store_specials(cursor, lot, batches, now=now)
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


def _hold(cursor: psycopg.Cursor[Any], lots: Sequence[Lot]) -> Chosen:
    """Let the transaction fail where the catalogue changed; take every key for a new one."""
    for version in {lot.version for lot in lots}:
        cursor.execute(_HOLD_VERSION, (CATALOGUE, version))
    return [(lot, None) for lot in lots if lot.keys]


def _insert_keys(cursor: psycopg.Cursor[Any], lots: Sequence[Lot]) -> Chosen:
    """Insert the keys of all lots, and say of those that were there what they are."""
    everything: Chosen = [(lot, None) for lot in lots]
    with cursor.connection.pipeline():
        # Both are sent before either is answered: one round trip.
        asked = _ask_version(cursor.connection)
        # An id that two requests of one transaction share goes in once, from the first.
        inserted = _send_keys(cursor, everything, rivals=True)
    _check_version(asked, lots)
    if not inserted:
        return []
    if cursor.rowcount == inserted:
        return everything
    new = {(source, key.bytes) for source, key in cursor.fetchall()}
    sent = {(lot.source_id, key) for lot in lots for key in lot.keys}
    return _choose(lots, fingerprints(cursor, sent - new))


def _look_up(cursor: psycopg.Cursor[Any], lots: Sequence[Lot]) -> Chosen:
    """Look which keys are there already, and say of those what they are."""
    keys: dict[int, list[bytes]] = {}
    for lot in lots:
        keys.setdefault(lot.source_id, []).extend(lot.keys)
    with cursor.connection.pipeline():
        asked = _ask_version(cursor.connection)
        found = [
            (source_id, cursor.connection.execute(_KNOWN, (source_id, array(Uuids, mine, 16))))
            for source_id, mine in keys.items()
            if mine
        ]
    _check_version(asked, lots)
    known = {
        (source_id, key.bytes): print_.bytes for source_id, rows in found for key, print_ in rows
    }
    if known or len(lots) > 1:
        return _choose(lots, known)
    return [(lot, None) for lot in lots if lot.keys]


def _choose(lots: Sequence[Lot], known: dict[tuple[int, bytes], bytes]) -> Chosen:
    """Return the positions that are new in each lot, and note what became of the others.

    Args:
        known: keys that are there with their fingerprints; the lots' own are added.
    """
    chosen: Chosen = []
    for lot in lots:
        positions: set[int] = set()
        for position, key in enumerate(lot.keys):
            before = known.setdefault((lot.source_id, key), lot.fingerprints[position])
            if before is lot.fingerprints[position]:
                positions.add(position)
            else:
                lot.repeated(position, same=before == lot.fingerprints[position])
        if positions:
            chosen.append((lot, positions))
    return chosen


def _send_keys(cursor: psycopg.Cursor[Any], chosen: Chosen, *, rivals: bool) -> int:
    """Insert the keys of some events, in their order; return how many there are."""
    sources: list[bytes] = []
    keys: list[bytes] = []
    prints: list[bytes] = []
    instants: list[bytes] = []
    for lot, positions in chosen:
        if positions is None:
            keys += lot.keys
            prints += lot.fingerprints
            instants += lot.occurred
        else:
            keys += [lot.keys[place] for place in positions]
            prints += [lot.fingerprints[place] for place in positions]
            instants += [lot.occurred[place] for place in positions]
        sources += [lot.source_id.to_bytes(4, "big")] * (len(keys) - len(sources))
    if not keys:
        return 0
    # Ids of one process may come in order; others, and those of several requests, are put in it.
    places = sorted(range(len(keys)), key=keys.__getitem__)
    if places != list(range(len(keys))):
        sources, keys, prints, instants = (
            [each[place] for place in places] for each in (sources, keys, prints, instants)
        )
    source = array(Int4s, sources, 4) if rivals else column(Int4s, sources, 4)
    cursor.execute(
        _INSERT_KEYS if rivals else _INSERT_NEW_KEYS[placeholder(source)],
        (
            source,
            array(Uuids, keys, 16),
            array(Uuids, prints, 16),
            array(Instants, instants, 8),
        ),
        binary=True,
    )
    return len(keys)


def _copy(cursor: psycopg.Cursor[Any], statement: str, block: bytes) -> None:
    with cursor.copy(statement) as copy:
        copy.write(block)


def _store_batches(
    cursor: psycopg.Cursor[Any],
    lots: Sequence[Lot],
    batches: dict[int, Batch],
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
            quarantined.append(
                (
                    # The same refused event sent again and again is kept once.
                    refused.kept_as(lot.source_id),
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
