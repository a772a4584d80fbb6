"""English working days: Monday to Friday without bank holidays. Pure.

Bank holidays follow the Banking and Financial Dealings Act 1971 and the substitute days that
are proclaimed each year when one falls on a weekend. What was proclaimed once, or moved, is
listed by hand.
"""

from datetime import date, timedelta
from functools import cache

from metering.periods import Month

_DAY = timedelta(days=1)

# ASSUMPTION: no further bank holiday has been proclaimed or moved; add it here when one is.
_ONCE = {
    date(2020, 5, 8),  # VE Day, instead of the early May holiday
    date(2022, 6, 2),  # instead of the spring holiday
    date(2022, 6, 3),  # Platinum Jubilee
    date(2022, 9, 19),  # state funeral
    date(2023, 5, 8),  # coronation
}
_NOT = {date(2020, 5, 4), date(2022, 5, 30)}


@cache
def bank_holidays(year: int) -> frozenset[date]:
    """Return the bank holidays of England and Wales in a year.

    >>> sorted(bank_holidays(2027))[-2:]
    [datetime.date(2027, 12, 27), datetime.date(2027, 12, 28)]
    """
    easter = _easter(year)
    found = {
        _on_or_after_weekend(date(year, 1, 1)),
        easter - 2 * _DAY,
        easter + _DAY,
        _monday(year, 5, first=True),
        _monday(year, 5, first=False),
        _monday(year, 8, first=False),
    }
    # Where Christmas or Boxing Day falls on a weekend, the next free weekday stands in.
    christmas = date(year, 12, 25).weekday()
    days = {4: (25, 28), 5: (27, 28), 6: (26, 27)}.get(christmas, (25, 26))
    found |= {date(year, 12, day) for day in days}
    found |= {day for day in _ONCE if day.year == year}
    return frozenset(found - _NOT)


def is_working_day(day: date) -> bool:
    """Say whether banks in England are open on a London date."""
    return day.weekday() < 5 and day not in bank_holidays(day.year)


def working_day(month: Month, number: int) -> date:
    """Return the first, second … working day of a month (`number` from 1).

    >>> working_day(Month(2026, 5), 1), working_day(Month(2027, 1), 1)
    (datetime.date(2026, 5, 1), datetime.date(2027, 1, 4))
    """
    if number < 1:
        raise ValueError("working days are counted from 1")
    day = month.first_day
    while True:
        number -= is_working_day(day)
        if number == 0:
            return day
        day += _DAY


def working_days_after(day: date, count: int) -> date:
    """Return the London date that is `count` working days after `day`.

    >>> working_days_after(date(2026, 12, 23), 2)
    datetime.date(2026, 12, 29)
    """
    if count < 1:
        raise ValueError("working days are counted from 1")
    while count:
        day += _DAY
        count -= is_working_day(day)
    return day


def weekday_as_used(day: date) -> int:
    """Return Monday 0 to Sunday 6, a bank holiday counting as a Sunday."""
    return 6 if day in bank_holidays(day.year) else day.weekday()


def _monday(year: int, month: int, *, first: bool) -> date:
    if first:
        day = date(year, month, 1)
        return day + (-day.weekday() % 7) * _DAY
    day = Month(year, month).end_day - _DAY
    return day - day.weekday() * _DAY


def _on_or_after_weekend(day: date) -> date:
    return day + (7 - day.weekday()) * _DAY if day.weekday() >= 5 else day


def _easter(year: int) -> date:
    """Return Easter Sunday (the anonymous Gregorian computus)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)
