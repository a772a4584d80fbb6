"""The price models: what a quantity comes to, exactly, in pounds.

Every model continues: the amount of `quantity` that follows `start` is
`whole(start + quantity) - whole(start)`, so cutting a quantity in two at equal
prices changes nothing. `volume` has no such start: its tier is that of the
period's `total`, and its tier's flat amount is shared by quantity.

Tier bounds are inclusive and tiers meet: tier n holds every quantity above the
bound before it, so no fraction falls between. No quantity, no charge, no flat.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, TypeVar

from billing.rating.numbers import Exact, divide, multiply
from billing.tariffs.terms import Price, Tier

Number = TypeVar("Number", Decimal, Fraction)
HUNDREDTH = Decimal("0.01")


class BeyondTiers(Exception):
    """The quantity goes past a last tier that has an end; its use has no price."""


class Slice(NamedTuple):
    """The part of a quantity that falls in one tier, and what it comes to."""

    above: Exact
    up_to: Decimal | None
    quantity: Exact
    unit_price: Decimal
    flat: Decimal
    amount: Exact


class Pricer:
    """One price, made ready for fast repeated walking."""

    __slots__ = ("_fractions", "_tiers", "price")

    def __init__(self, price: Price) -> None:
        self.price = price
        self._tiers = [(tier.up_to, tier.unit_price, tier.flat) for tier in price.tiers]
        self._fractions = [
            (
                None if tier.up_to is None else Fraction(tier.up_to),
                Fraction(tier.unit_price),
                Fraction(tier.flat),
            )
            for tier in price.tiers
        ]

    def amount(self, *, start: Exact, quantity: Exact, total: Exact) -> Exact:
        """Return pounds for `quantity` of a usage price.

        Args:
            start: billable quantity before it in the reset period.
            quantity: nought or more.
            total: billable quantity of the whole month, and of the months before it
                where the price resets by financial year (for `volume`).

        Raises:
            BeyondTiers: it goes past a last tier with an end.
        """
        if not quantity:
            return Decimal(0)
        price = self.price
        if price.model == "graduated":
            if isinstance(start, Decimal) and isinstance(quantity, Decimal):
                whole = _graduated(self._tiers, start + quantity, Decimal(0))
                return whole - _graduated(self._tiers, start, Decimal(0)) if start else whole
            begin, end = Fraction(start), Fraction(start) + Fraction(quantity)
            return _graduated(self._fractions, end, Fraction()) - _graduated(
                self._fractions, begin, Fraction()
            )
        if price.model == "per-unit":
            return multiply(quantity, _given(price.unit_price))
        if price.model == "volume":
            tier = tier_of(price.tiers, total)
            amount = multiply(quantity, tier.unit_price)
            if not tier.flat:
                return amount
            if quantity == total:
                return (
                    amount + tier.flat
                    if isinstance(amount, Decimal)
                    else amount + Fraction(tier.flat)
                )
            return Fraction(amount) + divide(multiply(quantity, tier.flat), total)
        if price.model == "package":
            return packages(price, start, quantity) * _given(price.package_price)
        assert price.model == "percentage"
        return multiply(quantity, _given(price.percent) * HUNDREDTH)


def _given(number: Decimal | None) -> Decimal:
    assert number is not None
    return number


def _graduated(
    tiers: Sequence[tuple[Number | None, Number, Number]], reach: Number, nought: Number
) -> Number:
    """Return what the first `reach` units come to."""
    if not reach:
        return nought
    amount = nought
    above = nought
    for up_to, unit_price, flat in tiers:
        if up_to is None or reach <= up_to:
            return amount + (reach - above) * unit_price + flat
        amount += (up_to - above) * unit_price + flat
        above = up_to
    raise BeyondTiers


def tier_of(tiers: Sequence[Tier], total: Exact) -> Tier:
    """Return the tier that a quantity reaches; bounds are inclusive.

    Raises:
        BeyondTiers: it is past a last tier with an end.
    """
    for tier in tiers:
        if tier.up_to is None or total <= tier.up_to:
            return tier
    raise BeyondTiers


def packages(price: Price, start: Exact, quantity: Exact) -> int:
    """Return how many packages `quantity` starts beyond those that `start` had started."""
    size = _given(price.package_size)
    return _started(start, quantity, size) - _started(start, Decimal(0), size)


def _started(start: Exact, quantity: Exact, size: Decimal) -> int:
    top, over = (Fraction(start) + Fraction(quantity)).as_integer_ratio()
    under, by = size.as_integer_ratio()
    return -(-top * by // (over * under))


def slices(price: Price, *, start: Exact, quantity: Exact) -> list[Slice]:
    """Return each tier that a graduated quantity passes through, for the working."""
    if isinstance(start, Decimal) and isinstance(quantity, Decimal):
        tiers = [(tier.up_to, tier.unit_price, tier.flat) for tier in price.tiers]
        return _slices(price, tiers, start, start + quantity, Decimal(0))
    fractions = [
        (
            None if tier.up_to is None else Fraction(tier.up_to),
            Fraction(tier.unit_price),
            Fraction(tier.flat),
        )
        for tier in price.tiers
    ]
    begin = Fraction(start)
    return _slices(price, fractions, begin, begin + Fraction(quantity), Fraction())


def _slices(
    price: Price,
    tiers: Sequence[tuple[Number | None, Number, Number]],
    start: Number,
    end: Number,
    nought: Number,
) -> list[Slice]:
    found: list[Slice] = []
    above = nought
    for tier, (up_to, unit_price, flat) in zip(price.tiers, tiers, strict=True):
        low = max(start, above)
        high = end if up_to is None else min(end, up_to)
        if high > low:
            # The flat amount belongs to whoever enters the tier first.
            entered = low == above
            amount = (high - low) * unit_price + (flat if entered else nought)
            once = tier.flat if entered else Decimal(0)
            found.append(Slice(above, tier.up_to, high - low, tier.unit_price, once, amount))
        if up_to is None or up_to >= end:
            break
        above = up_to
    return found
