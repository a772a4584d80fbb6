"""Lists that fit in memory: put in order, paged, and given as a file, by one description."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from flask import Response, abort, request

from billing.listing import (
    NOTHING_FOUND,
    Asked,
    Cell,
    Column,
    Direction,
    Listing,
    Value,
    holding,
    in_order,
    linked,
    read_asked,
    said,
    slug,
)
from billing.money import show_pounds
from billing.sheets import csv_response, sheet_response

__all__ = ["PAGE_SIZE", "Field", "Sheet", "csv_response", "pounds_field"]

T = TypeVar("T")

PAGE_SIZE = 50


@dataclass(frozen=True)
class Field(Generic[T]):
    """One column: what it is called, what it holds and how it is shown.

    Attributes:
        value: for the order and the file.
        cell: for the page; the value as text where there is none.
        key: what `sort` says in the address; the label's words where it is not said.
        on_page, in_file: where the column stands. What is not in the file is an act, and in no
            order.
    """

    label: str
    value: Callable[[T], Value]
    cell: Callable[[T], Cell] | None = None
    key: str | None = None
    numeric: bool = False
    on_page: bool = True
    in_file: bool = True

    def shown(self, item: T) -> Cell:
        """Return the cell of the page."""
        if self.cell is not None:
            return self.cell(item)
        value = self.value(item)
        return Cell("" if value is None else str(value))


def pounds_field(label: str, of: Callable[[T], Decimal], *, key: str) -> Field[T]:
    """Return the column of an amount: pounds and pence on the page, the number in the file."""
    return Field(
        label,
        of,
        lambda item: Cell(show_pounds(of(item)), nowrap=True),
        key=key,
        numeric=True,
    )


@dataclass(frozen=True)
class Sheet(Generic[T]):
    """A list of one kind of thing.

    Attributes:
        name: of the file, and what `download` says in the address.
        sort: the usual order, a field's key; None keeps the order of the rows.
        empty: what to say, and what to do, when there is nothing.
        beside: another list stands on the page.
        fixed: its order is part of what it says, for example a total at its end.
        findable: words can be looked for; not where the page's own filters do that.
    """

    name: str
    caption: str
    fields: tuple[Field[T], ...]
    sort: str | None = None
    direction: Direction = "ascending"
    empty: str = "There is nothing to show."
    caption_hidden: bool = True
    page_size: int = PAGE_SIZE
    beside: bool = False
    findable: bool = True
    fixed: bool = False

    @property
    def wanted(self) -> bool:
        """Whether the address asks for the file."""
        return request.args.get("download") == self.name

    def window(self, total: int) -> tuple[int, int]:
        """Return the limit and offset of the page that the address asks for, of so many rows."""
        return self.page_size, (self._page_in_sql(total) - 1) * self.page_size

    def _page_in_sql(self, total: int) -> int:
        return min(self._asked_in_sql.page, max(1, -(-total // self.page_size)))

    @property
    def words(self) -> str:
        """What the address looks for in the list."""
        return request.args.get(f"{self._prefix}find", "").strip()[:100]

    @property
    def asked_order(self) -> tuple[str, Direction]:
        """The order that the address asks for, or the usual one."""
        asked = self._asked_in_sql
        return asked.sort, asked.direction

    @property
    def _asked_in_sql(self) -> Asked:
        """What is asked of a list whose pages come from the database: it knows named keys."""
        return read_asked(
            request.args,
            keys=[field.key for field in self.fields if field.key is not None],
            sort=self.sort or "",
            direction=self.direction,
            prefix=self._prefix,
        )

    @property
    def _keyed(self) -> tuple[tuple[str, Field[T]], ...]:
        """The fields by which the list can be put in order: all that are no act."""
        return tuple(
            (each.key or slug(each.label), each)
            for each in self.fields
            if not self.fixed and (each.key or each.in_file)
        )

    @property
    def _prefix(self) -> str:
        return f"{self.name}-" if self.beside else ""

    def _ordered(self, rows: Sequence[T]) -> tuple[Sequence[T], Asked, str]:
        # Where two fields share a name, the first is the one on the page.
        keyed = dict(reversed(self._keyed))
        asked = read_asked(
            request.args,
            keys=keyed.keys(),
            sort=self.sort or "",
            direction=self.direction,
            prefix=self._prefix,
        )
        words = self.words
        if words and self.findable:
            rows = holding(rows, words=words, texts=self._texts)
        by = keyed.get(asked.sort)
        if by is not None:
            rows = in_order(rows, value=by.value, direction=asked.direction)
        return rows, asked, words

    def _texts(self, row: T) -> list[str]:
        return [said(field.shown(row)) for field in self.fields if field.in_file or field.key]

    def listing(
        self,
        rows: Sequence[T],
        *,
        query: Mapping[str, str] | None = None,
        empty: str | None = None,
        total: int | None = None,
        findable: bool = False,
    ) -> Listing:
        """Return the list as the address in hand asks for it; where it asks for the file, send it.

        Args:
            query: the filters in force.
            empty: what to say instead when filters leave nothing.
            total: rows on all pages; then `rows` are of the page in hand alone, in order.
            findable: then, whether words can be looked for; the rows hold them.
        """
        if self.wanted and total is None:
            abort(self.file(rows))
        if total is None:
            ordered, asked, found_words = self._ordered(rows)
            words: str | None = found_words
            page = min(asked.page, max(1, -(-len(ordered) // self.page_size)))
            cut = ordered[(page - 1) * self.page_size : page * self.page_size]
            keys = {id(field): key for key, field in self._keyed}
        else:
            asked, cut, words = self._asked_in_sql, rows, self.words if findable else None
            page = self._page_in_sql(total)
            keys = {id(field): field.key for field in self.fields if field.key}
        fields = [field for field in self.fields if field.on_page]
        kept = {name: text for name, text in (query or {}).items() if text}
        found = Listing(
            caption=self.caption,
            caption_hidden=self.caption_hidden,
            columns=tuple(
                Column(
                    field.label,
                    keys.get(id(field)),
                    field.numeric,
                    acts=not field.in_file and not field.key,
                )
                for field in fields
            ),
            rows=tuple(tuple(field.shown(row) for field in fields) for row in cut),
            path=request.path,
            query=kept,
            sort=asked.sort or None,
            direction=asked.direction,
            page=page,
            page_size=self.page_size,
            total=len(ordered) if total is None else total,
            empty=NOTHING_FOUND if words else empty if kept and empty is not None else self.empty,
            name=self.name,
            beside=self.beside,
            words=words if self.findable else None,
        )
        return linked(found, request.args)

    def file(self, rows: Sequence[T]) -> Response:
        """Return all rows as a CSV file, in the order that the address asks for."""
        return self.file_in_order(self._ordered(rows)[0])

    def file_in_order(self, rows: Iterable[T]) -> Response:
        """Return rows as a CSV file, in the order in which they come; they are read one by one."""
        fields = [field for field in self.fields if field.in_file]
        return sheet_response(
            self.name,
            [field.label for field in fields],
            ([field.value(row) for field in fields] for row in rows),
        )
