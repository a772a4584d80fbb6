"""Organisations as NHS England's ODS files list them. Pure.

The files have no header and 27 columns, of which these count: 1 the code, 2 the name,
10 the postcode, 11 the date of opening and 12 that of closing (YYYYMMDD). A file with a
header names them `code`, `name`, `postcode`, `open_date` and `close_date`.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from metering.kit.errors import FieldError, Invalid
from metering.kit.nhs_number import holds_nhs_number
from metering.kit.privacy import SENTENCE

MOST_ROWS = 100_000
_HEADER = ("code", "name", "postcode", "open_date", "close_date")
_PLACES = (0, 1, 9, 10, 11)
_CODE = re.compile(r"[A-Z0-9]{3,10}")
_SHOWN_FAULTS = 20


class OdsFileInvalid(Invalid):
    """The file is not a list of organisations, or a row of it cannot be right."""

    code = "ods-file-invalid"
    title = "The list of organisations cannot be read"


@dataclass(frozen=True)
class Listed:
    """One organisation of the file.

    Attributes:
        closed_from: first London date on which it no longer exists. The file gives the last
            day on which it did.
    """

    ods_code: str
    name: str
    postcode: str | None
    opened_on: date | None
    closed_from: date | None


def read_ods_file(content: bytes) -> Sequence[Listed]:
    """Read a file of organisations.

    Raises:
        OdsFileInvalid: with one fault for each row that cannot be right, at `/2` for row 2.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if not rows:
        raise OdsFileInvalid("The file has no row.")
    if len(rows) > MOST_ROWS:
        raise OdsFileInvalid(f"The file has more than {MOST_ROWS:,} rows.")
    places, first = _places(rows[0])
    found: list[Listed] = []
    faults: list[FieldError] = []
    for number, row in enumerate(rows[first:], start=first + 1):
        try:
            found.append(_read(row, places))
        except ValueError as error:
            faults.append(FieldError(f"/{number}", "invalid", str(error)))
    if faults:
        raise OdsFileInvalid(
            f"Rows that cannot be right: {len(faults):,}. Nothing is registered.",
            errors=tuple(faults[:_SHOWN_FAULTS]),
        )
    return found


def _places(row: Sequence[str]) -> tuple[Sequence[int | None], int]:
    """Return where each column stands, and the number of the first row of data."""
    names = [cell.strip().lower().replace(" ", "_") for cell in row]
    if "name" not in names:
        return _PLACES, 0
    if "code" not in names:
        raise OdsFileInvalid("The header has no column 'code'.")
    return [names.index(name) if name in names else None for name in _HEADER], 1


def _read(row: Sequence[str], places: Sequence[int | None]) -> Listed:
    cells = [
        row[place].strip() if place is not None and place < len(row) else "" for place in places
    ]
    if any(map(holds_nhs_number, cells)):
        raise ValueError(SENTENCE)
    code, name, postcode, opened, closed = cells
    if not _CODE.fullmatch(code):
        raise ValueError(f"'{code[:20]}' is not an ODS code: 3 to 10 capital letters and digits.")
    if not name:
        raise ValueError(f"{code} has no name.")
    last = _day(closed)
    return Listed(
        code,
        name,
        postcode or None,
        _day(opened),
        None if last is None else last + timedelta(days=1),
    )


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return datetime.strptime(text.replace("-", ""), "%Y%m%d").date()  # noqa: DTZ007 - a date
    except ValueError:
        raise ValueError(f"'{text[:20]}' is not a date like 20260401.") from None
