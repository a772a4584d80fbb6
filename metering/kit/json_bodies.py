"""JSON that a request sends, read so that nothing of it is guessed. Pure."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from metering.kit.errors import Malformed

_NULL = "\x00"


def read_json(body: bytes | str) -> Any:
    """Return what a JSON text says.

    Raises:
        Malformed: it is no JSON (NaN is none), not UTF-8, nests too deep, has a number that no
            float holds, an object that names a member twice, or a text with a null character,
            which the database cannot keep.
    """
    try:
        # Each of the two is stricter than the other in something.
        msgspec.json.decode(body)
        text = body.decode() if isinstance(body, bytes) else body
        read = json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
    except RecursionError:
        raise Malformed("The body nests too deep.") from None
    except UnicodeError:
        raise Malformed("The body is not UTF-8.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(f"The body is not JSON: {str(error)[:200]}.") from None
    if "\\u0000" in text and any(_NULL in found for found in _texts(read)):
        raise Malformed("A text in the body holds a null character.")
    return read


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise Malformed("An object in the body names a member twice; which one counts?")
    return read


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _texts(read: Any) -> Iterator[str]:
    """Yield every text of a JSON value, names too; none is deeper than Python recurses."""
    left = [read]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += value
            left += value.values()
