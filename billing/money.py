"""Pounds as exact decimals, and every rounding that paygo does.

There are three roundings and no others: `to_pennies`, once for each charge
line; `vat_on`, once for each VAT rate of an invoice on the sum of its lines;
and sharing by largest remainder (`share_out`, `round_together`), which never
loses a penny. Totals are sums of rounded amounts and are not rounded again.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import lcm

PENNY = Decimal("0.01")
NOUGHT = Decimal("0.00")

# Enough digits that no product or sum of quantities (38) and prices (30) is ever cut.
PRECISION = 120
_CONTEXT = Context(prec=PRECISION)


def to_pennies(amount: Decimal | Fraction) -> Decimal:
    """Round an exact amount once, half up (away from nought) to the penny.

    >>> to_pennies(Decimal("0.125")), to_pennies(Decimal("-0.125"))
    (Decimal('0.13'), Decimal('-0.13'))
    """
    if isinstance(amount, Fraction):
        # Half up in whole numbers: the floor of twice the hundredths, plus one, halved.
        numerator, denominator = amount.numerator, amount.denominator
        whole = (abs(numerator) * 200 + denominator) // (2 * denominator)
        return _from_pennies(whole if numerator >= 0 else -whole)
    # Adding nought turns -0.00 into 0.00.
    return _CONTEXT.add(amount.quantize(PENNY, rounding=ROUND_HALF_UP, context=_CONTEXT), NOUGHT)


def _from_pennies(pennies: int) -> Decimal:
    return _CONTEXT.scaleb(Decimal(pennies), -2)


def vat_on(net: Decimal, *, rate_percent: Decimal) -> Decimal:
    """Return the VAT on the sum of one rate's lines, half up to the penny.

    HMRC Notice 700, paragraph 17.5 allows an invoice trader to round the total
    VAT of an invoice; paygo rounds to the nearest penny, once for each rate.

    Args:
        net: pounds, the sum of the lines taxed at this rate.
        rate_percent: for example `Decimal("20")`.
    """
    return to_pennies(Fraction(net) * Fraction(rate_percent) / 100)


def share_out(total: Decimal, weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Share pounds and pence in proportion to `weights`; the parts sum to `total`.

    Largest remainder: everyone gets their exact share cut down to the penny, and
    the pennies left go one each to the largest cut-off parts, ties by key.

    Args:
        total: pounds and pence, may be negative.
        weights: at least one, none negative, not all nought.

    Raises:
        ValueError: there is nothing to share by, or `total` is not whole pennies.
    """
    if not weights or any(weight < 0 for weight in weights.values()):
        raise ValueError("sharing needs weights, none of them negative")
    weight_sum = sum((Fraction(weight) for weight in weights.values()), Fraction())
    if weight_sum == 0:
        raise ValueError("sharing needs a weight above nought")
    pennies = Fraction(total) * 100
    if pennies.denominator != 1:
        raise ValueError(f"{total} is not whole pennies")
    sign = -1 if pennies < 0 else 1
    left = abs(int(pennies))
    exact = {key: abs(pennies) * Fraction(weight) / weight_sum for key, weight in weights.items()}
    shares = {key: int(share) for key, share in exact.items()}
    left -= sum(shares.values())
    by_remainder = sorted(exact, key=lambda key: (shares[key] - exact[key], key))
    for key in by_remainder[:left]:
        shares[key] += 1
    return {key: _from_pennies(sign * share) for key, share in shares.items()}


def round_together(amounts: Mapping[str, Decimal | Fraction]) -> dict[str, Decimal]:
    """Round exact amounts, none negative, so that they add up to their rounded sum.

    Largest remainder on the amounts themselves: everyone is cut down to the penny,
    and the pennies left of `to_pennies(sum)` go one each to the largest cut-off
    parts, ties by key. Nobody is rounded past the next penny, and an amount that
    is already whole pennies stays as it is.

    >>> round_together({"a": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)})
    {'a': Decimal('0.34'), 'b': Decimal('0.33'), 'c': Decimal('0.33')}

    Raises:
        ValueError: an amount is negative.
    """
    ratios = {key: amount.as_integer_ratio() for key, amount in amounts.items()}
    if any(numerator < 0 for numerator, _ in ratios.values()):
        raise ValueError("only amounts of nought or more are rounded together")
    # One common denominator keeps the comparison in whole numbers, fast for a nation.
    common = lcm(*(denominator for _, denominator in ratios.values()))
    hundredths = {
        key: 100 * numerator * (common // denominator)
        for key, (numerator, denominator) in ratios.items()
    }
    pennies = {key: value // common for key, value in hundredths.items()}
    whole = to_pennies(Fraction(sum(hundredths.values()), 100 * common))
    left = int(whole * 100) - sum(pennies.values())
    by_remainder = sorted(hundredths, key=lambda key: (-(hundredths[key] % common), key))
    for key in by_remainder[:left]:
        pennies[key] += 1
    return {key: _from_pennies(value) for key, value in pennies.items()}


def sum_pounds(amounts: Sequence[Decimal]) -> Decimal:
    """Add rounded amounts; the result always shows pence."""
    return sum(amounts, NOUGHT)


def show_pounds(amount: Decimal) -> str:
    """Write an amount for people: `£1,234.50`, `−£3.00`.

    Raises:
        ValueError: the amount has fractions of a penny; round it first, by name.
    """
    if amount != amount.quantize(PENNY, rounding=ROUND_FLOOR):
        raise ValueError(f"{amount} is not whole pennies")
    sign = "−" if amount < 0 else ""
    return f"{sign}£{abs(amount):,.2f}"


def plain(number: Decimal) -> str:
    """Write a decimal without exponent or trailing noughts: `0.5`, `1200`.

    >>> plain(Decimal("1.2E+3")), plain(Decimal("0.500")), plain(Decimal("-0"))
    ('1200', '0.5', '0')
    """
    # Formatting without a precision never rounds, whatever the context.
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
