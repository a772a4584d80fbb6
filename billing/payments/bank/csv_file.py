"""Statements and remittance advices as CSV, read by a mapping of column names."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal

from billing.payments.bank.model import (
    MOST_BYTES,
    MOST_LINES,
    Remittance,
    RemittanceItem,
    Statement,
    StatementLine,
    StatementUnreadable,
    check_statement,
    read_amount,
    refuse,
)
from metering.kit.errors import FieldError


@dataclass(frozen=True, kw_only=True)
class CsvMapping:
    """Which column holds what; compared without case and outer spaces.

    Attributes:
        amount: one signed column; or else
        paid_in, paid_out: two columns, both unsigned.
        date_format: as `strptime` has it.

    Raises:
        StatementUnreadable: neither `amount` nor both of the others is given.
    """

    date: str = "Date"
    amount: str = ""
    paid_in: str = ""
    paid_out: str = ""
    reference: str = ""
    counterparty: str = ""
    counterparty_account: str = ""
    details: str = ""
    bank_reference: str = ""
    date_format: str = "%d/%m/%Y"
    delimiter: str = ","

    def __post_init__(self) -> None:
        if bool(self.amount) == bool(self.paid_in and self.paid_out):
            raise StatementUnreadable(
                "Name either the column of signed amounts or both of money in and money out."
            )
        if len(self.delimiter) != 1:
            raise StatementUnreadable("The delimiter is one character.")

    @classmethod
    def read(cls, columns: Mapping[str, str]) -> "CsvMapping":
        """Return the mapping that a file or request gives.

        Raises:
            StatementUnreadable: it names something that a statement does not have.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(columns) - known):
            raise StatementUnreadable(
                f"A mapping has no {', '.join(unknown)}; it has {', '.join(sorted(known))}."
            )
        return cls(**columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the file must have."""
        named = (
            self.date,
            self.amount,
            self.paid_in,
            self.paid_out,
            self.reference,
            self.counterparty,
            self.counterparty_account,
            self.details,
            self.bank_reference,
        )
        return tuple(name for name in named if name)


Cell = Callable[[Sequence[str], str], str]

PLAIN = CsvMapping(
    amount="Amount",
    reference="Reference",
    counterparty="Name",
    counterparty_account="Account",
    bank_reference="Id",
)
"""Our own format: Date, Amount, Reference, Name, Account, Id."""


def read_csv_statement(content: bytes, *, bank_account: str, mapping: CsvMapping) -> Statement:
    """Read a statement; rows before the header and rows without an amount are left out.

    Raises:
        StatementUnreadable: it is too large, not text, or has not the columns.
        StatementRefused: a date or amount cannot be read; every faulty line is named.
    """
    header, rows = _table(content, columns=mapping.columns, delimiter=mapping.delimiter)
    faults: list[FieldError] = []
    lines: list[StatementLine] = []

    def cell(row: Sequence[str], name: str) -> str:
        place = header.get(name.strip().casefold()) if name else None
        return "" if place is None or place >= len(row) else " ".join(row[place].split())

    for number, row in rows:
        try:
            amount = _amount(row, mapping, cell)
            if amount is None:
                continue
            lines.append(
                StatementLine(
                    booked_on=_date(cell(row, mapping.date), mapping.date_format),
                    amount=amount,
                    counterparty=cell(row, mapping.counterparty),
                    counterparty_account=cell(row, mapping.counterparty_account),
                    reference=cell(row, mapping.reference),
                    details=cell(row, mapping.details),
                    bank_reference=cell(row, mapping.bank_reference),
                )
            )
        except ValueError as error:
            faults.append(FieldError(f"/lines/{number}", "line-unreadable", str(error)))
    refuse(faults)
    return check_statement(
        Statement(bank_account=bank_account.strip(), format="csv", lines=tuple(lines))
    )


def read_csv_remittance(
    content: bytes,
    *,
    payer: str,
    reference: str,
    paid_on: date,
    invoice_column: str = "Invoice",
    amount_column: str = "Amount",
) -> Remittance:
    """Read a remittance advice: one row for each invoice.

    Raises:
        StatementUnreadable: it is too large, not text, or has not the columns.
        StatementRefused: an amount cannot be read.
    """
    header, rows = _table(content, columns=(invoice_column, amount_column), delimiter=",")
    invoice_at, amount_at = (
        header[name.strip().casefold()] for name in (invoice_column, amount_column)
    )
    faults: list[FieldError] = []
    items: list[RemittanceItem] = []
    for number, row in rows:
        if len(row) <= max(invoice_at, amount_at) or not row[invoice_at].strip():
            continue
        try:
            items.append(
                RemittanceItem(
                    invoice_number=row[invoice_at].strip(), amount=read_amount(row[amount_at])
                )
            )
        except ValueError as error:
            faults.append(FieldError(f"/lines/{number}", "line-unreadable", str(error)))
    if not items and not faults:
        faults.append(FieldError("/lines", "no-lines", "it names no invoice"))
    refuse(faults)
    return Remittance(payer=payer, reference=reference, paid_on=paid_on, items=tuple(items))


def read_text(content: bytes) -> str:
    """Return the file's text: UTF-8, else as Windows writes it.

    Raises:
        StatementUnreadable: it is too large.
    """
    if len(content) > MOST_BYTES:
        raise StatementUnreadable(f"The file is larger than {MOST_BYTES} bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _table(
    content: bytes, *, columns: Sequence[str], delimiter: str
) -> tuple[dict[str, int], list[tuple[int, list[str]]]]:
    """Return the places of the columns by folded name, and the rows after the header."""
    text = read_text(content)
    needed = {name.strip().casefold() for name in columns}
    try:
        rows = list(enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), start=1))
    except csv.Error as error:
        raise StatementUnreadable(f"The file is not CSV: {error}.") from None
    for place, (_, row) in enumerate(rows):
        header = {name.strip().casefold(): index for index, name in enumerate(row)}
        if needed <= header.keys():
            body = [(number, cells) for number, cells in rows[place + 1 :] if any(cells)]
            if len(body) > MOST_LINES:
                raise StatementUnreadable(f"The file has more than {MOST_LINES} lines.")
            return header, body
    raise StatementUnreadable(f"No row of the file has the columns {', '.join(columns)}.")


def _amount(row: Sequence[str], mapping: CsvMapping, cell: Cell) -> Decimal | None:
    if mapping.amount:
        text = cell(row, mapping.amount)
        amount = read_amount(text) if text else None
    else:
        into, out = cell(row, mapping.paid_in), cell(row, mapping.paid_out)
        came = read_amount(into) if into else Decimal(0)
        went = read_amount(out) if out else Decimal(0)
        if came and went:
            raise ValueError("money came in and went out in one line")
        amount = came - abs(went) if into or out else None
    return amount or None


def _date(text: str, form: str) -> date:
    try:
        return datetime.strptime(text, form).date()  # noqa: DTZ007 - a date alone has no zone
    except ValueError:
        raise ValueError(f"'{text}' is not a date of the form {form}") from None
