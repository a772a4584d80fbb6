"""Lists that fit in memory: put in order, paged, and given as a file, by one description."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Generic, TypeVar

from flask import Response, request

from billing.documents.sheet import Cell as SheetCell
from billing.documents.sheet import write_sheet
from billing.listing import Cell, Column, Direction, Listing, read_asked
from metering.periods import london

T = TypeVar("T")

Value = str | Decimal | int | date | datetime | None
PAGE_SIZE = 50


@dataclass(frozen=True)
class Field(Generic[T]):
    """One column: what it is called, what it holds and how it is shown.

    Attributes:
        value: for the order and the file.
        cell: for the page; the value as text where there is none.
        key: what `sort` says in the address; None where it cannot be put in order.
        on_page, in_file: where the column stands.
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


@dataclass(frozen=True)
class Sheet(Generic[T]):
    """A list of one kind of thing.

    Attributes:
        name: of the file, and what `download` says in the address.
        sort: the usual order, a field's key; None keeps the order of the rows.
        empty: what to say, and what to do, when there is nothing.
    """

    name: str
    caption: str
    fields: tuple[Field[T], ...]
    sort: str | None = None
    direction: Direction = "ascending"
    empty: str = "There is nothing to show."
    caption_hidden: bool = True
    page_size: int = PAGE_SIZE

    @property
    def wanted(self) -> bool:
        """Whether the address asks for the file."""
        return request.args.get("download") == self.name

    def window(self) -> tuple[int, int]:
        """Return the limit and offset of the page that the address asks for."""
        page = read_asked(request.args, keys=(), sort="").page
        return self.page_size, (page - 1) * self.page_size

    @property
    def asked_order(self) -> tuple[str, Direction]:
        """The order that the address asks for, or the usual one."""
        keys = [field.key for field in self.fields if field.key is not None]
        asked = read_asked(request.args, keys=keys, sort=self.sort or "", direction=self.direction)
        return asked.sort, asked.direction

    def _ordered(self, rows: Sequence[T], sort: str | None, direction: Direction) -> list[T]:
        field = next((field for field in self.fields if field.key == sort), None)
        if sort is None or field is None:
            return list(rows)
        known = [row for row in rows if field.value(row) is not None]
        unknown = [row for row in rows if field.value(row) is None]
        ordered = sorted(known, key=field.value, reverse=direction == "descending")  # type: ignore[arg-type]  # one column's values are of one kind
        return ordered + unknown

    def listing(
        self,
        rows: Sequence[T],
        *,
        query: Mapping[str, str] | None = None,
        empty: str | None = None,
        total: int | None = None,
    ) -> Listing:
        """Return the list as the address in hand asks for it.

        Args:
            query: the filters in force.
            empty: what to say instead when filters leave nothing.
            total: rows on all pages; then `rows` are of the page in hand alone, in order.
        """
        keys = [field.key for field in self.fields if field.key is not None]
        asked = read_asked(request.args, keys=keys, sort=self.sort or "", direction=self.direction)
        if total is None:
            ordered = self._ordered(rows, asked.sort or None, asked.direction)
            last = max(1, -(-len(ordered) // self.page_size))
            page = min(asked.page, last)
            shown = ordered[(page - 1) * self.page_size : page * self.page_size]
        else:
            page, shown = asked.page, list(rows)
        fields = [field for field in self.fields if field.on_page]
        kept = {name: text for name, text in (query or {}).items() if text}
        return Listing(
            caption=self.caption,
            caption_hidden=self.caption_hidden,
            columns=tuple(Column(field.label, field.key, field.numeric) for field in fields),
            rows=tuple(tuple(field.shown(row) for field in fields) for row in shown),
            path=request.path,
            query=kept,
            sort=asked.sort or None,
            direction=asked.direction,
            page=page,
            page_size=self.page_size,
            total=len(ordered) if total is None else total,
            empty=empty if kept and empty is not None else self.empty,
        )

    def file(self, rows: Sequence[T]) -> Response:
        """Return all rows as a CSV file, in the order that the address asks for."""
        keys = [field.key for field in self.fields if field.key is not None]
        asked = read_asked(request.args, keys=keys, sort=self.sort or "", direction=self.direction)
        fields = [field for field in self.fields if field.in_file]
        content = write_sheet(
            [field.label for field in fields],
            (
                [_sheet_cell(field.value(row)) for field in fields]
                for row in self._ordered(rows, asked.sort or None, asked.direction)
            ),
            for_people=True,
        )
        return csv_response(content, name=self.name)


def csv_response(content: bytes, *, name: str) -> Response:
    """Return a CSV file to keep."""
    response = Response(content, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def _sheet_cell(value: Value) -> SheetCell:
    if isinstance(value, datetime):
        return london(value).isoformat(timespec="seconds")
    return value
