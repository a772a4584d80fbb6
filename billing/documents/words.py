"""How documents write text, numbers and dates, so that all of them write alike.

Text that came from people or other systems passes through `one_line`: what has
no meaning in print (control and direction marks) is dropped there, since it is
forbidden in XML 1.0 and could disguise what a line says.
"""

import unicodedata
from decimal import Decimal

from billing.invoices.model import Invoice, InvoiceKind, Line
from billing.money import plain
from metering.periods import show_date

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def one_line(text: str) -> str:
    """Return text on one line, without control, direction, private or unassigned characters."""
    if text.isascii() and text.isprintable():
        # Nearly all of it: nothing to drop, and no space but the plain one.
        return " ".join(text.split())
    kept = (
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in _UNPRINTABLE
    )
    return " ".join("".join(kept).split())


def show_number(number: Decimal) -> str:
    """Write an exact number with thousands separated: `1,234.5`, `−3`."""
    whole, _, decimals = plain(abs(number)).partition(".")
    grouped = f"{int(whole):,}" + (f".{decimals}" if decimals else "")
    return f"−{grouped}" if number < 0 else grouped


def show_unit_price(price: Decimal) -> str:
    """Write an exact price with at least pence: `£0.50`, `£0.0025`, `£1,200.00`."""
    whole, _, decimals = plain(abs(price)).partition(".")
    sign = "−" if price < 0 else ""
    return f"{sign}£{int(whole):,}.{decimals.ljust(2, '0')}"


def show_percent(rate: Decimal) -> str:
    """Write a rate: `20%`."""
    return f"{plain(rate)}%"


def show_vat_number(number: str) -> str:
    """Write a British VAT number as HMRC does: `GB 654 9654 35`; others as they are.

    >>> show_vat_number("GB654965435")
    'GB 654 9654 35'
    """
    digits = number[2:]
    if number.startswith("GB") and digits.isdigit() and len(digits) in {9, 12}:
        parts = (digits[:3], digits[3:7], digits[7:9], digits[9:])
        return " ".join(("GB", *(part for part in parts if part)))
    return number


def show_days(line: Line) -> str:
    """Write the London dates a line covers, the last one inclusive."""
    first, last = line.first_day, line.last_day
    if first == last:
        return show_date(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {show_date(last)}"
    return f"{show_date(first)} to {show_date(last)}"


def document_name(invoice: Invoice) -> str:
    """Return `Invoice` or `Credit note`."""
    return "Credit note" if invoice.kind is InvoiceKind.CREDIT_NOTE else "Invoice"


def file_stem(invoice: Invoice) -> str:
    """Return the first part of file names: the number, or the id of a draft."""
    return invoice.number or f"draft-{invoice.id}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun: `1 invoice`, `1,234 invoices`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def show_size(octets: int) -> str:
    """Write the size of a file: `84 KB`, `1.2 MB`."""
    if octets < 1_000_000:
        return f"{max(1, round(octets / 1000))} KB"
    tenths = octets // 100_000
    return f"{tenths // 10}.{tenths % 10} MB"
