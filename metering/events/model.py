"""What became of each event: fates, receipts and identity. Pure.

The identity of an event is the pair (source, id), for ever. An id that is a
canonical lower-case UUID, version 8 excepted, is its own key; any other text
is hashed to a UUID version 8, so the two can never meet.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

DUPLICATE: Final = "duplicate"
CONFLICT: Final = "conflict"
REJECTED: Final = "rejected"
FateName = Literal["duplicate", "conflict", "rejected"]

USAGE, WITHDRAWAL = 0, 1
"""The `kind` of a stored event."""

UNCOUNTED_METER = 0
"""The `meter_id` under which an event is kept that no meter counts."""

ID_LENGTH_MAX = 256


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one event that was not simply accepted.

    Attributes:
        index: its place in the request, from 0.
        event_id: its id, where it had one that could be read.
        fate: `duplicate`, `conflict` or `rejected`.
        pointer: JSON pointer to the fault within the request's body.
        code: stable kebab-case reason.
        detail: one sentence for a person.
    """

    index: int
    event_id: str | None
    fate: FateName
    pointer: str
    code: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the member of a receipt's `events`."""
        return {
            "index": self.index,
            "id": self.event_id,
            "fate": self.fate,
            "pointer": self.pointer,
            "code": self.code,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to one request: how many events, and each that was not simply accepted."""

    received: int
    fates: Sequence[Fate] = field(default=())

    def count(self, fate: FateName) -> int:
        """Return how many events had that fate."""
        return sum(1 for listed in self.fates if listed.fate == fate)

    @property
    def accepted(self) -> int:
        """How many events were accepted now."""
        return self.received - len(self.fates)

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as it is sent."""
        return {
            "received": self.received,
            "accepted": self.accepted,
            "duplicate": self.count("duplicate"),
            "conflict": self.count("conflict"),
            "rejected": self.count("rejected"),
            "events": [listed.to_json() for listed in self.fates],
        }


def key_of(event_id: str) -> tuple[bytes, str | None]:
    """Return the 16 bytes that stand for an id, and its text where the bytes do not tell it.

    >>> key_of("018f5a2e-6b7c-7def-8123-456789abcdef")[1] is None
    True
    >>> key_of("order 66")[0].hex()[12]
    '8'
    """
    if len(event_id) == 36 and event_id[8:24:5] == "----" and event_id[14] != "8":
        # Faster than a regular expression: hexadecimal read and written again is the same.
        digits = event_id.replace("-", "")
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            key = b""
        if len(digits) == 32 and key.hex() == digits:
            return key, None
    return hashed_uuid(event_id.encode()), event_id


def keys_of(ids: Sequence[str]) -> tuple[list[bytes], list[str | None] | None]:
    """Return what `key_of` says of each: the keys, and the texts where there is one.

    All at once where all are canonical UUIDs, as they mostly are.
    """
    if set(map(len, ids)) == {36}:
        count, joined = len(ids), "".join(ids)
        dashes = "-" * count
        if all(joined[at::36] == dashes for at in (8, 13, 18, 23)) and "8" not in joined[14::36]:
            digits = joined.replace("-", "")
            try:
                keys = bytes.fromhex(digits)
            except ValueError:
                keys = b""
            if len(keys) == 16 * count and keys.hex() == digits:
                return [keys[at : at + 16] for at in range(0, 16 * count, 16)], None
    pairs = [key_of(event_id) for event_id in ids]
    return [key for key, _ in pairs], [text for _, text in pairs]


def hashed_uuid(content: bytes) -> bytes:
    """Return SHA-256 of `content` as the 16 bytes of a UUID version 8 (RFC 9562, 5.8)."""
    digest = bytearray(hashlib.sha256(content).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)
