"""A list on a page: columns, rows, order, filters and paging, as one frozen model.

Pure: the macro `ui.listing` draws it, and every change of order or page is a
plain link, so that lists work without JavaScript and can be bookmarked.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from billing.money import show_pounds
from metering.periods import london_day, show_date

Direction = Literal["ascending", "descending"]
Value = str | Decimal | int | date | datetime | None
T = TypeVar("T")

# Pages of a list that are shown around the present one.
_AROUND = 1
# A shorter list is read faster than it is searched.
FIND_FROM = 10
NOTHING_FOUND = "Nothing in this list holds these words. Look for others, or clear them."
_NOT_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        label: heading, in sentence case.
        key: what `sort` says in the address; None when the list cannot be sorted by it.
        numeric: right-aligned, in figures of one width.
        acts: it holds what can be done, so it is neither in an order nor in the file.
    """

    label: str
    key: str | None = None
    numeric: bool = False
    acts: bool = False


@dataclass(frozen=True)
class Act:
    """Something that can be done about a row.

    Attributes:
        hidden: further words that only a screen reader says: about what it is done.
        fields: what is sent with it; None is a plain link.
    """

    text: str
    href: str
    hidden: str = ""
    fields: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Cell:
    """One value as shown.

    Attributes:
        text: already formatted.
        href: where a click leads.
        colour: shows the text as a tag: grey, green, aqua-green, blue, purple, pink,
            red, orange, yellow or white.
        hidden: further words that only a screen reader says, for example which invoice
            "View" views.
        nowrap: stays on one line, for example an invoice number.
        value: what the order and the file take; the text where there is none.
        note: a quiet second line.
        acts: what can be done, in place of the text.
    """

    text: str
    href: str | None = None
    colour: str | None = None
    hidden: str | None = None
    nowrap: bool = False
    value: Value = None
    note: str = ""
    acts: tuple[Act, ...] = ()


def money_cell(amount: Decimal | None, *, none: str = "") -> Cell:
    """Return pounds and pence; `none` where there are none."""
    if amount is None:
        return Cell(none)
    return Cell(show_pounds(amount), nowrap=True, value=amount)


def day_cell(on: date | datetime | None, *, none: str = "–", href: str | None = None) -> Cell:
    """Return a London date; `none` where there is none."""
    if on is None:
        return Cell(none)
    day = london_day(on) if isinstance(on, datetime) else on
    return Cell(show_date(day), href=href, nowrap=True, value=on)


def count_cell(count: int) -> Cell:
    """Return a whole number."""
    return Cell(f"{count:,}", value=count)


@dataclass(frozen=True)
class Asked:
    """Order and page that an address asks for."""

    sort: str
    direction: Direction
    page: int


def read_asked(
    query: Mapping[str, str],
    *,
    keys: Collection[str],
    sort: str,
    direction: Direction = "ascending",
    prefix: str = "",
) -> Asked:
    """Read `sort`, `direction` and `page` of an address; what makes no sense is the usual.

    Args:
        query: the address's query.
        keys: columns by which the list can be sorted.
        sort, direction: the list's usual order.
        prefix: before each name, where several lists share the address.
    """
    asked_sort, turned = query.get(f"{prefix}sort", ""), query.get(f"{prefix}direction")
    number = query.get(f"{prefix}page", "1")
    page = int(number) if number.isascii() and number.isdigit() and len(number) <= 6 else 1
    if asked_sort not in keys:
        return Asked(sort, direction, max(1, page))
    return Asked(asked_sort, "descending" if turned == "descending" else "ascending", max(1, page))


@dataclass(frozen=True)
class Step:
    """One entry of the pagination: a page, or a gap when `number` is None."""

    number: int | None
    href: str | None = None
    current: bool = False


