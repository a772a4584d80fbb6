"""What storing usage and storing corrections have in common: rows of events, fingerprints."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from metering.events.catalogue import Feed
from metering.events.lots import Lot
from metering.events.model import USAGE
from metering.events.packing import (
    Dates,
    Instants,
    Int4s,
    Uuids,
    array,
    column,
    numerics,
    placeholder,
)

ALIKE_MIN = 64
"""From so many rows on it pays to look which columns have one value."""


@cache
def _insertion(
    month: str, subject: str, source: str, meter: str, dimensions: str, batch: str
) -> str:
    """Return the statement that stores rows of events, by what stands for six columns.

    Arrays are unnested side by side, the shorter filled up with nulls; nothing is kept in
    between, as it would be in FROM. What all rows share is sent once.
    """
    return f"""
INSERT INTO usage_events (period_month, subject_id, source_id, meter_id, dimension_set_id, kind,
    event_key, event_id, occurred_at, received_at, quantity, batch_id, detail)
SELECT {month}, {subject}, {source}, {meter}, {dimensions}, {USAGE}, unnest(%b),
    unnest(%s::text[]), unnest(%b), %s, unnest(%b), {batch}, unnest(%s::jsonb[])
"""


@dataclass(slots=True)
class Batch:
    """The events of one source in this transaction."""

    id: UUID
    source_id: int
    received: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0


Chosen = list[tuple[Lot, Collection[int] | None]]
"""Lots, and which positions of their keys are new; None for all."""


def fingerprints(
    cursor: psycopg.Cursor[Any], pairs: set[tuple[int, bytes]]
) -> dict[tuple[int, bytes], bytes]:
    """Return the fingerprints that are stored for keys of sources."""
    found: dict[tuple[int, bytes], bytes] = {}
    for source_id in sorted({source for source, _ in pairs}):
        cursor.execute(
            "SELECT event_key, fingerprint FROM event_keys"
            " WHERE source_id = %s AND event_key = ANY(%b)",
            (source_id, array(Uuids, [key for source, key in pairs if source == source_id], 16)),
        )
        for key, print_ in cursor.fetchall():
            found[source_id, key.bytes] = print_.bytes
    return found


def insert_events(
    cursor: psycopg.Cursor[Any],
    chosen: Chosen,
    batches: dict[int, Batch],
    *,
    now: datetime,
) -> None:
    """Insert the rows of the chosen events, and nothing where they have none."""
    months: list[bytes] = []
    subjects: list[bytes] = []
    sources: list[bytes] = []
    feeds: list[Feed] = []
    keys: list[bytes] = []
    texts: list[str | None] = []
    occurred: list[bytes] = []
    quantities: list[bytes] = []
    batch_ids: list[bytes] = []
    details: list[Jsonb | None] = []
    for lot, positions in chosen:
        rows = lot.rows
        picked: Sequence[int] = range(len(rows.position))
        if positions is None:
            places: Sequence[int] = rows.position
            months += rows.month
            subjects += rows.subject
            feeds += rows.feed
            quantities += rows.quantity
        else:
            picked = [row for row, place in enumerate(rows.position) if place in positions]
            places = [rows.position[row] for row in picked]
            months += [rows.month[row] for row in picked]
            subjects += [rows.subject[row] for row in picked]
            feeds += [rows.feed[row] for row in picked]
            quantities += [rows.quantity[row] for row in picked]
        if lot.texts:
            # Arrays may be too short, and are filled up with nulls.
            texts += [None] * (len(keys) - len(texts))
            texts += [lot.texts.get(place) for place in places]
        if rows.detail:
            details += [None] * (len(keys) - len(details))
            details += [Jsonb(rows.detail[row]) if row in rows.detail else None for row in picked]
        keys += [lot.keys[place] for place in places]
        occurred += [lot.occurred[place] for place in places]
        sources += [lot.source_id.to_bytes(4, "big")] * len(picked)
        batch_ids += [batches[lot.source_id].id.bytes] * len(picked)
    if not months:
        return
    # Which columns are alike differs from one small batch to the next, and a statement that is
    # met often is one that PostgreSQL has prepared.
    packed = column if len(keys) >= ALIKE_MIN else array
    month, batch = packed(Dates, months, 4), packed(Uuids, batch_ids, 16)
    subject, source = packed(Int4s, subjects, 4), packed(Int4s, sources, 4)
    meter = packed(Int4s, [feed.meter for feed in feeds], 4)
    dimensions = packed(Int4s, [feed.dimension_set for feed in feeds], 4)
    statement = _insertion(*map(placeholder, (month, subject, source, meter, dimensions, batch)))
    cursor.execute(
        statement,
        (
            *(month, subject, source, meter, dimensions),
            array(Uuids, keys, 16),
            texts,
            array(Instants, occurred, 8),
            now,
            numerics(quantities),
            batch,
            details,
        ),
    )
