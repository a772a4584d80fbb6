"""Promises of rating that hold for any usage."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money import to_pennies
from billing.rating.engine import MonthRating
from billing.rating.model import (
    ALWAYS,
    Commitment,
    Days,
    GroupMembership,
    LocalTerms,
    RatingResult,
    Usage,
)
from billing.rating.pools import freeze
from billing.rating.prices import Pricer
from billing.rating.true_up import Invoiced, corrections
from billing.tariffs.model import Tariff
from tests.billing.rating.make import JUNE, agreed, exact_sum, prices, rate, tariff, used

CODES = ("RA1", "RB2", "RC3", "RD4", "RE5")
QUANTITY = st.integers(0, 3_000_000).map(lambda thousandths: Decimal(thousandths).scaleb(-3))
SOME = st.integers(1, 3_000_000).map(lambda thousandths: Decimal(thousandths).scaleb(-3))
UNIT_PRICE = st.integers(1, 50_000).map(lambda units: Decimal(units).scaleb(-4))
BOUNDS = st.lists(st.integers(1, 2_500), min_size=0, max_size=4, unique=True).map(sorted)


@st.composite
def tier_lists(draw: Callable[..., Any], *, falling: bool) -> list[dict[str, Any]]:
    bounds = [*draw(BOUNDS), None]
    costs = [draw(UNIT_PRICE) for _ in bounds]
    if falling:
        costs.sort(reverse=True)
    return [
        {"up_to": None if bound is None else str(bound), "unit_price": str(cost)}
        for bound, cost in zip(bounds, costs, strict=True)
    ]


@st.composite
def own_prices(draw: Callable[..., Any]) -> dict[str, Any]:
    """Any price of scope own, with any adjustments."""
    model = draw(st.sampled_from(["per-unit", "graduated", "volume", "package", "percentage"]))
    price: dict[str, Any] = {"model": model}
    if model in {"graduated", "volume"}:
        price["tiers"] = draw(tier_lists(falling=False))
        for tier in price["tiers"]:
            tier["flat"] = str(draw(st.integers(0, 30)))
    elif model == "package":
        price |= {"package_size": str(draw(SOME)), "package_price": str(draw(UNIT_PRICE))}
    elif model == "per-unit":
        price["unit_price"] = str(draw(UNIT_PRICE))
    else:
        price["percent"] = str(draw(UNIT_PRICE))
    if draw(st.booleans()):
        price["included"] = {"quantity": str(draw(QUANTITY))}
    if draw(st.booleans()):
        price["discount_percent"] = str(draw(st.integers(0, 100)))
    least = draw(st.integers(0, 200))
    if draw(st.booleans()):
        price["minimum"] = str(least)
    if draw(st.booleans()):
        price["maximum"] = str(least + draw(st.integers(0, 500)))
    if draw(st.booleans()):
        price["convert"] = {"divide_by": str(draw(st.integers(1, 3700))), "unit": "x"}
    return price


pooled = tier_lists(falling=True).map(
    lambda steps: tariff({"model": "graduated", "scope": "pool", "tiers": steps})
)
members = st.dictionaries(st.sampled_from(CODES), SOME, min_size=1)
dated = st.lists(
    st.tuples(st.sampled_from(CODES[:3]), QUANTITY, st.integers(1, 30)), min_size=1, max_size=8
).map(lambda rows: [used(code, quantity, day=day) for code, quantity, day in rows])


def by_account(result: RatingResult) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for charge in result.charges:
        before = found.get(charge.account, Fraction())
        found[charge.account] = before + Fraction(charge.exact)
    return found


def rate_pool(priced: Tariff, quantities: dict[str, Decimal]) -> RatingResult:
    return rate(priced, *(used(code, quantity) for code, quantity in quantities.items()))


# A month cut in two


@given(own_prices(), dated, st.integers(2, 30))
def test_a_cut_at_a_version_change_with_equal_prices_changes_nothing(
    price: dict[str, Any], usage: list[Usage], day: int
) -> None:
    whole = tariff(price)
    again = tariff(price, version="2", starts=date(2026, 6, day).isoformat())

    assert by_account(rate(whole, *usage)) == by_account(rate([whole, again], *usage))


@given(tier_lists(falling=True), st.integers(0, 500), dated, st.integers(2, 30))
def test_a_cut_changes_nobodys_share_of_a_pool(
    steps: list[dict[str, Any]], included: int, usage: list[Usage], day: int
) -> None:
    price = {
        "model": "graduated",
        "scope": "pool",
        "tiers": steps,
        "included": {"quantity": str(included)},
        "maximum": "900",
        "discount_percent": "3",
    }
    whole = tariff(price)
    again = tariff(price, version="2", starts=date(2026, 6, day).isoformat())

    assert by_account(rate(whole, *usage)) == by_account(rate([whole, again], *usage))


# Tiers


@given(tier_lists(falling=False), QUANTITY, QUANTITY, SOME)
def test_graduated_prices_never_fall_and_never_jump(
    steps: list[dict[str, Any]], first: Decimal, second: Decimal, start: Decimal
) -> None:
    (price,) = prices({"model": "graduated", "tiers": steps})
    pricer = Pricer(price)
    low, high = sorted((first, second))
    dearest = max(tier.unit_price for tier in price.tiers)

    cheap = pricer.amount(start=start, quantity=low, total=low)
    dear = pricer.amount(start=start, quantity=high, total=high)

    assert 0 <= dear - cheap <= (high - low) * dearest  # type: ignore[operator]  # both Decimal


@given(own_prices(), QUANTITY)
def test_the_same_quantity_comes_to_the_same_as_a_fraction(
    price: dict[str, Any], quantity: Decimal
) -> None:
    (found,) = prices(price)
    pricer = Pricer(found)
    ratio = Fraction(quantity)

    assert Fraction(pricer.amount(start=Decimal(0), quantity=quantity, total=quantity)) == Fraction(
        pricer.amount(start=Fraction(), quantity=ratio, total=ratio)
    )


# Once, twice, in any order, in parts


@given(own_prices(), dated)
def test_rating_twice_is_rating_once(price: dict[str, Any], usage: list[Usage]) -> None:
    once, twice = rate(tariff(price), *usage), rate(tariff(price), *usage)
    invoiced = [
        Invoiced(c.account, c.tariff, c.version, c.price_key, c.quantity, c.amount)
        for c in once.charges
    ]

    assert once == twice
    assert [c.working for c in once.charges] == [c.working for c in twice.charges]
    assert corrections(twice.charges, invoiced) == ()


@given(own_prices(), tier_lists(falling=True), dated, st.integers(0, 3), st.integers(2, 30))
def test_a_month_rated_in_parts_is_the_month_rated_whole(
    own: dict[str, Any], steps: list[dict[str, Any]], usage: list[Usage], cut: int, day: int
) -> None:
    shared = {"model": "graduated", "scope": "pool", "tiers": steps, "meter": "p"}
    priced = tariff(own, shared)
    usage = [*usage, *(replace(item, meter="p") for item in usage)]
    promised = LocalTerms("promise", ALWAYS, commitment=Commitment(Decimal(5000)), group="g")
    # One is a member of the pool for part of the month only, two share a commitment.
    agreements = [
        agreed(CODES[0], pool=(Days(date(2026, 4, 1), date(2026, 6, day)),)),
        *(agreed(code, groups=(GroupMembership("g"),), terms=(promised,)) for code in CODES[1:]),
    ]

    whole = rate(priced, *usage, agreements=agreements)
    rating = MonthRating(month=JUNE, tariffs=[priced])
    own_charges = []
    for codes in (CODES[cut:], CODES[:cut]):
        own_charges += rating.add(
            [item for item in agreements if item.account in codes],
            [item for item in usage if item.account in codes],
        )
    rest = rating.finish()

    assert sorted((*own_charges, *rest.charges), key=str) == sorted(whole.charges, key=str)
    assert (rest.pools, rest.parked, rest.positions) == (whole.pools, whole.parked, whole.positions)


@given(own_prices(), dated, st.randoms(use_true_random=False))
def test_order_of_accounts_and_usage_changes_nothing(
    price: dict[str, Any], usage: list[Usage], random: Any
) -> None:
    agreements = [agreed(code) for code in CODES]
    shuffled, reordered = list(usage), list(agreements)
    random.shuffle(shuffled)
    random.shuffle(reordered)

    assert rate(tariff(price), *usage, agreements=agreements) == rate(
        tariff(price), *shuffled, agreements=reordered
    )


@given(own_prices(), dated)
def test_each_line_is_rounded_once_from_its_exact_amount(
    price: dict[str, Any], usage: list[Usage]
) -> None:
    for charge in rate(tariff(price), *usage).charges:
        assert charge.amount == to_pennies(charge.exact)
        assert to_pennies(Decimal(charge.exact_text)) == charge.amount
        assert charge.amount >= 0


@given(own_prices(), dated)
def test_quantity_rated_and_parked_is_quantity_used(
    price: dict[str, Any], usage: list[Usage]
) -> None:
    result = rate(tariff(price), *usage, agreements=[agreed(code) for code in CODES[:2]])

    rated = sum((charge.quantity for charge in result.charges), Decimal(0))
    parked = sum((item.quantity for item in result.parked), Decimal(0))
    assert rated + parked == sum((item.quantity for item in usage), Decimal(0))


# The pool: DESIGN §6


@given(pooled, members)
def test_shares_sum_to_the_joint_amount(priced: Tariff, quantities: dict[str, Decimal]) -> None:
    result = rate_pool(priced, quantities)

    (pool,) = result.pools
    assert exact_sum(result) == Fraction(pool.joint_amount)
    assert sum(charge.amount for charge in result.charges) == to_pennies(pool.joint_amount)
    assert pool.amount == to_pennies(pool.joint_amount)


@given(pooled, members)
def test_nobody_pays_more_than_alone(priced: Tariff, quantities: dict[str, Decimal]) -> None:
    for charge in rate_pool(priced, quantities).charges:
        alone = rate_pool(priced, {charge.account: quantities[charge.account]})

        assert charge.alone_exact == exact_sum(alone)
        assert charge.exact <= charge.alone_exact


@given(pooled, members, st.sampled_from(CODES), SOME)
def test_anothers_use_never_raises_my_amount(
    priced: Tariff, quantities: dict[str, Decimal], other: str, extra: Decimal
) -> None:
    before = by_account(rate_pool(priced, quantities))
    more = quantities | {other: quantities.get(other, Decimal(0)) + extra}
    after = by_account(rate_pool(priced, more))

    assert all(after[code] <= before[code] for code in before if code != other)


@given(pooled, members, st.data(), SOME)
def test_my_extra_use_never_lowers_my_amount(
    priced: Tariff, quantities: dict[str, Decimal], data: st.DataObject, extra: Decimal
) -> None:
    mine = data.draw(st.sampled_from(sorted(quantities)))
    more = quantities | {mine: quantities[mine] + extra}

    assert (
        by_account(rate_pool(priced, more))[mine] >= by_account(rate_pool(priced, quantities))[mine]
    )


@given(pooled, members, SOME)
def test_equal_use_costs_equal(
    priced: Tariff, quantities: dict[str, Decimal], same: Decimal
) -> None:
    found = by_account(rate_pool(priced, quantities | {"RX1": same, "RX2": same}))

    assert found["RX1"] == found["RX2"]


@given(pooled, st.lists(st.tuples(st.sampled_from(CODES), SOME), min_size=1), st.randoms())
def test_order_does_not_matter_to_the_pool(
    priced: Tariff, rows: list[tuple[str, Decimal]], random: Any
) -> None:
    usage = [used(code, quantity) for code, quantity in rows]
    shuffled = list(usage)
    random.shuffle(shuffled)

    assert rate(priced, *usage) == rate(priced, *shuffled)


@given(pooled, members, members)
def test_late_usage_moves_nobody_elses_amount(
    priced: Tariff, quantities: dict[str, Decimal], late: dict[str, Decimal]
) -> None:
    closed = rate_pool(priced, quantities)
    frozen = [freeze(closed.pools[0], closed.charges)]
    usage = [used(code, quantity) for code, quantity in [*quantities.items(), *late.items()]]

    again = rate(priced, *usage, frozen=frozen)

    was = {charge.account: charge.amount for charge in closed.charges}
    now = {charge.account: charge.amount for charge in again.charges}
    blended = closed.pools[0].blended_price
    assert blended is not None
    for code in now:
        extra = late.get(code, Decimal(0))
        assert now[code] == was.get(code, Decimal(0)) + to_pennies(blended * Fraction(extra))


@settings(max_examples=30)
@given(tier_lists(falling=True), st.lists(st.tuples(members, members), min_size=1, max_size=3))
def test_a_years_pool_month_by_month_is_the_year_at_once(
    steps: list[dict[str, Any]], months: list[tuple[dict[str, Decimal], dict[str, Decimal]]]
) -> None:
    yearly = tariff(
        {"model": "graduated", "scope": "pool", "tiers": steps, "resets": "financial-year"}
    )
    total, quantity = Fraction(), Decimal(0)
    result: RatingResult | None = None
    for found in (quantities for pair in months for quantities in pair):
        result = rate(
            yearly,
            *(used(code, amount) for code, amount in found.items()),
            history=() if result is None else result.positions,
        )
        total += exact_sum(result)
        quantity += sum(found.values())

    assert total == exact_sum(rate_pool(yearly, {"RA1": quantity}))
