"""Lists that fit in memory answer for themselves: found in, in order, paged, and as a file.

A view makes the whole list and hands it to `listed`. Where the address asks for the
list's file, the answer is the file and no page is drawn (Flask's `abort` with a response).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from flask import Response, abort, request

from billing.documents.sheet import Cell as SheetCell
from billing.documents.sheet import write_sheet
from billing.listing import Listing, Value, one_page, said, sorted_whole
from metering.periods import london


def listed(whole: Listing, *, download: str | None = None) -> Listing:
    """Return the page of a list that the address in hand asks for; its file, where it asks that.

    Args:
        whole: with all rows and a name that no other list of the page has.
        download: where a fuller file than the list itself is.
    """
    ordered = sorted_whole(whole, request.args)
    if request.args.get("download") == whole.name:
        columns = [
            (place, column.label) for place, column in enumerate(ordered.columns) if not column.acts
        ]
        send_file(
            whole.name,
            [label for _, label in columns],
            (
                [
                    cell.value if cell.value is not None else said(cell)
                    for cell in (row[place] for place, _ in columns)
                ]
                for row in ordered.rows
            ),
        )
    found = one_page(ordered, request.args)
    return replace(found, download=download) if download and found.rows else found


def send_file(name: str, header: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    """Answer with a CSV file, at once."""
    cells = ([sheet_cell(value) for value in row] for row in rows)
    abort(csv_response(write_sheet(header, cells, for_people=True), name=name))


def csv_response(content: bytes, *, name: str) -> Response:
    """Return a CSV file to keep."""
    response = Response(content, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def sheet_cell(value: Value) -> SheetCell:
    """Return a value as a file holds it; an instant on the London clock."""
    if isinstance(value, datetime):
        return london(value).isoformat(timespec="seconds")
    return value
