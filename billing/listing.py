"""A list on a page: columns, rows, order, filters and paging, as one frozen model.

Pure: the macro `ui.listing` draws it, and every change of order or page is a
plain link, so that lists work without JavaScript and can be bookmarked.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

Direction = Literal["ascending", "descending"]

# Pages of a list that are shown around the present one.
_AROUND = 1


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        label: heading, in sentence case.
        key: what `sort` says in the address; None when the list cannot be sorted by it.
        numeric: right-aligned, in figures of one width.
    """

    label: str
    key: str | None = None
    numeric: bool = False


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
    """

    text: str
    href: str | None = None
    colour: str | None = None
    hidden: str | None = None
    nowrap: bool = False


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
) -> Asked:
    """Read `sort`, `direction` and `page` of an address; what makes no sense is the usual.

    Args:
        query: the address's query.
        keys: columns by which the list can be sorted.
        sort, direction: the list's usual order.
    """
    asked_sort, turned = query.get("sort", ""), query.get("direction")
    number = query.get("page", "1")
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

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")

    def _href(self, **changes: str | None) -> str:
        query = {
            **self.query,
            "sort": self.sort,
            "direction": None if self.sort is None else self.direction,
            **changes,
        }
        kept = {name: value for name, value in query.items() if value}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

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
