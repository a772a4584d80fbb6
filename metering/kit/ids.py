"""Identifiers, made here and never by the database.

`new_id` gives what people and URLs see: a prefix and 26 sortable characters
(Crockford base 32 of 48 bits of milliseconds and 80 random bits, as in ULID).
`uuid7` gives RFC 9562 version 7 identifiers, whose order in time keeps
B-tree inserts at the right-hand edge.
"""

import secrets
from datetime import datetime
from uuid import UUID

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26


def _milliseconds(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def new_id(prefix: str, *, now: datetime) -> str:
    """Return a new id such as `inv_01J8ZQ...`, sortable by `now`.

    Args:
        prefix: two to five lower-case letters that name the kind of thing.
        now: aware instant of making.
    """
    number = (_milliseconds(now) << 80) | secrets.randbits(80)
    characters = []
    for _ in range(_LENGTH):
        characters.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(characters))}"


def uuid7(*, now: datetime) -> UUID:
    """Return a new UUID version 7 (RFC 9562, 5.7) for the instant `now`."""
    value = _milliseconds(now) << 80 | secrets.randbits(80)
    value &= ~(0xF << 76)
    value |= 0x7 << 76
    value &= ~(0x3 << 62)
    value |= 0x2 << 62
    return UUID(int=value)
