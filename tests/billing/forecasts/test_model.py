"""Foretelling usage, without a database."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.forecasts.model import (
    CASES,
    AccountForecast,
    Part,
    Window,
    days_between,
    parts_json,
    profile_of,
    read_parts,
    rest_of_month,
    tried,
)
from metering.readings.model import Recent

# A Monday with no bank holiday near: eleven working days are left.
AS_OF = date(2026, 11, 16)
LEFT = days_between(AS_OF, date(2026, 12, 1))
HOSPITAL = (1400, 1400, 1400, 1400, 1400, 0, 0)


def recent(*weeks: int, today: int = 0, **facts: object) -> Recent:
    given: dict[str, object] = {
        "ods_code": "RRK",
        "meter": "studies",
        "dimensions": (),
        "hour": None,
        "weeks": tuple(map(Decimal, weeks)),
        "today": Decimal(today),
        "adds_up": True,
        "this_month": Decimal(0),
        "last_month": Decimal(0),
    }
    return Recent(**(given | facts))  # type: ignore[arg-type] - a maker of facts


def totals(item: Recent, *, first: date = date(2026, 10, 1)) -> dict[str, Decimal]:
    found = rest_of_month(
        [item],
        profiles={("studies", None): HOSPITAL},
        window=Window(as_of=AS_OF, first=max(first, AS_OF - timedelta(weeks=4))),
        days=[LEFT],
    )
    return {case: sum((u.quantity for u in found[case]), Decimal(0)) for case in CASES}


def test_a_profile_finds_the_weekday_and_takes_bank_holidays_for_sundays() -> None:
    days = {
        day: Decimal(10)
        for day in days_between(date(2026, 7, 20), date(2026, 9, 14))
        if day.weekday() < 5 and day != date(2026, 8, 31)
    }
    profile = profile_of(days, first=date(2026, 7, 20), end=date(2026, 9, 14))
    # 39 working days of 56 carry everything.
    assert profile == (1435, 1435, 1435, 1435, 1435, 0, 0)


def test_a_profile_of_nothing_is_flat() -> None:
    assert profile_of({}, first=date(2026, 7, 20), end=AS_OF) == (1000,) * 7


def test_eleven_working_days_at_the_run_rate_are_left() -> None:
    # 100 a week of five working days is 20 a day.
    assert totals(recent(100, 100, 100, 100)) == dict.fromkeys(CASES, Decimal(220))


def test_the_range_is_the_slowest_and_the_fastest_week() -> None:
    assert totals(recent(80, 100, 100, 120)) == {
        "low": Decimal(176),
        "expected": Decimal(220),
        "high": Decimal(264),
    }


def test_what_is_in_today_counts_where_it_is_more_than_expected() -> None:
    assert totals(recent(100, 100, 100, 100, today=70))["expected"] == Decimal(270)
    assert totals(recent(100, 100, 100, 100, today=5))["expected"] == Decimal(220)


def test_who_began_last_week_is_judged_by_that_week() -> None:
    assert totals(recent(0, 0, 0, 100), first=date(2026, 11, 9))["expected"] == Decimal(220)


def test_who_began_on_friday_has_a_range_from_nothing_to_double() -> None:
    assert totals(recent(0, 0, 0, 20), first=date(2026, 11, 13)) == {
        "low": Decimal(0),
        "expected": Decimal(220),
        "high": Decimal(440),
    }


def test_a_level_is_expected_as_last_month_and_never_twice() -> None:
    level = recent(0, 900, 0, 0, adds_up=False, last_month=Decimal(900))
    assert totals(level) == {"low": Decimal(0), "expected": Decimal(900), "high": Decimal(900)}
    known = recent(0, 0, 950, 0, adds_up=False, this_month=Decimal(950), last_month=Decimal(900))
    assert totals(known) == dict.fromkeys(CASES, Decimal(0))


@given(
    weeks=st.lists(st.integers(0, 10**6), min_size=4, max_size=4),
    today=st.integers(0, 10**5),
)
def test_low_is_never_above_expected_nor_expected_above_high(weeks: list[int], today: int) -> None:
    found = totals(recent(*weeks, today=today))
    assert Decimal(today) - Decimal("0.001") <= found["low"]
    assert found["low"] <= found["expected"] <= found["high"]


def test_parts_are_read_back_equal() -> None:
    part = Part(service="s", meter="m", expected=Decimal("1.50"), high=Decimal("2.00"))
    assert read_parts(parts_json([part])) == (part,)


def test_a_forecast_is_measured_against_what_came() -> None:
    parts = {"A": "90.00", "B": "120.00"}
    found = tried(
        AS_OF,
        forecast={
            code: AccountForecast(
                organisation=code,
                parts=(
                    Part(
                        service="s",
                        meter="m",
                        low=Decimal(expected) - 5,
                        expected=Decimal(expected),
                        high=Decimal(expected) + 15,
                    ),
                ),
            )
            for code, expected in parts.items()
        },
        actual={"A": Decimal("100.00"), "B": Decimal("100.00")},
    )
    assert (str(found.error_percent), str(found.spread_percent)) == ("5.0", "15.0")
    assert str(found.in_range_percent) == "50.0"
