"""Readings of meters that cannot be added up event by event. Pure.

A month's quantity is always the sum of its daily readings, whatever the meter.
So each day of such a meter holds what that day contributed to the month:

- `max`, `min`, `latest`: the month's figure stands on the day that decided it
  (the first day that reached the maximum or minimum, the day of the last event);
  every other day with events reads 0.
- `unique`: a value counts on the first day of the month on which it was seen.
- `time-weighted`: the level multiplied by its real time on that day, over the
  real time of the month; a level of 1,000 held all March adds up to 1,000.

Levels (`latest`, `time-weighted`) last until the next event says another, across
days and months, until an event says 0. They are known up to the end of the day
`through_on`; a job carries them on. A month without an event of a `latest` meter
holds the carried level on its first day.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from metering.meters.aggregation import level_hours
from metering.meters.model import LATEST, MAX, MIN, TIME_WEIGHTED, UNIQUE
from metering.periods import Month, Period, london_day, london_midnight

PLACES = 9


@dataclass(frozen=True, slots=True)
class Observation:
    """One stored event of such a meter.

    Attributes:
        withdrawn: another record cancelled it.
        value: what a `unique` meter counts.
    """

    dimension_set_id: int
    occurred_at: datetime
    quantity: Decimal
    withdrawn: bool = False
    value: str | None = None


class Total(NamedTuple):
    """A reading's quantity, and its events less those withdrawn."""

    quantity: Decimal
    event_count: int


Key = tuple[int, date]
"""Dimension set and London day."""


def month_readings(
    aggregation: str,
    observations: Sequence[Observation],
    *,
    month: Month,
    carried: Mapping[int, Decimal],
    through_on: date,
) -> dict[Key, Total]:
    """Return the readings of one subject and meter in a month.

    Args:
        aggregation: one that is not additive.
        observations: all of the month, withdrawn ones too, in any order.
        carried: for levels, by dimension set: the level at the month's start.
        through_on: last London day up to whose end levels are known.
    """
    quantities: dict[Key, Decimal] = {}
    counts: dict[Key, int] = defaultdict(int)
    live: dict[int, list[Observation]] = defaultdict(list)
    for seen in observations:
        key = (seen.dimension_set_id, london_day(seen.occurred_at))
        counts[key] += 0 if seen.withdrawn else 1
        quantities[key] = Decimal(0)
        if not seen.withdrawn:
            live[seen.dimension_set_id].append(seen)
    if aggregation == UNIQUE:
        for number, seen_there in live.items():
            for day, new in _first_seen(seen_there).items():
                quantities[number, day] = Decimal(new)
    elif aggregation in {MAX, MIN}:
        for number, seen_there in live.items():
            decides = _extreme(aggregation, seen_there)
            quantities[number, london_day(decides.occurred_at)] = decides.quantity
    elif aggregation == LATEST:
        for number in {*live, *carried}:
            day, level = _last_level(live.get(number, ()), carried.get(number), month)
            if day in {key[1] for key in counts if key[0] == number} or (
                level and day <= through_on
            ):
                quantities[number, day] = level
    else:
        assert aggregation == TIME_WEIGHTED, aggregation
        for number in {*live, *carried}:
            shares = _weighted(
                live.get(number, ()),
                carried.get(number, Decimal(0)),
                month=month,
                through_on=through_on,
            )
            for day, share in shares.items():
                if share or (number, day) in counts:
                    quantities[number, day] = share
    return {key: Total(quantity, counts[key]) for key, quantity in quantities.items()}


def _first_seen(observations: Iterable[Observation]) -> dict[date, int]:
    first: dict[str, date] = {}
    for seen in observations:
        day = london_day(seen.occurred_at)
        value = seen.value or ""
        first[value] = min(day, first.get(value, day))
    new: dict[date, int] = defaultdict(int)
    for day in first.values():
        new[day] += 1
    return new


def _extreme(aggregation: str, observations: Iterable[Observation]) -> Observation:
    sign = -1 if aggregation == MAX else 1
    return min(observations, key=lambda seen: (sign * seen.quantity, seen.occurred_at))


def _last_level(
    observations: Sequence[Observation], carried: Decimal | None, month: Month
) -> tuple[date, Decimal]:
    # Of several at one instant the greatest counts, so that order of arrival does not.
    last = max(observations, key=lambda seen: (seen.occurred_at, seen.quantity), default=None)
    if last is None:
        return month.first_day, Decimal(0) if carried is None else carried
    return london_day(last.occurred_at), last.quantity


def _weighted(
    observations: Sequence[Observation], carried: Decimal, *, month: Month, through_on: date
) -> dict[date, Decimal]:
    """Return each day's share of the month's average level.

    The running total is rounded to 9 places (half up) and each day is the difference
    of two of those, so that the days add up to the month's average, rounded once.
    """
    levels = sorted((seen.occurred_at, seen.quantity) for seen in observations)
    shares: dict[date, Decimal] = {}
    running, before = Fraction(), Decimal(0)
    level, place = carried, 0
    for day in month.days():
        if day > through_on:
            break
        period = Period(
            london_midnight(day), london_midnight(date.fromordinal(day.toordinal() + 1))
        )
        assert period.end is not None
        first = place
        while place < len(levels) and levels[place][0] < period.end:
            place += 1
        running += level_hours(levels[first:place], period=period, initial=level)
        if place > first:
            level = levels[place - 1][1]
        total = _rounded(running / month.period.hours)
        shares[day] = total - before
        before = total
    return shares


def _rounded(exact: Fraction) -> Decimal:
    """Return a non-negative fraction to 9 places, half up."""
    units = (exact.numerator * 10**PLACES * 2 + exact.denominator) // (2 * exact.denominator)
    with localcontext() as context:
        context.prec = 60
        return Decimal(units).scaleb(-PLACES)


WEEKS = 4
PROFILE_WEEKS = 8


class Recent(NamedTuple):
    """What an organisation used of a meter in the weeks before a London day.

    Attributes:
        dimensions: pairs sorted by name.
        hour: London clock hour, None where the meter is kept by the day.
        weeks: the last `WEEKS` weeks of seven days each, oldest first.
        today: what is in on the day itself.
        adds_up: whether use on one day comes on top of the other days'; the month's figure of
            a `max`, `min`, `latest` or `unique` meter does not grow day by day.
        this_month: before the day itself.
        last_month: all of it.
    """

    ods_code: str
    meter: str
    dimensions: tuple[tuple[str, str], ...]
    hour: int | None
    weeks: tuple[Decimal, ...]
    today: Decimal
    adds_up: bool
    this_month: Decimal
    last_month: Decimal
