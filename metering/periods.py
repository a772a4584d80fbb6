"""Time as paygo bills it: London hours, days, months and NHS financial years.

Everything here is pure. Instants are aware UTC datetimes; spans are half-open
`[start, end)`; Europe/London appears nowhere else in the code. A London day
has 23, 24 or 25 hours: nobody adds 24 hours to get tomorrow.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def to_utc(instant: datetime) -> datetime:
    """Return `instant` in UTC.

    Raises:
        ValueError: it is naive.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC)


def london(instant: datetime) -> datetime:
    """Return the aware `instant` on the London clock, for showing and for bands."""
    return to_utc(instant).astimezone(LONDON)


def london_day(instant: datetime) -> date:
    """Return the London date on which `instant` falls.

    >>> london_day(datetime(2026, 3, 31, 23, 0, tzinfo=UTC))
    datetime.date(2026, 4, 1)
    """
    return london(instant).date()


def london_midnight(day: date) -> datetime:
    """Return the UTC instant at which the London date `day` begins."""
    return datetime.combine(day, time(), tzinfo=LONDON).astimezone(UTC)


@dataclass(frozen=True, order=True)
class Period:
    """A half-open span of instants; `end` None means "still running".

    >>> Period(london_midnight(date(2026, 3, 1)), london_midnight(date(2026, 4, 1))).hours
    743
    """

    start: datetime
    end: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", to_utc(self.start))
        if self.end is not None:
            object.__setattr__(self, "end", to_utc(self.end))
            if self.end <= self.start:
                raise ValueError("a period ends after it starts")

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)

    def intersection(self, other: "Period") -> "Period | None":
        """Return the span in both, or None where they do not meet."""
        start = max(self.start, other.start)
        ends = [end for end in (self.end, other.end) if end is not None]
        end = min(ends) if ends else None
        return None if end is not None and end <= start else Period(start, end)

    @property
    def hours(self) -> int:
        """Whole real hours in a finished period."""
        if self.end is None:
            raise ValueError("a running period has no length")
        return int((self.end - self.start) / timedelta(hours=1))


def day_period(day: date) -> Period:
    """Return the 23, 24 or 25 hours of a London date."""
    return Period(london_midnight(day), london_midnight(day + timedelta(days=1)))


def days_period(first: date, end: date | None) -> Period:
    """Return the period of London dates from `first` up to, not including, `end`."""
    return Period(london_midnight(first), None if end is None else london_midnight(end))


@dataclass(frozen=True, order=True)
class Month:
    """A London calendar month, the unit of billing.

    >>> str(Month.parse("2026-04").previous)
    '2026-03'
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (1 <= self.month <= 12 and 1 <= self.year <= 9998):
            raise ValueError(f"{self.year}-{self.month} is not a month")

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Read `YYYY-MM`.

        Raises:
            ValueError: it is anything else.
        """
        match = _MONTH.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a month; write it as YYYY-MM, for example 2026-04")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, instant: datetime) -> "Month":
        """Return the London month in which `instant` falls."""
        return cls.of_day(london_day(instant))

    @classmethod
    def of_day(cls, day: date) -> "Month":
        """Return the month of a London date."""
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    def shift(self, months: int) -> "Month":
        """Return the month `months` later (earlier when negative)."""
        index = self.year * 12 + self.month - 1 + months
        return Month(index // 12, index % 12 + 1)

    @property
    def next(self) -> "Month":
        """The month after."""
        return self.shift(1)

    @property
    def previous(self) -> "Month":
        """The month before."""
        return self.shift(-1)

    @property
    def first_day(self) -> date:
        """The first London date."""
        return date(self.year, self.month, 1)

    @property
    def end_day(self) -> date:
        """The first London date after the month (half-open end)."""
        return self.next.first_day

    @property
    def day_count(self) -> int:
        """Number of London dates."""
        return (self.end_day - self.first_day).days

    @property
    def period(self) -> Period:
        """Its instants: [first midnight, next first midnight) in London."""
        return days_period(self.first_day, self.end_day)

    def days(self) -> Iterator[date]:
        """Yield each London date in order."""
        for offset in range(self.day_count):
            yield self.first_day + timedelta(days=offset)

    @property
    def financial_year(self) -> int:
        """The NHS financial year, named by the calendar year in which it starts (1 April)."""
        return self.year if self.month >= 4 else self.year - 1

    @property
    def financial_month(self) -> int:
        """Month number in the financial year: April is 1 (M1), March 12 (M12)."""
        return (self.month - 4) % 12 + 1

    @property
    def name(self) -> str:
        """The month as the NHS service manual writes it, for example `April 2026`."""
        return f"{_MONTH_NAMES[self.month - 1]} {self.year}"


_MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def financial_year_start(financial_year: int) -> Month:
    """Return April, the first month of the NHS financial year."""
    return Month(financial_year, 4)


def financial_year_label(financial_year: int) -> str:
    """Return the year as the NHS writes it.

    >>> financial_year_label(2026)
    '2026/27'
    """
    return f"{financial_year}/{(financial_year + 1) % 100:02d}"


def show_date(day: date) -> str:
    """Return a date as the NHS service manual writes it, for example `1 April 2026`."""
    return f"{day.day} {_MONTH_NAMES[day.month - 1]} {day.year}"


def show_time(instant: datetime, *, seconds: bool = False) -> str:
    """Return an instant's London clock time as the manual writes it: `3:05pm`, `3:05:07pm`."""
    there = london(instant)
    exact = f":{there.second:02d}" if seconds else ""
    half = "am" if there.hour < 12 else "pm"
    return f"{there.hour % 12 or 12}:{there.minute:02d}{exact}{half}"


def show_moment(instant: datetime, *, seconds: bool = False) -> str:
    """Return an instant on the London clock, for example `1 April 2026 at 3:05pm`."""
    day = show_date(london(instant).date())
    return f"{day} at {show_time(instant, seconds=seconds)}"
