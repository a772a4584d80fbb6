"""Judge a batch in which nothing is out of the ordinary, a column at a time. Pure.

It says what the loop in `judging` would say of every event, and says it sooner, since the
interpreter runs whole columns at once. Where anything is unusual it leaves the batch to
the loop.
"""

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC
from hashlib import blake2b
from itertools import repeat
from operator import attrgetter, itemgetter, sub
from typing import Any

from metering.events.catalogue import EventType, Shape, Subject
from metering.events.decoding import Envelope, Item
from metering.events.lots import Lot
from metering.events.model import keys_of
from metering.events.quantities import (
    ONE_PACKED,
    QuantityRefused,
    quantity_text_and_packed,
    remembered,
)
from metering.events.rules import PG_EPOCH, Window

USUAL_MIN = 32
"""Below so many events there is nothing to gain."""

_columns_of = attrgetter(
    *("specversion", "id", "source", "type", "subject", "time", "data", "replaces", "withdraws")
)
_timezone_of = attrgetter("tzinfo")


def take_usual(
    items: Sequence[Item],
    lot: Lot,
    *,
    code: str,
    subjects: Mapping[str, Subject],
    types: Mapping[str, EventType],
    window: Window,
) -> bool:
    """Add all events of a request to its lot, or none.

    All must be new usage of one type that measures one number, of known organisations
    without dates, in one month, with different UUIDs for ids and dimensions met before.

    Args:
        code: the source that the key belongs to.
        types: event types of that source.

    Returns:
        Whether they were added; if not, the lot is as it was.
    """
    if len(items) < USUAL_MIN or set(map(type, items)) != {Envelope}:
        return False
    specversions, ids, sources, kinds, codes, times, members, replaces, withdraws = zip(
        *map(_columns_of, items), strict=True
    )
    kind = types.get(kinds[0])
    if (
        kind is None
        or kind.only_number is None
        or set(specversions) != {"1.0"}
        or set(sources) != {code}
        or len(set(kinds)) != 1
        or set(replaces) != {None}
        or set(withdraws) != {None}
        or set(map(_timezone_of, times)) != {UTC}
    ):
        return False
    keys, texts = keys_of(ids)
    if texts is not None or len(set(keys)) != len(keys):
        return False
    packed = _subjects(codes, subjects)
    shapes = _shapes(members, kind, kind.only_number)
    quantities = _quantities(list(map(itemgetter(kind.only_number), members))) if shapes else None
    if packed is None or shapes is None or quantities is None:
        return False
    microseconds = [
        (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        for since in map(sub, times, repeat(PG_EPOCH))
    ]
    first, last = min(microseconds), max(microseconds)
    place = bisect_right(window.starts, first) - 1
    if place < 0 or last > window.newest_microseconds:
        return False
    if place + 1 < len(window.starts) and last >= window.starts[place + 1]:
        return False
    name = kinds[0]
    lot.fingerprints += [
        blake2b(
            f"{name}\x1f{subject}\x1f{at}\x1f{figures}\x1f{shape.canonical}\x1f".encode(),
            digest_size=16,
        ).digest()
        for subject, at, (figures, _), shape in zip(
            codes, microseconds, quantities, shapes, strict=True
        )
    ]
    lot.keys += keys
    count = len(microseconds)
    lot.occurred += struct.unpack("8s" * count, struct.pack(f">{count}q", *microseconds))
    lot.indexes += range(len(items))
    lot.places.add(place)
    rows = lot.rows
    rows.position += range(len(items))
    rows.month += [window.packed[place]] * len(items)
    rows.subject += packed
    rows.feed += [shape.feeds[0] for shape in shapes]
    rows.quantity += [
        ONE_PACKED if shape.feeds[0].measured is None else quantity
        for shape, (_, quantity) in zip(shapes, quantities, strict=True)
    ]
    return True


def _subjects(codes: Sequence[str], subjects: Mapping[str, Subject]) -> list[bytes] | None:
    """Return the organisations' packed numbers; None where one is unknown or has dates."""
    packed: dict[str, bytes] = {}
    for code in set(codes):
        subject = subjects.get(code)
        if subject is None or subject.opened_at is not None or subject.closed_at is not None:
            return None
        packed[code] = subject.packed
    return list(map(packed.__getitem__, codes))


def _shapes(members: Sequence[dict[str, Any]], kind: EventType, number: str) -> list[Shape] | None:
    """Return the shape of each event's dimensions; None where one is new or not plain."""
    names = tuple(members[0])
    if number not in names or set(map(tuple, members)) != {names}:
        return None
    others = [name for name in names if name != number]
    values: Sequence[Any] = [()] * len(members)
    if others:
        values = list(map(itemgetter(*others), members))
    known: dict[Any, Shape] = {}
    try:
        for value in set(values):
            listed = value if len(others) != 1 else (value,)
            shape = kind.shapes.get(tuple(zip(others, listed, strict=True)))
            if shape is None or shape.only is None:
                return None
            known[value] = shape
    except TypeError:  # a value that is no text
        return None
    return list(map(known.__getitem__, values))


def _quantities(sent: Sequence[Any]) -> list[tuple[str, bytes]] | None:
    """Return each quantity's canonical text and binary form; None where one is none."""
    if set(map(type, sent)) != {str}:
        return None
    found = list(map(remembered.get, sent))
    if None not in found:
        return found  # type: ignore[return-value]  # the line above says so
    try:
        return list(map(quantity_text_and_packed, sent))
    except QuantityRefused:
        return None
