"""How the portal's pages word what they show."""

import re
from datetime import date, timedelta
from decimal import Decimal

from billing.documents.words import plural, show_number, show_size, show_unit_price
from billing.money import show_pounds
from metering.meters.model import plural_of
from metering.periods import show_date

__all__ = ["plural", "show_number", "show_size", "show_unit_price"]

_TREATMENTS = {
    "standard": "Standard rate",
    "zero": "Zero rate",
    "exempt": "Exempt",
    "outside-scope": "Outside the scope of VAT",
}


def counted(quantity: Decimal, unit: str) -> str:
    """Write a quantity with its unit: `1 study`, `12.5 studies`, `12.5 GB`."""
    return f"{show_number(quantity)} {unit if quantity == 1 else plural_of(unit)}"


def show_span(first: date, end: date) -> str:
    """Write half-open London dates for people: `1 to 30 April 2026`, `1 April 2026`."""
    last = end - timedelta(days=1)
    if first == last:
        return show_date(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {show_date(last)}"
    return f"{show_date(first)} to {show_date(last)}"


def show_treatment(treatment: str, rate_percent: Decimal | None) -> str:
    """Write a VAT treatment with its rate, where that is known: `Standard rate, 20%`."""
    rate = f", {show_number(rate_percent)}%" if rate_percent else ""
    return f"{_TREATMENTS.get(treatment, treatment)}{rate}"


def show_change(now: Decimal, before: Decimal) -> str:
    """Write by how much an amount differs from another: `£12.00 more than`, `the same as`."""
    if now == before:
        return "the same as"
    return f"{show_pounds(abs(now - before))} {'more' if now > before else 'less'} than"


def show_dimensions(dimensions: dict[str, str], labels: dict[str, str] | None = None) -> str:
    """Write dimension values in words: `Modality CT, Site Leeds`."""
    named = (
        ((labels or {}).get(name) or name, value) for name, value in sorted(dimensions.items())
    )
    return ", ".join(f"{label[:1].upper()}{label[1:]} {value}" for label, value in named)


_LONG = re.compile(r"(\d\.\d{6})\d+")


def shorten(text: str) -> str:
    """Write a phrase with a capital, its endless decimals cut after six places.

    >>> shorten("national pool price, £0.3919560362 a unit")
    'National pool price, £0.391956… a unit'
    """
    return _LONG.sub(r"\1…", text[:1].upper() + text[1:])
