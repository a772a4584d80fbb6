"""The judged events of one request, and what became of those that were not accepted. Pure.

Columns are already in PostgreSQL's binary form, since they are filled for every event there is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from metering.events.catalogue import EventType, Feed, Shape, packed_int4
from metering.events.decoding import Envelope, Unreadable
from metering.events.model import (
    CONFLICT,
    DUPLICATE,
    ID_LENGTH_MAX,
    UNCOUNTED_METER,
    Fate,
    FateName,
    Receipt,
    hashed_uuid,
)
from metering.events.quantities import ONE_PACKED, is_quantity
from metering.kit.nhs_number import mask_nhs_numbers


@dataclass(slots=True)
class Refused:
    """An event to be kept in quarantine; its body already has no patient's number in it."""

    fate: Fate
    body: dict[str, Any]

    def kept_as(self, source_id: int) -> UUID:
        """Return the id under which it is kept: the same for the same event and reason."""
        content = [source_id, self.fate.fate, self.fate.code, self.body]
        return UUID(bytes=hashed_uuid(msgspec.json.encode(content)))


@dataclass(slots=True)
class Special:
    """A withdrawal, or a usage event that replaces another: rare, and stored one by one.

    Attributes:
        target: 16 bytes of the event that is withdrawn; `target_id` as it was named.
        rows: rows of the new usage, for a replacement; positions are not used.
    """

    index: int
    event_id: str
    key: bytes
    key_text: str | None
    fingerprint: bytes
    occurred: bytes
    subject: bytes
    subject_code: str
    target: bytes
    target_id: str
    reason: str
    pointer: str
    rows: "Rows"


@dataclass(slots=True)
class Rows:
    """Columns of `usage_events` to come; `position` points into the lot's keys."""

    position: list[int] = field(default_factory=list)
    month: list[bytes] = field(default_factory=list)
    subject: list[bytes] = field(default_factory=list)
    feed: list[Feed] = field(default_factory=list)
    quantity: list[bytes] = field(default_factory=list)
    detail: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By row number: what the columns do not hold."""


@dataclass(slots=True)
class Lot:
    """The judged events of one request.

    The parallel lists `keys`, `fingerprints`, `occurred` and `indexes` have one entry for
    each event that may be accepted; a place in them is its position.
    """

    source_id: int
    key_id: str
    version: int
    received: int
    single: bool
    oldest: datetime
    keys: list[bytes] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    """By position: ids that their keys do not tell."""
    fingerprints: list[bytes] = field(default_factory=list)
    occurred: list[bytes] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    places: set[int] = field(default_factory=set)
    """Of the months of the window that its events lie in."""
    specials: list[Special] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    envelopes: Sequence[Any] = ()
    types: Mapping[str, EventType] = field(default_factory=dict)
    """The source's event types."""
    judged: tuple[int, int] = (0, 0)

    def repeated(self, position: int, *, same: bool) -> None:
        """Note the fate of an event that was there before."""
        index = self.indexes[position]
        repeat(self, index, self.envelopes[index].id, same=same)

    def rewind(self) -> None:
        """Forget what an attempt to store said, so that storing can be tried again."""
        del self.fates[self.judged[0] :]
        del self.refused[self.judged[1] :]

    def receipt(self) -> Receipt:
        """Return the answer to the request, once it is stored."""
        return Receipt(self.received, sorted(self.fates, key=lambda fate: fate.index))

    def pointer(self, index: int, within: str) -> str:
        """Return a pointer within an event as one within the request's body."""
        return within if self.single else f"/{index}{within}"


def refuse(
    lot: Lot,
    index: int,
    event_id: str | None,
    fate: FateName,
    pointer: str,
    code: str,
    detail: str,
) -> None:
    """Note that an event is refused or conflicts, and keep what was sent, masked."""
    found = Fate(
        index,
        None if event_id is None else _clean_text(event_id[:ID_LENGTH_MAX]),
        fate,
        _clean_text(lot.pointer(index, pointer)),
        code,
        _clean_text(detail),
    )
    lot.fates.append(found)
    sent = lot.envelopes[index]
    kind = lot.types.get(sent.type) if isinstance(sent, Envelope) else None
    lot.refused.append(Refused(found, body_of(sent, numbers=kind.numbers if kind else ())))


def repeat(lot: Lot, index: int, event_id: str, *, same: bool) -> None:
    """Note the fate of an event whose id was there before."""
    if same:
        lot.fates.append(
            Fate(
                index,
                event_id,
                DUPLICATE,
                lot.pointer(index, ""),
                "duplicate",
                "This event was accepted before; it counts once.",
            )
        )
    else:
        refuse(
            lot,
            index,
            event_id,
            CONFLICT,
            "/id",
            "id-reused",
            "An event with this id and other content was accepted before, and stands.",
        )


def add_rows(
    rows: Rows,
    position: int,
    month: bytes,
    subject: bytes,
    shape: Shape,
    measured: Sequence[tuple[str, bytes]],
    event: Envelope,
) -> None:
    """Add one row for each meter that the event feeds."""
    for feed in shape.feeds:
        if feed.unique:
            assert feed.measured is not None
            rows.detail[len(rows.position)] = {"value": measured[feed.measured][0]}
        elif feed.meter == _UNCOUNTED:
            rows.detail[len(rows.position)] = body_of(event)
        rows.position.append(position)
        rows.month.append(month)
        rows.subject.append(subject)
        rows.feed.append(feed)
        rows.quantity.append(
            ONE_PACKED if feed.measured is None or feed.unique else measured[feed.measured][1]
        )


_UNCOUNTED = packed_int4(UNCOUNTED_METER)
_BODY_CHARACTERS_MAX = 65_536


def body_of(item: Any, *, numbers: Collection[str] = ()) -> dict[str, Any]:
    """Return an event as it is kept: JSON-ready, patients' numbers masked, bounded.

    Decimals become texts, so that nothing is rounded; a value that the database's
    JSON cannot hold (a null character) is replaced.

    Args:
        numbers: members of an envelope's data that are measured as numbers. A quantity there
            is kept as it is: one number in eleven of ten digits passes for a patient's.
    """
    sent = item.body if isinstance(item, Unreadable) else item
    quantities: dict[str, str] = {}
    if isinstance(sent, Envelope):
        quantities = {
            name: str(sent.data[name])
            for name in numbers
            if name in sent.data and is_quantity(sent.data[name])
        }
        sent = {
            name: value for name, value in msgspec.to_builtins(sent).items() if value is not None
        }
    kept = _clean(sent)
    if quantities:
        kept["data"] |= quantities
    if len(msgspec.json.encode(kept)) > _BODY_CHARACTERS_MAX:
        shown = msgspec.json.encode(kept)[:4096].decode(errors="replace")
        return {"shortened": mask_nhs_numbers(shown)}
    return kept if isinstance(kept, dict) else {"value": kept}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean_text(str(name)): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return _clean_text(str(value))


def _clean_text(text: str) -> str:
    readable = text.replace("\x00", "�").encode("utf-8", errors="replace").decode()
    return mask_nhs_numbers(readable)
