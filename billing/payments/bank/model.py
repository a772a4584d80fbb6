"""Bank lines and remittance advices as read from files. Pure."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

from billing.money import sum_pounds
from metering.kit.errors import FieldError, Invalid, Malformed

MOST_LINES = 50_000
MOST_BYTES = 20 * 1024 * 1024

_AMOUNT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d{1,2})?")


class StatementUnreadable(Malformed):
    """The file is not a statement of the format that was named."""

    code = "statement-unreadable"
    title = "The statement cannot be read"


class StatementRefused(Invalid):
    """The file can be read, but a line of it cannot be right; nothing of it is imported."""

    code = "statement-refused"
    title = "The statement is refused"


@dataclass(frozen=True, kw_only=True)
class StatementLine:
    """One movement.

    Attributes:
        amount: pounds and pence; positive came in, negative went out.
        bank_reference: the bank's own reference of the movement, empty where it gives none.
        reference: what the payer wrote for the payee.
        details: everything else that the bank says, for people and for matching.
    """

    booked_on: date
    amount: Decimal
    counterparty: str = ""
    counterparty_account: str = ""
    reference: str = ""
    details: str = ""
    bank_reference: str = ""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement of one bank account of ours.

    Attributes:
        bank_account: IBAN, or sort code and account number.
        opening, closing: balances, None where the file gives none.
    """

    bank_account: str
    format: str
    lines: tuple[StatementLine, ...]
    opening: Decimal | None = None
    closing: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class RemittanceItem:
    """One invoice that a payer says it pays, and how much of it."""

    invoice_number: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Remittance:
    """A remittance advice: what one payment is for.

    Attributes:
        reference: the payment's reference as it will show on the statement, may be empty.
    """

    payer: str
    reference: str
    paid_on: date
    items: tuple[RemittanceItem, ...]

    @property
    def total(self) -> Decimal:
        """What the payment comes to."""
        return sum_pounds([item.amount for item in self.items])


def check_statement(statement: Statement) -> Statement:
    """Return the statement when it adds up.

    Raises:
        StatementRefused: it has no line, or opening balance and lines do not make the closing one.
    """
    if not statement.lines:
        raise StatementRefused("The statement has no booked movement.")
    if statement.opening is not None and statement.closing is not None:
        moved = sum_pounds([line.amount for line in statement.lines])
        if statement.opening + moved != statement.closing:
            raise StatementRefused(
                f"The statement opens at {statement.opening}, moves by {moved} and closes at "
                f"{statement.closing}, which does not add up; ask the bank for it again."
            )
    return statement


def line_keys(lines: Sequence[StatementLine]) -> tuple[str, ...]:
    """Return what makes each line itself, so that a line that comes again is known.

    Date, amount and the bank's reference or, where it gives none, all that the line says; then
    the line's place among equal ones.

    # ASSUMPTION: of equal movements without a bank reference on one day, every statement that
    # shows that day shows all of them so far (two payments of £5 on one day are two lines).
    """
    seen: Counter[str] = Counter()
    keys = []
    for line in lines:
        named = [line.bank_reference] if line.bank_reference else _said(line)
        content = json.dumps([line.booked_on.isoformat(), str(line.amount), *named])
        digest = hashlib.sha256(content.encode()).hexdigest()
        seen[digest] += 1
        keys.append(f"{digest[:40]}-{seen[digest]}")
    return tuple(keys)


def _said(line: StatementLine) -> list[str]:
    parts = ("", line.counterparty, line.counterparty_account, line.reference, line.details)
    return [" ".join(part.split()).upper() for part in parts]


def read_amount(text: str) -> Decimal:
    """Read an amount as banks write it: `1,234.50`, `£12.00`, `(3.10)` and `3.10-` are negative.

    Raises:
        ValueError: it is no amount in pounds and pence.
    """
    cleaned = text.replace("£", "").replace("GBP", "").replace(" ", "").replace("−", "-")
    negative = False
    if cleaned.startswith("(") and cleaned.endswith(")"):
        negative, cleaned = True, cleaned[1:-1]
    elif cleaned.endswith("-"):
        negative, cleaned = True, cleaned[:-1]
    if not _AMOUNT.fullmatch(cleaned):
        raise ValueError(f"'{text}' is not an amount in pounds and pence")
    try:
        amount = Decimal(cleaned.replace(",", "")).quantize(Decimal("0.01"))
    except InvalidOperation:
        raise ValueError(f"'{text}' is too large an amount") from None
    return -amount if negative else amount


def refuse(faults: Sequence[FieldError]) -> None:
    """Raise where there are faults.

    Raises:
        StatementRefused: naming the first and carrying all.
    """
    if faults:
        first = faults[0]
        raise StatementRefused(
            f"{len(faults)} lines cannot be read; the first: {first.pointer}: {first.detail}.",
            errors=tuple(faults[:100]),
        )
