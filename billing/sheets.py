"""Lists that fit in memory answer for themselves: found in, in order, paged, and as a file.

A view makes the whole list and hands it to `listed`. Where the address asks for the
list's file, the answer is the file and no page is drawn (Flask's `abort` with a response).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile

from flask import Response, abort, request

from billing.documents.sheet import Cell as SheetCell
from billing.documents.sheet import write_rows
from billing.listing import Listing, Value, one_page, said, sorted_whole
from metering.periods import london

_IN_MEMORY = 4 * 1024 * 1024
_PIECE = 64 * 1024


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
    abort(sheet_response(name, header, rows))


def sheet_response(name: str, header: Sequence[str], rows: Iterable[Sequence[Value]]) -> Response:
    """Return rows as a CSV file to keep, however many they are.

    They are all read here, inside the caller's transaction, and what is beyond a few megabytes
    waits on disk: whoever fetches the file slowly holds neither memory nor a connection.
    """
    spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed with the response
    text = TextIOWrapper(spool, encoding="utf-8-sig", newline="")
    write_rows(text, header, ([sheet_cell(value) for value in row] for row in rows))
    text.detach()
    length = spool.tell()
    spool.seek(0)
    response = _attached(Response(iter(lambda: spool.read(_PIECE), b"")), name=name)
    response.content_length = length
    response.call_on_close(spool.close)
    return response


def csv_response(content: bytes, *, name: str) -> Response:
    """Return a CSV file to keep."""
    return _attached(Response(content), name=name)


def _attached(response: Response, *, name: str) -> Response:
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def sheet_cell(value: Value) -> SheetCell:
    """Return a value as a file holds it; an instant on the London clock."""
    if isinstance(value, datetime):
        return london(value).isoformat(timespec="seconds")
    return value
