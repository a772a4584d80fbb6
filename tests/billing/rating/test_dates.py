"""Tariff versions, joining and leaving, financial years."""

from datetime import date
from decimal import Decimal

from billing.rating.model import ALWAYS, Agreement, DatedTariff, Days, GroupMembership, Position
from metering.periods import Month
from tests.billing.rating.make import (
    JUNE,
    agreed,
    amounts,
    exact_sum,
    only,
    per_unit,
    rate,
    tariff,
    tiers,
    used,
)

MID_JUNE = date(2026, 6, 16)


def test_each_day_has_the_price_in_force() -> None:
    old = tariff(per_unit("1"))
    new = tariff(per_unit("2"), version="2026-06", starts="2026-06-16")

    result = rate([new, old], used("RRK", "1", day=15), used("RRK", "1", day=16))

    assert [(c.version, str(c.amount)) for c in result.charges] == [
        ("2026-04", "1.00"),
        ("2026-06", "2.00"),
    ]
    assert [(c.first_day.day, c.end_day.day) for c in result.charges] == [(1, 16), (16, 1)]


def test_tiers_and_included_quantity_go_on_over_a_new_version() -> None:
    terms = {"included": {"quantity": "100"}}
    old = tariff(tiers(("100", "1"), (None, "0.50"), **terms))
    new = tariff(
        tiers(("100", "2"), (None, "1.50"), **terms), version="2026-06", starts="2026-06-16"
    )

    result = rate([old, new], used("RRK", "180", day=1), used("RRK", "40", day=20))

    # 80 billable at 1, then 20 more in the first tier at 2 and 20 at 1.50.
    assert amounts(result) == ["80.00", "70.00"]


def test_a_withdrawn_tariff_has_no_price_after_its_end() -> None:
    ended = DatedTariff(tariff(per_unit("1")), ends_on=MID_JUNE)

    result = rate([ended], used("RRK", "1", day=15), used("RRK", "1", day=16))

    assert amounts(result) == ["1.00"]
    assert [item.reason for item in result.parked] == ["no-version"]


def test_an_account_that_left_owes_nothing_after() -> None:
    left = agreed("RRK", ends_on=MID_JUNE)

    result = rate(tariff(per_unit("1")), used("RRK", "7", day=16), agreements=[left])

    assert result.charges == ()
    assert result.parked[0].quantity == 7


def test_a_volume_price_takes_the_tier_of_the_whole_month_in_each_version() -> None:
    steps = [
        {"up_to": "100", "unit_price": "1", "flat": "10"},
        {"up_to": None, "unit_price": "0.50", "flat": "6"},
    ]
    old = tariff({"model": "volume", "tiers": steps})
    new = tariff({"model": "volume", "tiers": steps}, version="2", starts="2026-06-16")

    whole = rate(old, used("RRK", "100", day=1), used("RRK", "50", day=20))
    cut = rate([old, new], used("RRK", "100", day=1), used("RRK", "50", day=20))

    assert amounts(whole) == ["81.00"]
    assert amounts(cut) == ["54.00", "27.00"]


def test_a_limit_of_the_month_is_one_limit_over_two_versions() -> None:
    old = tariff(per_unit("1", maximum="100", minimum="40"))
    new = tariff(per_unit("1", maximum="100", minimum="40"), version="2", starts="2026-06-11")

    capped = rate([old, new], used("RRK", "300", day=1), used("RRK", "100", day=20))
    raised = rate([old, new], used("RRK", "10", day=1))

    assert amounts(capped) == ["75.00", "25.00"]
    assert amounts(raised) == ["20.00", "20.00"]


def test_an_included_quantity_of_the_year_is_used_up_month_by_month() -> None:
    yearly = tariff(per_unit("0.024", included={"quantity": "10000", "per": "financial-year"}))

    april = rate(yearly, used("RRK", "6000", month=Month(2026, 4)), month=Month(2026, 4))
    may = rate(
        yearly,
        used("RRK", "6000", month=Month(2026, 5)),
        month=Month(2026, 5),
        history=april.positions,
    )
    next_april = rate(
        yearly,
        used("RRK", "6000", month=Month(2027, 4)),
        month=Month(2027, 4),
        history=may.positions,
    )

    assert [amounts(april), amounts(may), amounts(next_april)] == [["0.00"], ["48.00"], ["0.00"]]


