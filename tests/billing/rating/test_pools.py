"""The national pool: sharing, savings, and a frozen price after close."""

from decimal import Decimal
from fractions import Fraction

import pytest

from billing.money import round_together
from billing.rating.model import Days, GroupMembership, LocalTerms, Usage
from billing.rating.pools import freeze
from tests.billing.rating.make import (
    JUNE,
    agreed,
    amounts,
    only,
    per_unit,
    prices,
    rate,
    tariff,
    tiers,
    used,
)

S3 = tiers(("1", "100"), ("50", "80"), ("500", "60"), scope="pool")


def national(*more: Usage) -> list[Usage]:
    return [used("RA7", "30"), used("RAX", "35"), used("RBN", "30"), *more]


def test_the_published_blended_price_comes_out() -> None:
    result = rate(tariff(S3), *national())

    assert amounts(result) == ["2122.11", "2475.79", "2122.10"]
    (pool,) = result.pools
    assert (pool.joint_quantity, pool.joint_amount, pool.amount) == (95, 6720, Decimal("6720.00"))
    assert pool.blended_price == Fraction(6720, 95)
    assert (pool.members, pool.frozen, pool.true_up) == (3, False, 0)


def test_each_charge_says_what_the_pool_saved() -> None:
    result = rate(tariff(S3), *national())

    # Alone: 100 + 29 × 80 = 2,420 and 100 + 34 × 80 = 2,820.
    assert [charge.alone_amount for charge in result.charges] == [2420, 2820, 2420]
    assert [str(charge.saving) for charge in result.charges] == ["297.89", "344.21", "297.90"]
    assert result.pools[0].saving == Decimal("940.00")


def test_the_working_shows_joint_quantity_blended_price_and_share() -> None:
    share = rate(tariff(S3), *national()).charges[0].working[0]

    assert share["step"] == "share"
    assert (share["joint_quantity"], share["joint_amount"]) == ("95", "6720")
    assert share["blended_price"] == "70.73684210526315789473"
    assert share["joint_working"]["tiers"][2]["quantity"] == "45"
    assert "95, which come to £6,720.00: £70.736842… a unit" in share["text"]


def test_included_quantity_is_each_ones_own_before_the_pool() -> None:
    pooled = tariff(per_unit("2", scope="pool", included={"quantity": "10"}))

    result = rate(pooled, used("RA7", "4"), used("RAX", "16"))

    assert amounts(result) == ["0.00", "12.00"]
    assert result.pools[0].joint_quantity == 6


def test_a_discount_and_a_maximum_come_after_sharing() -> None:
    pooled = tariff(
        tiers(("10", "2"), (None, "1"), scope="pool", discount_percent="10", maximum="20")
    )

    result = rate(pooled, used("RA7", "10"), used("RAX", "40"))

    # 60 jointly, 1.20 a unit: 12 and 48, less a tenth 10.80 and 43.20, at most 20.
    assert amounts(result) == ["10.80", "20.00"]
    assert [step["step"] for step in result.charges[1].working] == [
        "share",
        "discount",
        "maximum",
        "round",
    ]


def test_late_usage_is_billed_at_the_frozen_price_to_the_one_who_used_it() -> None:
    pooled = tariff(S3)
    closed = rate(pooled, *national())
    frozen = [freeze(closed.pools[0], closed.charges)]

    again = rate(pooled, *national(), frozen=frozen)
    late = rate(pooled, *national(used("RAX", "5")), frozen=frozen)

    assert amounts(again) == amounts(closed)
    assert amounts(late) == ["2122.11", "2829.47", "2122.10"]
    assert late.charges[1].amount - closed.charges[1].amount == Decimal("353.68")
    (pool,) = late.pools
    assert pool.frozen
    assert pool.blended_price == Fraction(6720, 95)
    # 100 now come to 7,020; at the frozen price they come to 7,073.684…
    assert pool.true_up == 7020 - 100 * Fraction(6720, 95)


def test_a_late_newcomer_pays_the_frozen_price_too() -> None:
    pooled = tariff(S3)
    closed = rate(pooled, *national())
    frozen = [freeze(closed.pools[0], closed.charges)]

    late = rate(pooled, *national(used("RRK", "2")), frozen=frozen)

    assert amounts(late) == ["2122.11", "2475.79", "2122.10", "141.47"]


def test_withdrawn_usage_is_given_back_at_the_frozen_price() -> None:
    pooled = tariff(S3)
    closed = rate(pooled, *national())
    frozen = [freeze(closed.pools[0], closed.charges)]

    late = rate(pooled, *national(used("RAX", "-35")), frozen=frozen)

    assert amounts(late) == ["2122.11", "0.00", "2122.10"]


def test_a_pool_without_use_has_no_price_to_freeze() -> None:
    idle = rate(tariff(S3), used("RA7", "0"))

    assert amounts(idle) == ["0.00"]
    with pytest.raises(ValueError, match="nothing was used"):
        freeze(idle.pools[0], idle.charges)


def test_a_pool_past_its_last_tier_is_parked_for_everyone() -> None:
    result = rate(tariff(S3), used("RA7", "300"), used("RAX", "300"))

    assert result.charges == ()
    assert [item.reason for item in result.parked] == ["beyond-last-tier"] * 2


def test_one_version_change_gives_each_version_a_blended_price() -> None:
    old = tariff(per_unit("2", scope="pool"))
    new = tariff(per_unit("1", scope="pool"), version="2", starts="2026-06-16")

    result = rate([old, new], used("RA7", "10", day=1), used("RAX", "10", day=20))

    assert amounts(result) == ["20.00", "10.00"]
    assert [(p.version, p.quantity, p.joint_quantity) for p in result.pools] == [
        ("2026-04", 10, 20),
        ("2", 10, 20),
    ]


def test_rounding_together_never_passes_the_next_penny() -> None:
    rounded = round_together({"a": Decimal("1.005"), "b": Decimal("1.005"), "c": Decimal("5.00")})

    assert rounded == {"a": Decimal("1.01"), "b": Decimal("1.00"), "c": Decimal("5.00")}
    with pytest.raises(ValueError, match="nought or more"):
        round_together({"a": Decimal(-1)})


def test_a_member_that_used_nothing_pays_nothing() -> None:
    result = rate(tariff(S3), used("RA7", "5"), agreements=[agreed("RA7"), agreed("RAX")])

    assert only(result).account == "RA7"
    assert JUNE.first_day == only(result).first_day


def test_a_group_and_its_local_agreement_are_frozen_apart() -> None:
    icb = (GroupMembership("QNX"),)
    half = LocalTerms(
        "ICB1",
        Days(JUNE.first_day.replace(day=16)),
        prices(per_unit("1", scope="group")),
        group="QNX",
    )
    grouped = tariff(per_unit("2", scope="group"))
    agreements = [agreed("RA1", groups=icb, terms=(half,))]
    usage = [used("RA1", "10", day=1), used("RA1", "10", day=20)]
    closed = rate(grouped, *usage, agreements=agreements)

    frozen = [freeze(pool, closed.charges) for pool in closed.pools]
    again = rate(grouped, *usage, used("RA1", "1", day=20), agreements=agreements, frozen=frozen)

    assert amounts(closed) == ["20.00", "10.00"]
    assert amounts(again) == ["20.00", "11.00"]
