"""Places in a list: opaque texts by which a reader continues after the last row it saw."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from metering.kit.errors import Malformed
from metering.kit.json_bodies import read_json

PAGE_DEFAULT = 100
PAGE_MAX = 1_000


class CursorUnreadable(Malformed):
    """The `after` of a list was not given by that list."""

    code = "cursor-unreadable"
    title = "The place in the list could not be read"


def write_cursor(place: Sequence[Any]) -> str:
    """Return a row's place as an opaque text; its parts are written by `str`."""
    text = json.dumps([str(part) for part in place], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str | None, *parts: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """Return the place that a text says, each part read by its function; None for None.

    Raises:
        CursorUnreadable: this list did not give it.
    """
    if text is None:
        return None
    try:
        written = read_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return tuple(read(part) for read, part in zip(parts, written, strict=True))
    except (ValueError, TypeError, OverflowError, Malformed):
        raise CursorUnreadable("Send the 'next' of an earlier answer as 'after'.") from None


def different(session: Session, column: InstrumentedAttribute[str]) -> list[str]:
    """Return the different values of a column that begins an index, in order.

    One look into the index for each value: a DISTINCT would read every row. Of local and
    reference tables alone, since a cluster has no recursion over distributed ones.
    """
    values = select(func.min(column).label("value")).cte("different", recursive=True)
    following = (
        select(func.min(column)).where(column > values.c.value).correlate(values).scalar_subquery()
    )
    values = values.union_all(select(following).where(values.c.value.is_not(None)))
    found = session.scalars(select(values.c.value).where(values.c.value.is_not(None)))
    return sorted(found)
