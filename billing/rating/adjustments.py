"""Discount, then maximum, then minimum, over the lines of one price in a month.

Limits are a month's: lines of several versions (or memberships) of one price are
limited together, each version's limit weighted by its days, and the difference
is spread over them, so that cutting the month at equal prices changes nothing. A
minimum is prorated by London days on joining and leaving; a maximum is not.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from billing.rating.lines import Line
from billing.rating.numbers import NONE, Exact, add, divide, multiply, subtract
from billing.rating.prices import HUNDREDTH
from billing.rating.working import Step
from metering.periods import Month

_HUNDRED = Decimal(100)


def adjust(lines: Sequence[Line], month: Month) -> None:
    """Apply the adjustments to the lines of one account, tariff and price key."""
    capped = promised = False
    for line in lines:
        price = line.entry.price
        terms = line.segment.terms
        if price.discount_percent:
            _take(line, price.discount_percent, "the tariff's discount")
        if terms is not None and terms.discount_percent:
            _take(line, terms.discount_percent, f"local agreement {terms.code}")
        capped = capped or price.maximum is not None
        promised = promised or price.minimum is not None
    if capped:
        _cap(lines)
    if promised:
        _top_up(lines, month)


def _take(line: Line, percent: Decimal, source: str) -> None:
    kept = (_HUNDRED - percent) * HUNDREDTH
    before = line.exact
    line.exact = multiply(before, kept)
    if line.alone is not None:
        line.alone = multiply(line.alone, kept)
    line.steps.append(Step("discount", (percent, source, before, line.exact)))


def _cap(lines: Sequence[Line]) -> None:
    capped = [line for line in lines if line.entry.price.maximum is not None]
    all_days = sum(line.segment.days for line in lines)
    weighted = NONE
    for line in capped:
        weighted += _given(line.entry.price.maximum) * line.segment.days
    limit: Exact = divide(weighted, Decimal(all_days))
    if len(lines) == 1:
        limit = _given(capped[0].entry.price.maximum)
    whole: Exact = NONE
    alone: Exact = NONE
    for line in capped:
        whole = add(whole, line.exact)
        alone = add(alone, line.exact if line.alone is None else line.alone)
    for line in capped:
        if line.alone is not None and alone > limit:
            line.alone = divide(multiply(line.alone, limit), alone)
        if whole > limit:
            before = line.exact
            line.exact = limit if len(capped) == 1 else divide(multiply(before, limit), whole)
            line.steps.append(Step("maximum", (limit, whole, before, line.exact)))


def _top_up(lines: Sequence[Line], month: Month) -> None:
    promised = [line for line in lines if line.entry.price.minimum is not None]
    whole: Exact = NONE
    for line in promised:
        whole = add(whole, line.exact)
    weights = [_given(line.entry.price.minimum) * line.segment.days for line in promised]
    weighted = sum(weights, NONE)
    limit = divide(weighted, Decimal(month.day_count))
    if whole >= limit:
        return
    short = subtract(limit, whole)
    for line, weight in zip(promised, weights, strict=True):
        before = line.exact
        part = Fraction(short) * Fraction(weight) / Fraction(weighted)
        line.exact = add(before, part)
        line.steps.append(
            Step(
                "minimum",
                (
                    line.entry.price.minimum,
                    divide(weight, Decimal(month.day_count)),
                    line.segment.days,
                    month.day_count,
                    before,
                    line.exact,
                ),
            )
        )


def _given(number: Decimal | None) -> Decimal:
    assert number is not None
    return number
