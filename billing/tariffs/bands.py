"""Time-of-day bands on the London clock, for example `peak: "Mon-Fri 08:00-18:00"`.

A band is a set of the 168 (weekday, hour) slots of a week. Bands lie on whole
hours because a reading of a banded meter is kept for each London hour. The hour
that comes twice on the last Sunday of October counts by the clock both times.

# ASSUMPTION: bank holidays count as the weekday on which they fall.
"""

import re
from dataclasses import dataclass
from datetime import date

_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_NUMBERS = {name.lower(): number for number, name in enumerate(_DAY_NAMES)}
_PART = re.compile(
    r"(?P<days>[A-Za-z]{3}(?:-[A-Za-z]{3})?(?:\s*/\s*[A-Za-z]{3}(?:-[A-Za-z]{3})?)*)?"
    r"\s*(?P<start>\d{2}:\d{2})-(?P<end>\d{2}:\d{2})"
)


def slot_of(day: date, hour: int) -> int:
    """Return the slot of the week, 0 (Monday 00:00) to 167, of a London day and clock hour."""
    return day.weekday() * 24 + hour


@dataclass(frozen=True)
class Band:
    """A named part of the week.

    Attributes:
        name: how prices refer to it.
        text: as written in the tariff file.
        slots: hours of the week, 0 (Monday 00:00) to 167.
    """

    name: str
    text: str
    slots: frozenset[int]

    @classmethod
    def parse(cls, name: str, text: str) -> "Band":
        """Read `Mon-Fri 08:00-18:00`; several parts are joined by commas.

        Days are `Mon`, `Mon-Fri` or several joined by `/`; no day means every
        day. An end not after the start runs into the next morning, and belongs
        to the day on which it starts. `24:00` is the end of the day.

        Raises:
            ValueError: it cannot be read, or is not on whole hours.
        """
        slots: set[int] = set()
        for part in text.split(","):
            match = _PART.fullmatch(part.strip())
            if match is None:
                raise ValueError(f"'{part.strip()}' is not a band; write it as Mon-Fri 08:00-18:00")
            start, end = _hour(match["start"]), _hour(match["end"])
            if start == 24 or start == end:
                raise ValueError(f"'{part.strip()}' has no hours")
            hours = end - start if end > start else end - start + 24
            for day in _days(match["days"]):
                slots.update((day * 24 + start + offset) % 168 for offset in range(hours))
        return cls(name, text, frozenset(slots))


def _hour(text: str) -> int:
    hour, minute = int(text[:2]), int(text[3:])
    if minute != 0:
        raise ValueError(f"{text} is not a whole hour; bands lie on whole hours")
    if hour > 24:
        raise ValueError(f"{text} is not an hour of the day")
    return hour


def _days(text: str | None) -> list[int]:
    if text is None:
        return list(range(7))
    days: list[int] = []
    for span in text.split("/"):
        names = [name.strip().lower() for name in span.split("-")]
        if any(name not in _DAY_NUMBERS for name in names):
            raise ValueError(f"'{span.strip()}' is not a day; use {', '.join(_DAY_NAMES)}")
        first, last = _DAY_NUMBERS[names[0]], _DAY_NUMBERS[names[-1]]
        days.extend((first + offset) % 7 for offset in range((last - first) % 7 + 1))
    return days
