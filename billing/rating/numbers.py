"""Exact numbers: Decimal wherever it is exact, Fraction from the first division on."""

from decimal import Decimal
from fractions import Fraction

Exact = Decimal | Fraction
NONE = Decimal(0)

# Places after which the text of a number that never ends is cut (never rounded up, so
# that rounding the text half up gives the same pennies as rounding the number).
CUT_PLACES = 20


def add(left: Exact, right: Exact) -> Exact:
    """Return the exact sum."""
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left + right
    return Fraction(left) + Fraction(right)


def subtract(left: Exact, right: Exact) -> Exact:
    """Return the exact difference."""
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left - right
    return Fraction(left) - Fraction(right)


def multiply(left: Exact, right: Exact) -> Exact:
    """Return the exact product."""
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left * right
    return Fraction(left) * Fraction(right)


def divide(left: Exact, right: Exact) -> Fraction:
    """Return the exact quotient."""
    top, over = left.as_integer_ratio()
    under, by = right.as_integer_ratio()
    return Fraction(top * by, over * under)


def as_decimal(number: Exact) -> Decimal | None:
    """Return the number as an exact Decimal, or None where its digits never end."""
    if isinstance(number, Decimal):
        return number
    places = _places(number.denominator)
    if places is None:
        return None
    whole = number.numerator * 10**places // number.denominator
    # Built from text, which no context's precision cuts.
    return Decimal(f"{whole}E-{places}")


def _places(denominator: int) -> int | None:
    """Return how many decimal places a fraction needs, or None where its digits never end."""
    if denominator == 1:
        return 0
    twos = (denominator & -denominator).bit_length() - 1
    rest = denominator >> twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    return max(twos, fives) if rest == 1 else None


def exact_text(number: Exact, *, places: int = CUT_PLACES) -> str:
    """Write a number as a decimal string, every digit of it where its digits end.

    Where they do not (a third of a pound), the text is cut, towards nought, after
    `places` places; the fraction itself can be had again from the working.

    >>> exact_text(Fraction(1, 8)), exact_text(Fraction(2, 3))
    ('0.125', '0.66666666666666666666')
    """
    return _digits(number, places)[0]


def _digits(number: Exact, places: int) -> tuple[str, bool]:
    """Return the plain text, and whether digits without end were cut from it."""
    if isinstance(number, Decimal):
        # Formatting without a precision never rounds.
        text = format(number, "f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return ("0" if text == "-0" else text), False
    top, under = number.numerator, number.denominator
    needed = _places(under)
    endless = needed is None
    shown = places if needed is None else needed
    whole = abs(top) * 10**shown // under
    if shown == 0:
        return (f"-{whole}" if top < 0 else str(whole)), False
    digits = str(whole).rjust(shown + 1, "0")
    sign = "-" if top < 0 else ""
    text = f"{sign}{digits[:-shown]}.{digits[-shown:]}"
    text = text.rstrip("0").rstrip(".")
    return ("0" if text == "-0" else text), endless


def show_quantity(number: Exact) -> str:
    """Write a quantity for people: `1,234.5`; digits without end are cut after six places."""
    text, _ = _digits(number, 6)
    whole, dot, rest = text.partition(".")
    sign = "−" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}{dot}{rest}"


def show_exact_pounds(number: Exact) -> str:
    """Write an unrounded amount for people: `£1,234.50`, `£0.024`, `£2,122.105263…`."""
    text, endless = _digits(number, 6)
    whole, _, rest = text.partition(".")
    sign = "−" if whole.startswith("-") else ""
    return f"{sign}£{int(whole.lstrip('-')):,}.{rest.ljust(2, '0')}" + ("…" if endless else "")


def show_cut_pounds(number: Exact, *, places: int = 6) -> str:
    """Write a price for people, cut after `places` places: `£0.49`, `£0.133529…`."""
    text = exact_text(number)
    whole, _, rest = text.partition(".")
    sign = "−" if whole.startswith("-") else ""
    cut = "…" if len(rest) > places else ""
    return f"{sign}£{int(whole.lstrip('-')):,}.{rest[:places].ljust(2, '0')}{cut}"
