"""Exact numbers: Decimal wherever it is exact, Fraction from the first division on."""

from decimal import Decimal
from fractions import Fraction

from billing.money import PRECISION, plain

Exact = Decimal | Fraction
NONE = Decimal(0)

# Places after which the text of a number that never ends is cut (never rounded up, so
# that rounding the text half up gives the same pennies as rounding the number).
CUT_PLACES = 20

__all__ = ["CUT_PLACES", "NONE", "PRECISION", "Exact", "add", "divide", "exact_text", "multiply"]


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
    rest = number.denominator
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    if rest != 1:
        return None
    places = max(twos, fives)
    whole = number.numerator * 10**places // number.denominator
    return Decimal((whole < 0, tuple(int(digit) for digit in str(abs(whole))), -places))


def exact_text(number: Exact, *, places: int = CUT_PLACES) -> str:
    """Write a number as a decimal string, every digit of it where its digits end.

    Where they do not (a third of a pound), the text is cut, towards nought, after
    `places` places; the fraction itself can be had again from the working.

    >>> exact_text(Fraction(1, 8)), exact_text(Fraction(2, 3))
    ('0.125', '0.66666666666666666666')
    """
    decimal = as_decimal(number)
    if decimal is not None:
        return plain(decimal)
    cut = int(number * 10**places)
    return plain(Decimal((cut < 0, tuple(int(digit) for digit in str(abs(cut))), -places)))


def show_quantity(number: Exact) -> str:
    """Write a quantity for people: `1,234.5`; digits without end are cut after six places."""
    text = exact_text(number, places=6)
    whole, dot, rest = text.partition(".")
    return f"{int(whole):,}{dot}{rest}" if whole != "-0" else text


def show_exact_pounds(number: Exact) -> str:
    """Write an unrounded amount for people: `£1,234.50`, `£0.024`, `£2,122.105263…`."""
    endless = as_decimal(number) is None
    text = exact_text(number, places=6)
    whole, _, rest = text.partition(".")
    sign = "−" if whole.startswith("-") else ""
    return f"{sign}£{int(whole.lstrip('-')):,}.{rest.ljust(2, '0')}" + ("…" if endless else "")
