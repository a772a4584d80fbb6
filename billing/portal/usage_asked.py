"""What an address of the usage explorer asks for. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal
from urllib.parse import urlencode

from metering.periods import Month

View = Literal["month", "day", "hour"]


@dataclass(frozen=True)
class UsageAsked:
    """Which usage is looked at.

    Attributes:
        month: the month in hand.
        meter: code, empty for all meters of the month.
        view: a row for each month of a year, each day of the month, or each hour of a day.
        day: the London date of an hourly view.
        split: the dimension whose values are told apart.
        where: values that dimensions must have, as pairs sorted by name.
    """

    month: Month
    meter: str = ""
    view: View = "day"
    day: date | None = None
    split: str = ""
    where: tuple[tuple[str, str], ...] = ()

    def href(self, path: str, **changes: Any) -> str:
        """Return the address that asks for this with some parts changed."""
        other = replace(self, **changes)
        return f"{path}?{urlencode(other.query())}"

    def query(self) -> list[tuple[str, str]]:
        """Return the parts of an address, what is usual left out."""
        parts = [("meter", self.meter), ("month", str(self.month))]
        parts.append(("view", "" if self.view == "day" else self.view))
        parts.append(("day", "" if self.day is None else self.day.isoformat()))
        parts.append(("split", self.split))
        parts += [(f"d.{name}", value) for name, value in self.where]
        return [(name, text) for name, text in parts if text]


def read_usage_asked(
    query: Mapping[str, str], *, today: date, dimensions: Collection[str] = ()
) -> UsageAsked:
    """Read an address; what makes no sense is left out.

    Args:
        query: the address's query; `d.modality=CT` narrows a dimension.
        today: London date; its month is the usual one.
        dimensions: those of the meter that is asked for.
    """
    day = _day(query.get("day", ""))
    month = Month.of_day(day) if day else _month(query.get("month", "")) or Month.of_day(today)
    view: View = "month" if query.get("view") == "month" else "day"
    if day is not None and query.get("view") == "hour":
        view = "hour"
    pairs = {key[2:]: text for key, text in query.items() if key.startswith("d.")}
    return UsageAsked(
        month=month,
        meter=query.get("meter", ""),
        view=view,
        day=day,
        split=query["split"] if query.get("split") in dimensions else "",
        where=tuple(sorted((name, text) for name, text in pairs.items() if name in dimensions)),
    )


def _month(text: str) -> Month | None:
    try:
        return Month.parse(text)
    except ValueError:
        return None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    # A month before or after those that exist cannot be looked at.
    return day if 2000 <= day.year <= 2200 else None
