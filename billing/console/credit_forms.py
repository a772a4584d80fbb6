"""Which lines of an invoice a credit note credits, and how much of each: read as typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.documents.words import show_number
from billing.forms import Form
from billing.invoices.credit_notes import Creditable
from billing.money import show_pounds

ALL = "all"


@dataclass(frozen=True)
class CreditLine:
    """One line of the invoice as the form shows it; `name` is its input's."""

    number: int
    name: str
    words: str
    quantity: str
    net: str
    can_credit: bool


def credit_lines(left: Sequence[Creditable]) -> tuple[CreditLine, ...]:
    """Return the lines of an invoice with what is left to credit of each."""
    return tuple(
        CreditLine(
            number=item.line.number,
            name=f"credit-{item.line.number}",
            words=", ".join(part for part in (item.line.description, item.line.dimensions) if part),
            quantity=f"{show_number(item.quantity)} {item.line.unit}".strip()
            if item.line.quantity is not None
            else "",
            net=show_pounds(item.net),
            can_credit=item.net > 0,
        )
        for item in left
    )


def read_lines(
    form: Form, typed: Mapping[str, str], lines: Sequence[CreditLine]
) -> tuple[Form, dict[int, Decimal | None]]:
    """Read how much of each line is credited; the form says what cannot be read.

    Returns:
        By line number a quantity, None for all that is left; lines left empty are not in it.
    """
    values = dict(form.values)
    found: dict[int, Decimal | None] = {}
    errors: dict[str, str] = {}
    for line in lines:
        text = typed.get(line.name, "").strip()
        if not text:
            continue
        values[line.name] = text[:40]
        if text.casefold() == ALL:
            found[line.number] = None
            continue
        plain = text.replace(",", "").replace(" ", "")
        whole, _, places = plain.partition(".")
        if not (
            whole.isascii() and (whole + places).isdigit() and len(plain) <= 30 and len(places) <= 9
        ):
            errors[line.name] = f"Line {line.number}: enter a quantity, for example 1,250, or all."
        else:
            found[line.number] = Decimal(plain)
    return Form(values, {**form.errors, **errors}), found
