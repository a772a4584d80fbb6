"""Price models, one by one, in pounds and pence."""

from decimal import Decimal

import pytest

from billing.rating.model import Days
from metering.periods import Month
from tests.billing.rating.make import (
    JUNE,
    agreed,
    amounts,
    only,
    per_unit,
    rate,
    tariff,
    tiers,
    used,
)


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [("0", "0.00"), ("10", "10.00"), ("10.5", "10.25"), ("20", "15.00"), ("20.000000001", "15.00")],
)
def test_tier_bounds_are_inclusive_and_fractions_fall_in_no_hole(
    quantity: str, amount: str
) -> None:
    graduated = tariff(tiers(("10", "1"), ("20", "0.50"), (None, "0.25")))

    charge = only(rate(graduated, used("RRK", quantity)))

    assert str(charge.amount) == amount


def test_a_started_package_counts_and_included_units_come_first() -> None:
    packaged = tariff(
        {
            "model": "package",
            "package_size": "100",
            "package_price": "3",
            "included": {"quantity": "50"},
        }
    )

    assert only(rate(packaged, used("RRK", "250.5"))).amount == Decimal("9.00")
    assert only(rate(packaged, used("RRK", "50"))).amount == 0


def test_a_percentage_is_of_the_metered_value() -> None:
    share = tariff({"model": "percentage", "percent": "1.5"})

    assert only(rate(share, used("RRK", "1234.56"))).exact == Decimal("18.5184")


def test_a_month_has_its_flat_amount_without_usage() -> None:
    flat = tariff({"model": "flat", "amount": "300", "meter": None})

    assert amounts(rate(flat, agreements=[agreed("RRK")])) == ["300.00"]


@pytest.mark.parametrize(
    ("month", "first", "amount"),
    [(Month(2026, 6), 16, "150.00"), (Month(2026, 10), 25, "67.74"), (Month(2027, 2), 28, "10.71")],
)
def test_a_flat_amount_is_prorated_by_london_days(month: Month, first: int, amount: str) -> None:
    flat = tariff({"model": "flat", "amount": "300", "meter": None})
    joins = month.first_day.replace(day=first)

    result = rate(flat, month=month, agreements=[agreed("RRK", starts_on=joins)])

    assert amounts(result) == [amount]
    assert "days" in result.charges[0].working[0]["text"]


def test_a_flat_amount_covers_the_use_of_its_meter() -> None:
    flat = tariff({"model": "flat", "amount": "300"})

    charge = only(rate(flat, used("RRK", "12")))

    assert (charge.amount, charge.quantity) == (Decimal("300.00"), 12)


def test_the_most_specific_price_wins() -> None:
    matrix = tariff(
        per_unit("1"),
        per_unit("2", where={"modality": "CT"}),
        per_unit("3", where={"modality": "CT", "size": "L"}),
    )

    result = rate(
        matrix,
        used("RRK", "1", where={"modality": "MR"}),
        used("RRK", "1", where={"modality": "CT", "size": "S"}),
        used("RRK", "1", where={"modality": "CT", "size": "L", "site": "A"}),
    )

    assert amounts(result) == ["1.00", "2.00", "3.00"]


def test_bands_follow_the_london_clock() -> None:
    banded = tariff(
        per_unit("2", band="peak"), per_unit("1"), bands={"peak": "Mon-Fri 08:00-18:00"}
    )
    monday, saturday = 1, 6

    result = rate(
        banded,
        used("RRK", "1", day=monday, hour=8),
        used("RRK", "10", day=monday, hour=18),
        used("RRK", "100", day=saturday, hour=8),
    )

    assert {charge.band: charge.amount for charge in result.charges} == {
        "peak": Decimal("2.00"),
        None: Decimal("110.00"),
    }


def test_a_banded_meter_needs_the_hour() -> None:
    banded = tariff(per_unit("2", band="peak"), bands={"peak": "08:00-18:00"})

    result = rate(banded, used("RRK", "1"), used("RRK", "3", hour=19))

    assert [(item.reason, item.quantity) for item in result.parked] == [
        ("no-hour", 1),
        ("no-price", 3),
    ]


