"""Columns and rows in PostgreSQL's binary form: arrays for INSERT, blocks for COPY. Pure.

Written by hand, since a driver's conversion of each value costs more than storing it.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import chain
from itertools import repeat as repeat_always
from typing import Any
from uuid import UUID
from weakref import WeakSet

import msgspec
import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from metering.events.lots import Lot
from metering.events.model import USAGE
from metering.events.rules import microseconds_of


class Packed(bytes):
    """A one-dimensional array in PostgreSQL's binary form."""


class Int4s(Packed):
    """`integer[]`"""


class Uuids(Packed):
    """`uuid[]`"""


class Instants(Packed):
    """`timestamptz[]`"""


class Dates(Packed):
    """`date[]`"""


class Numerics(Packed):
    """`numeric[]`"""


class Alone(Packed):
    """One value in PostgreSQL's binary form, which every row has."""


class Int4(Alone):
    """`integer`"""


class AUuid(Alone):
    """`uuid`"""


class ADate(Alone):
    """`date`"""


# Array type and element type by PostgreSQL's fixed object ids (pg_type.dat).
_OIDS: dict[type[Packed], tuple[int, int]] = {
    Int4s: (1007, 23),
    Uuids: (2951, 2950),
    Instants: (1185, 1184),
    Dates: (1182, 1082),
    Numerics: (1231, 1700),
}
_ALONE: dict[type[Packed], type[Alone]] = {Int4s: Int4, Uuids: AUuid, Dates: ADate}


def _dumper(type_oid: int) -> type[Dumper]:
    class _Ready(Dumper):
        """The bytes are in binary form already."""

        format = Format.BINARY
        oid = type_oid

        def dump(self, obj: Any) -> Buffer | None:
            return bytes(obj)

    return _Ready


_DUMPERS: dict[type[Packed], type[Dumper]] = {
    **{kind: _dumper(array_oid) for kind, (array_oid, _) in _OIDS.items()},
    **{alone: _dumper(_OIDS[kind][1]) for kind, alone in _ALONE.items()},
}
_taught: WeakSet[psycopg.Connection[Any]] = WeakSet()


def teach(connection: psycopg.Connection[Any]) -> None:
    """Let a connection send what is ready in binary form."""
    if connection not in _taught:
        for kind, dumper in _DUMPERS.items():
            connection.adapters.register_dumper(kind, dumper)
        _taught.add(connection)


def array(kind: type[Packed], elements: Sequence[bytes], width: int) -> Packed:
    """Return elements of `width` bytes each as an array."""
    length = width.to_bytes(4, "big")
    head = struct.pack(">IIIII", 1, 0, _OIDS[kind][1], len(elements), 1)
    return kind(head + length + length.join(elements)) if elements else kind(_empty(kind))


PLACEHOLDERS = ("%b", "unnest(%b)")


def column(kind: type[Packed], elements: Sequence[bytes], width: int) -> Packed:
    """Return a column's elements: one value where all rows have the same, else an array."""
    if elements.count(elements[0]) == len(elements):
        return _ALONE[kind](elements[0])
    return array(kind, elements, width)


def placeholder(packed: Packed) -> str:
    """Return what stands for a column in the select list of a statement."""
    return PLACEHOLDERS[not isinstance(packed, Alone)]


def _empty(kind: type[Packed]) -> bytes:
    return struct.pack(">III", 0, 0, _OIDS[kind][1])


def numerics(elements: Sequence[bytes]) -> Packed:
    """Return elements that carry their own length as an array."""
    if not elements:
        return Numerics(_empty(Numerics))
    return Numerics(
        struct.pack(">IIIII", 1, 0, _OIDS[Numerics][1], len(elements), 1) + b"".join(elements)
    )


# COPY in binary form: a header, rows of a number of fields and each field's length, an end.
_COPY_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_LENGTH_2, _LENGTH_4, _LENGTH_8, _LENGTH_16 = (size.to_bytes(4, "big") for size in (2, 4, 8, 16))

COPY_KEYS = (
    "COPY event_keys (source_id, event_key, fingerprint, occurred_at) FROM STDIN (FORMAT BINARY)"
)
COPY_EVENTS = """
COPY usage_events (source_id, kind, received_at, batch_id, detail, event_id, meter_id,
    dimension_set_id, period_month, subject_id, event_key, occurred_at, quantity)
FROM STDIN (FORMAT BINARY)
"""


def copied_keys(lot: Lot, places: Sequence[int]) -> bytes:
    """Return the keys at these positions, in their order, for `COPY_KEYS`."""
    head = b"\x00\x04" + _LENGTH_4 + lot.source_id.to_bytes(4, "big") + _LENGTH_16
    return _copied(
        repeat_always(head),
        [lot.keys[place] for place in places],
        repeat_always(_LENGTH_16),
        [lot.fingerprints[place] for place in places],
        repeat_always(_LENGTH_8),
        [lot.occurred[place] for place in places],
    )


def copied_events(lot: Lot, positions: Collection[int] | None, batch: UUID, now: datetime) -> bytes:
    """Return the rows of the events at these positions (None: all) for `COPY_EVENTS`."""
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
            *(_LENGTH_16, batch.bytes),
        )
    )
    return _copied(
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
    )


def _copied(*columns: Iterable[bytes]) -> bytes:
    return b"".join((_COPY_HEAD, *chain.from_iterable(zip(*columns, strict=False)), _COPY_END))


def _extras(lot: Lot, picked: Sequence[int], places: Sequence[int]) -> Iterable[bytes]:
    """Return the fields `detail` and `event_id` of each row; most rows have neither."""
    details, texts = lot.rows.detail, lot.texts
    if not details and not texts:
        return repeat_always(_NULL + _NULL)
    return [
        _field(b"\x01" + msgspec.json.encode(details[row]) if row in details else None)
        + _field(texts[place].encode() if place in texts else None)
        for row, place in zip(picked, places, strict=True)
    ]


def _field(content: bytes | None) -> bytes:
    return _NULL if content is None else len(content).to_bytes(4, "big") + content


def _packed_instant(instant: datetime) -> bytes:
    return microseconds_of(instant).to_bytes(8, "big", signed=True)
