"""Which column of a bank's CSV file holds what, told by their usual names. Pure.

A person sees what was found before anything is imported, and may say otherwise.
"""

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from billing.payments.bank.csv_file import PLAIN, CsvMapping, read_text
from billing.payments.bank.model import StatementUnreadable

# Folded names as UK banks write them; the first that the file has is taken.
_NAMES = {
    "date": ("date", "transaction date", "posting date", "booked on", "entry date", "value date"),
    "amount": ("amount", "amount (gbp)", "transaction amount", "value"),
    "paid_in": ("paid in", "money in", "credit amount", "credit", "credits"),
    "paid_out": ("paid out", "money out", "debit amount", "debit", "debits"),
    "reference": ("reference", "payment reference", "ref", "narrative", "transaction description"),
    "counterparty": ("name", "counterparty", "payer", "counter party", "description"),
    "counterparty_account": ("counterparty account", "payer account", "remitter account"),
    "details": ("details", "memo", "narrative 2", "transaction type", "type"),
    "bank_reference": ("id", "transaction id", "bank reference", "fitid"),
}
# ASSUMPTION: a statement of a UK account never writes the month before the day.
_DATE_FORMATS = (
    "%d/%m/%Y",
    "%Y-%m-%d",
    "%d-%m-%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%d.%m.%Y",
    "%d/%m/%y",
    "%Y/%m/%d",
    "%Y%m%d",
)
_DELIMITERS = ",;\t"
_MOST_HEADER_ROWS = 30


def find_mapping(content: bytes) -> CsvMapping:
    """Return which column holds what, from the names in the file's header row.

    Raises:
        StatementUnreadable: no row names a date and an amount (or money in and money out).
    """
    text = read_text(content)
    for delimiter in _DELIMITERS:
        try:
            rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
        except csv.Error as error:
            raise StatementUnreadable(f"The file is not CSV: {error}.") from None
        for place, row in enumerate(rows[:_MOST_HEADER_ROWS]):
            named = {name.strip().casefold(): name.strip() for name in row if name.strip()}
            if all(name.casefold() in named for name in PLAIN.columns):
                return PLAIN
            found = _columns(named)
            if found is None:
                continue
            at = [name.strip() for name in row].index(found["date"])
            return CsvMapping(
                **found, date_format=_format(rows[place + 1 :], at), delimiter=delimiter
            )
    raise StatementUnreadable(
        "No row of the file names a date and an amount in a way that Paygo knows. "
        "Say below which columns hold them."
    )


def _columns(named: dict[str, str]) -> dict[str, str] | None:
    found = {
        what: next((named[name] for name in names if name in named), "")
        for what, names in _NAMES.items()
    }
    if found["amount"]:
        found["paid_in"] = found["paid_out"] = ""
    if not found["date"] or not (found["amount"] or (found["paid_in"] and found["paid_out"])):
        return None
    return found


def _format(rows: Sequence[Sequence[str]], at: int) -> str:
    """Return the form that most of the dates have; one that is faulty is told later."""
    cells = [row[at].strip() for row in rows if at < len(row) and row[at].strip()]

    def fits(form: str) -> int:
        count = 0
        for cell in cells:
            try:
                datetime.strptime(cell, form)  # noqa: DTZ007 - a date alone has no zone
            except ValueError:
                continue
            count += 1
        return count

    return max(_DATE_FORMATS, key=fits)