@dataclass(frozen=True)
class Listing:
    """A list as one page shows it.

    Attributes:
        caption: what is listed; the table's caption.
        columns: from left to right.
        rows: as many cells as columns in each.
        path: the page's own path.
        query: filters in force, kept when order or page changes.
        sort: key of the column in force, None for the list's own order.
        direction: of `sort`.
        page: from 1.
        page_size: rows on a full page.
        total: rows on all pages.
        empty: what to say when there is nothing.
        caption_hidden: the caption repeats the heading above and is only for screen readers.
        name: what the address and the file call it; empty for a list that has neither.
        beside: another list stands on the page, so names in the address carry this one's.
        download: where the whole list is as a file.
        words: what is looked for in it; None where nothing can be.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    sort: str | None = None
    direction: Direction = "ascending"
    page: int = 1
    page_size: int = 50
    total: int | None = None
    empty: str = "There is nothing to show."
    caption_hidden: bool = False
    name: str = ""
    beside: bool = False
    download: str | None = None
    words: str | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")

    @property
    def prefix(self) -> str:
        """What stands before this list's names in the address."""
        return f"{self.name}-" if self.beside else ""

    @property
    def anchor(self) -> str:
        """Id of the table's caption."""
        return f"list-{self.name or slug(self.caption)}"

    def asked(self, **changes: str | None) -> dict[str, str]:
        """Return the address's query with what is asked of this list, changed."""
        own = {
            "sort": self.sort,
            "direction": None if self.sort is None else self.direction,
            "find": self.words,
            **changes,
        }
        query = {**self.query, **{f"{self.prefix}{name}": text for name, text in own.items()}}
        return {name: text for name, text in query.items() if text}

    def _href(self, **changes: str | None) -> str:
        kept = self.asked(**changes)
        # Beside others, a click must not lead away from the list that was clicked on.
        anchor = f"#{self.anchor}" if self.beside else ""
        return (f"{self.path}?{urlencode(kept)}" if kept else self.path) + anchor

    @property
    def findable(self) -> bool:
        """Whether the list is long enough to be searched."""
        total = len(self.rows) if self.total is None else self.total
        return self.words is not None and (bool(self.words) or total > FIND_FROM)

    @property
    def clear_href(self) -> str:
        """Return the link that looks for nothing any more."""
        return self._href(find=None)

    def order_of(self, column: Column) -> str:
        """Return `aria-sort` of a column."""
        return self.direction if column.key is not None and column.key == self.sort else "none"

    def sort_href(self, column: Column) -> str:
        """Return the link that sorts by `column`, or turns its order round."""
        turned = self.sort == column.key and self.direction == "ascending"
        return self._href(sort=column.key, direction="descending" if turned else "ascending")

    def page_href(self, number: int) -> str:
        """Return the link to a page."""
        return self._href(page=str(number) if number > 1 else None)

    @property
    def page_count(self) -> int:
        """Number of pages, at least 1."""
        total = len(self.rows) if self.total is None else self.total
        return max(1, -(-total // self.page_size))

    @property
    def shown(self) -> str:
        """Which rows this page has, for example `51 to 100 of 1,234`."""
        total = len(self.rows) if self.total is None else self.total
        first = (self.page - 1) * self.page_size + 1
        return f"{first:,} to {first + len(self.rows) - 1:,} of {total:,}"

    def steps(self) -> tuple[Step, ...]:
        """Return the pagination: first, last, the pages around this one, and gaps between."""
        last = self.page_count
        near = range(max(1, self.page - _AROUND), min(last, self.page + _AROUND) + 1)
        numbers = sorted({1, last, *near})
        steps: list[Step] = []
        previous = 0
        for number in numbers:
            if number - previous > 1:
                steps.append(Step(None))
            steps.append(Step(number, self.page_href(number), number == self.page))
            previous = number
        return tuple(steps)


def slug(text: str) -> str:
    """Return words as a name in an address: `Paid or credited` is `paid-or-credited`."""
    return _NOT_WORDS.sub("-", text.lower()).strip("-")


def in_order(rows: Iterable[T], *, value: Callable[[T], Value], direction: Direction) -> list[T]:
    """Return rows by a value of one kind; those that have none come last in either direction."""
    valued = [(value(row), row) for row in rows]
    known = [(_comparable(found), row) for found, row in valued if found is not None]
    known.sort(key=lambda pair: pair[0], reverse=direction == "descending")
    return [row for _, row in known] + [row for found, row in valued if found is None]


def _comparable(value: Value) -> tuple[bool, Any]:
    # Numbers before words, where a column has both.
    return (True, value.casefold()) if isinstance(value, str) else (False, value)


def holding(rows: Iterable[T], *, words: str, texts: Callable[[T], Iterable[str]]) -> list[T]:
    """Return the rows whose texts hold all of the words, in any order and case."""
    wanted = words.casefold().split()

    def fits(row: T) -> bool:
        text = " ".join(texts(row)).casefold()
        return all(word in text for word in wanted)

    return [row for row in rows if fits(row)]


def sorted_whole(whole: Listing, query: Mapping[str, str]) -> Listing:
    """Return all the rows of a list that an address asks for, in the order it asks for.

    Every column can be sorted by, but those that hold what can be done.
    """
    columns = tuple(
        column if column.key or column.acts else replace(column, key=slug(column.label))
        for column in whole.columns
    )
    asked = read_asked(
        query,
        keys=[column.key for column in columns if column.key],
        sort=whole.sort or "",
        direction=whole.direction,
        prefix=whole.prefix,
    )
    words = query.get(f"{whole.prefix}find", "").strip()[:100]
    places = [place for place, column in enumerate(columns) if not column.acts]
    rows: Sequence[tuple[Cell, ...]] = whole.rows
    if words:
        rows = holding(rows, words=words, texts=lambda row: [said(row[place]) for place in places])
    at = next((place for place in places if columns[place].key == asked.sort), None)
    if at is not None:
        has_values = any(row[at].value is not None for row in rows)
        rows = in_order(
            rows,
            value=lambda row: row[at].value if has_values else row[at].text or None,
            direction=asked.direction,
        )
    return replace(
        whole,
        columns=columns,
        rows=tuple(rows),
        sort=asked.sort or None,
        direction=asked.direction,
        page=asked.page,
        total=len(rows),
        words=words,
        empty=NOTHING_FOUND if words else whole.empty,
    )


def said(cell: Cell) -> str:
    """Return what a cell says to a reader."""
    return f"{cell.text} {cell.note}".strip()


def one_page(ordered: Listing, query: Mapping[str, str]) -> Listing:
    """Return the page of `sorted_whole` that an address asks for, with its links."""
    page = min(ordered.page, ordered.page_count)
    first = (page - 1) * ordered.page_size
    rows = ordered.rows[first : first + ordered.page_size]
    return linked(replace(ordered, rows=rows, page=page), query)


def linked(placed: Listing, query: Mapping[str, str]) -> Listing:
    """Return a page of a list with a link to its file, and links that keep the address's rest."""
    own = {f"{placed.prefix}{name}" for name in ("sort", "direction", "page", "find")}
    kept = {name: text for name, text in query.items() if name not in {*own, "download"}}
    found = replace(placed, query={**kept, **placed.query})
    file = urlencode({**found.asked(), "download": found.name})
    return replace(found, download=f"{found.path}?{file}" if found.rows else None)