def test_tiers_can_go_on_through_the_nhs_year() -> None:
    yearly = tariff(tiers(("100", "1"), (None, "0.10"), resets="financial-year"))
    history = [Position("RRK", None, "t", "m/graduated", Decimal(0), Decimal(90))]

    result = rate(yearly, used("RRK", "20"), history=history)

    assert amounts(result) == ["11.00"]
    assert result.positions == (
        Position("RRK", None, "t", "m/graduated", Decimal(0), Decimal(110)),
    )


def test_a_month_without_use_keeps_the_years_position() -> None:
    yearly = tariff(tiers(("100", "1"), (None, "0.10"), resets="financial-year"))
    history = (Position("RRK", None, "t", "m/graduated", Decimal(0), Decimal(90)),)

    assert rate(yearly, agreements=[agreed("RRK")], history=history).positions == history


def test_a_member_counts_for_the_days_it_is_a_member() -> None:
    pooled = tariff(tiers(("100", "1"), (None, "0.50"), scope="pool"))
    leaver = agreed("RVJ", pool=(Days(date(2026, 4, 1), MID_JUNE),))

    result = rate(
        pooled,
        used("RRK", "150", day=1),
        used("RVJ", "50", day=1),
        used("RVJ", "60", day=20),
        agreements=[agreed("RRK"), leaver],
    )

    # 200 jointly come to 150; the leaver's 60 later units follow its own 50.
    assert [(c.account, c.scope, str(c.amount)) for c in result.charges] == [
        ("RRK", "pool", "112.50"),
        ("RVJ", "pool", "37.50"),
        ("RVJ", "own", "55.00"),
    ]


def test_groups_share_among_their_own() -> None:
    grouped = tariff(tiers(("100", "1"), (None, "0.50"), scope="group"))
    north, south = (GroupMembership("QNX"),), (GroupMembership("QKS"),)

    result = rate(
        grouped,
        used("RA1", "100"),
        used("RB2", "100"),
        used("RC3", "100"),
        agreements=[
            agreed("RA1", groups=north),
            agreed("RB2", groups=north),
            agreed("RC3", groups=south),
        ],
    )

    assert amounts(result) == ["75.00", "75.00", "100.00"]
    assert [(pool.group, pool.members) for pool in result.pools] == [("QKS", 1), ("QNX", 2)]


def test_cutting_a_month_at_equal_prices_changes_no_exact_sum() -> None:
    price = tiers(("10", "3"), (None, "1.10"), included={"quantity": "3.5"}, maximum="19")
    old, same = tariff(price), tariff(price, version="2", starts="2026-06-16")
    usage = [used("RRK", "7.25", day=3), used("RRK", "9.125", day=28)]

    assert exact_sum(rate(old, *usage)) == exact_sum(rate([old, same], *usage)) == 19


def test_an_agreement_is_in_the_pool_unless_it_says_otherwise() -> None:
    assert Agreement("RRK", "t", JUNE.first_day).pool == (ALWAYS,)
    pooled = tariff(per_unit("1", scope="pool"))

    alone = rate(pooled, used("RRK", "2"), agreements=[agreed("RRK", pool=())])

    assert only(alone).scope == "own"
    assert alone.pools == ()


def test_a_tariff_without_a_version_in_force_is_named_as_the_reason() -> None:
    later = tariff(per_unit("1"), starts="2026-06-16")

    result = rate(later, used("RRK", "1", day=15))

    assert [item.reason for item in result.parked] == ["no-version"]


def test_a_volume_price_can_reach_its_tier_over_the_nhs_year() -> None:
    steps = [{"up_to": "100", "unit_price": "1"}, {"up_to": None, "unit_price": "0.50"}]
    yearly = tariff({"model": "volume", "tiers": steps, "resets": "financial-year"})
    history = [Position("RRK", None, "t", "m/volume", Decimal(0), Decimal(90))]

    result = rate(yearly, used("RRK", "20"), history=history)

    assert amounts(result) == ["10.00"]
    assert result.charges[0].working[0]["text"].startswith("The financial year's 110 reach")
