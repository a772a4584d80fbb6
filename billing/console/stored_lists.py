"""Lists that stay in the database: a page of them is read, or all of them into a file.

What grows with the nation and the years, for example bank lines, is never read whole for a
page. Its file has every row: they are read in pieces, in the order that the address asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from flask import abort
from sqlalchemy import Select, SQLColumnExpression, func, or_
from sqlalchemy.orm import Session

from billing.console.lists import Sheet
from billing.listing import Listing

T = TypeVar("T")

TOGETHER = 1_000
"""Rows that are read at once for a file."""


@dataclass(frozen=True)
class Stored(Generic[T]):
    """The rows of a list, as a statement that is not in order yet.

    Attributes:
        usual: the order where the address asks for none, and among rows that are equal; no two
            rows are equal in all of it.
        orders: what a field's key puts in order.
        found_in: texts in which words are looked for; empty where the page's own filters do that.
        read: makes what the sheet lists of a row of the statement.
    """

    statement: Select[*tuple[Any, ...]]
    usual: Sequence[SQLColumnExpression[Any]]
    read: Callable[[Any], T]
    orders: Mapping[str, SQLColumnExpression[Any]] = field(default_factory=dict)
    found_in: Sequence[SQLColumnExpression[Any]] = ()

    def holding(self, words: str) -> Select[*tuple[Any, ...]]:
        """Return the rows whose texts hold all of the words, in any order and case."""
        if not self.found_in:
            return self.statement
        return self.statement.where(
            *(
                or_(*(text.icontains(word, autoescape=True) for text in self.found_in))
                for word in words.split()
            )
        )


def stored_listing(
    session: Session,
    sheet: Sheet[T],
    stored: Stored[T],
    *,
    query: Mapping[str, str] | None = None,
    empty: str | None = None,
) -> Listing:
    """Return the page of a list that the address asks for; where it asks for the file, send it.

    Args:
        query: the filters in force.
        empty: what to say instead when filters leave nothing.
    """
    wanted = stored.holding(sheet.words if stored.found_in else "")
    sort, direction = sheet.asked_order
    by = stored.orders.get(sort)
    first = () if by is None else (by.desc() if direction == "descending" else by.asc(),)
    ordered = wanted.order_by(*(each.nulls_last() for each in first), *stored.usual)
    if sheet.wanted:
        rows = session.execute(ordered.execution_options(yield_per=TOGETHER))
        abort(sheet.file_in_order(map(stored.read, rows)))
    total = session.scalar(wanted.with_only_columns(func.count(), maintain_column_froms=True)) or 0
    limit, offset = sheet.window(total)
    rows = session.execute(ordered.limit(limit).offset(offset))
    return sheet.listing(
        [stored.read(row) for row in rows],
        query=query,
        total=total,
        empty=empty,
        findable=bool(stored.found_in),
    )
