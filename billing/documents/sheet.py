"""CSV as RFC 4180 has it, safe to open in a spreadsheet.

A cell of text that a spreadsheet would run as a formula gets an apostrophe in
front; numbers, negative ones too, stay as they are. Files that people open
begin with a byte order mark, for Excel reads `£` and `é` wrongly without one;
files that programs load (FOCUS, journal) have none.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import TextIO

from billing.documents.words import one_line
from billing.money import plain
from metering.kit.spreadsheets import is_formula

Cell = str | Decimal | int | date | None


def safe_cell(value: Cell) -> str:
    """Return a value as the text of a cell; None is empty, decimals exact and plain."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    text = one_line(value)
    return f"'{text}" if is_formula(value) or is_formula(text) else text


def write_sheet(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], *, for_people: bool
) -> bytes:
    """Return a CSV file: UTF-8, comma, CRLF, quotes where needed.

    Args:
        header: names of the columns.
        rows: one sequence of as many cells each.
        for_people: begin with a byte order mark.

    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    text = io.StringIO(newline="")
    write_rows(text, header, rows)
    return text.getvalue().encode("utf-8-sig" if for_people else "utf-8")


def write_rows(to: TextIO, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a CSV file row by row: comma, CRLF, quotes where needed.

    Args:
        to: opened with `newline=""`.

    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    writer = csv.writer(to, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} cells under a header of {len(header)}")
        writer.writerow([safe_cell(cell) for cell in row])
