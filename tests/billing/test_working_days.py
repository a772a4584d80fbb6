"""Bank holidays as GOV.UK lists them, and the first working day of a month."""

from datetime import date

import pytest

from billing.working_days import bank_holidays, is_working_day, weekday_as_used, working_day
from metering.periods import Month

# https://www.gov.uk/bank-holidays, England and Wales.
LISTED = {
    2021: "01-01 04-02 04-05 05-03 05-31 08-30 12-27 12-28",
    2022: "01-03 04-15 04-18 05-02 06-02 06-03 08-29 09-19 12-26 12-27",
    2023: "01-02 04-07 04-10 05-01 05-08 05-29 08-28 12-25 12-26",
    2024: "01-01 03-29 04-01 05-06 05-27 08-26 12-25 12-26",
    2025: "01-01 04-18 04-21 05-05 05-26 08-25 12-25 12-26",
    2026: "01-01 04-03 04-06 05-04 05-25 08-31 12-25 12-28",
    2027: "01-01 03-26 03-29 05-03 05-31 08-30 12-27 12-28",
}


@pytest.mark.parametrize("year", LISTED)
def test_bank_holidays_are_those_that_the_government_lists(year: int) -> None:
    listed = {date.fromisoformat(f"{year}-{day}") for day in LISTED[year].split()}
    assert bank_holidays(year) == listed


def test_the_first_working_day_skips_weekends_and_bank_holidays() -> None:
    assert working_day(Month(2026, 1), 1) == date(2026, 1, 2)
    assert working_day(Month(2026, 8), 1) == date(2026, 8, 3)
    assert working_day(Month(2024, 4), 1) == date(2024, 4, 2)
    assert working_day(Month(2026, 4), 3) == date(2026, 4, 7)
    with pytest.raises(ValueError, match="from 1"):
        working_day(Month(2026, 4), 0)


def test_a_bank_holiday_is_used_like_a_sunday() -> None:
    assert not is_working_day(date(2026, 4, 6))
    assert weekday_as_used(date(2026, 4, 6)) == 6
    assert weekday_as_used(date(2026, 4, 7)) == 1
