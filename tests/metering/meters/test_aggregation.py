"""Levels are weighted by real time, and arrival order never matters."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.meters.aggregation import (
    latest,
    level_hours,
    maximum,
    minimum,
    standing_count,
    time_weighted,
    total,
    unique_count,
)
from metering.periods import Month, Period

MARCH = Month(2026, 3).period
LEVELS = st.lists(
    st.tuples(
        st.integers(-50, 800).map(lambda hours: MARCH.start + timedelta(hours=hours)),
        st.decimals(0, 1000, places=3),
    ),
    max_size=8,
)


def test_a_level_held_all_march_is_itself_and_lasts_743_hours() -> None:
    held = [(MARCH.start - timedelta(days=3), Decimal(1000))]

    assert time_weighted(held, period=MARCH) == 1000
    assert level_hours(held, period=MARCH) == 743_000


def test_a_level_lasts_until_the_next_says_another() -> None:
    day = Period(datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC))
    levels = [
        (day.start + timedelta(hours=6), Decimal(10)),
        (day.start + timedelta(hours=18), Decimal(2)),
    ]

    assert level_hours(levels, period=day, initial=Decimal(4)) == 6 * 4 + 12 * 10 + 6 * 2


@given(LEVELS, st.randoms())
def test_order_of_arrival_changes_nothing(levels, random) -> None:
    shuffled = list(levels)
    random.shuffle(shuffled)

    assert time_weighted(levels, period=MARCH) == time_weighted(shuffled, period=MARCH)
    assert latest(levels) == latest(shuffled)


@given(LEVELS)
def test_days_add_up_to_the_month(levels) -> None:
    hours = sum(
        level_hours(levels, period=Period(start, start + timedelta(hours=1)))
        for start in (MARCH.start + timedelta(hours=hour) for hour in range(743))
    )

    assert hours == level_hours(levels, period=MARCH)


def test_no_observation_is_no_maximum() -> None:
    assert maximum([]) is None
    assert minimum([]) is None
    assert latest([]) is None
    assert total([]) == 0


def test_identity_is_a_pair_never_a_joined_string() -> None:
    assert unique_count([("a-b", "c"), ("a", "b-c"), ("a", "b-c")]) == 2


def test_a_change_is_add_or_remove() -> None:
    assert standing_count([("add", "x"), ("remove", "y"), ("add", "x")]) == 1
    with pytest.raises(ValueError, match="neither"):
        standing_count([("drop", "x")])


def test_a_running_period_has_no_average() -> None:
    with pytest.raises(ValueError, match="running"):
        time_weighted([], period=Period(MARCH.start))