def test_discount_then_maximum_then_minimum_then_rounding() -> None:
    discounted = tariff(per_unit("1", discount_percent="10", maximum="80", minimum="50"))

    assert only(rate(discounted, used("RRK", "60"))).amount == Decimal("54.00")
    assert only(rate(discounted, used("RRK", "1000"))).amount == Decimal("80.00")
    assert only(rate(discounted, used("RRK", "1"))).amount == Decimal("50.00")
    assert [step["step"] for step in only(rate(discounted, used("RRK", "1"))).working] == [
        "price",
        "discount",
        "minimum",
        "round",
    ]


def test_a_minimum_is_owed_without_usage_and_prorated_on_joining() -> None:
    least = tariff(per_unit("1", minimum="50"))
    joined = agreed("RRK", starts_on=JUNE.first_day.replace(day=16))

    assert amounts(rate(least, agreements=[agreed("RRK")])) == ["50.00"]
    assert amounts(rate(least, agreements=[joined])) == ["25.00"]


def test_no_usage_is_no_charge() -> None:
    assert rate(tariff(per_unit("1")), agreements=[agreed("RRK")]).charges == ()


def test_a_price_converts_the_metered_unit_first() -> None:
    storage = tariff(
        per_unit("0.02", convert={"divide_by": "1000000000", "unit": "GB"}),
        per_unit("6", meter="seconds", convert={"divide_by": "3600", "unit": "hour"}),
    )

    result = rate(storage, used("RRK", "1500000000"), used("RRK", "1200", meter="seconds"))

    assert amounts(result) == ["0.03", "2.00"]
    assert result.charges[0].unit == "GB"
    assert result.charges[0].working[0]["text"] == (
        "1,500,000,000 metered ÷ 1,000,000,000 = 1.5 GB."
    )


def test_usage_past_a_last_tier_with_an_end_is_parked_never_nought() -> None:
    ended = tariff(tiers(("10", "1")))

    result = rate(ended, used("RRK", "10.1"))

    assert result.charges == ()
    assert [(item.reason, item.quantity) for item in result.parked] == [
        ("beyond-last-tier", Decimal("10.1"))
    ]


def test_every_unpriced_piece_says_why() -> None:
    priced = tariff(per_unit("1", where={"modality": "CT"}))
    left = agreed("RVJ", ends_on=JUNE.first_day.replace(day=10))

    result = rate(
        priced,
        used("RRK", "1", where={"modality": "MR"}),
        used("RRK", "-2", where={"modality": "CT"}),
        used("RVJ", "3", day=10, where={"modality": "CT"}),
        used("RXX", "4"),
        agreements=[agreed("RRK"), left],
    )

    assert [(item.account, item.reason) for item in result.parked] == [
        ("RRK", "negative-quantity"),
        ("RRK", "no-price"),
        ("RVJ", "no-agreement"),
        ("RXX", "no-agreement"),
    ]
    assert result.charges == ()


def test_two_agreements_that_both_price_the_usage_are_refused() -> None:
    result = rate(tariff(per_unit("1")), used("RRK", "1"), agreements=[agreed("RRK")] * 2)

    assert [item.reason for item in result.parked] == ["two-tariffs"]


def test_usage_outside_the_month_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="outside"):
        rate(tariff(per_unit("1")), used("RRK", "1", month=JUNE.next))


def test_the_working_reads_as_a_sum_that_can_be_checked() -> None:
    graduated = tariff(
        tiers(("999", "3.14"), ("4999", "2"), (None, "1.5"), included={"quantity": "1000"})
    )

    charge = only(rate(graduated, used("RRK", "3587")))

    assert [step["text"] for step in charge.working] == [
        "1,000 are included each month: 1,000 of 3,587 cost nothing and 2,587 are charged.",
        "The first 999 at £3.14 = £3,136.86; the next 1,588 at £2.00 = £3,176.00; "
        "together £6,312.86.",
        "£6,312.86 exactly: nothing to round.",
    ]
    assert charge.exact_text == "6312.86"


def test_days_are_half_open() -> None:
    days = Days(JUNE.first_day, JUNE.end_day)

    assert JUNE.first_day in days
    assert JUNE.end_day not in days
