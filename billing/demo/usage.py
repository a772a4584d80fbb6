"""A month of believable usage, the same each time for the same plan. Pure.

What a trust uses in the month does not depend on how many events report it
(except where one event is one unit): more events are finer slices of the same
volume. Every random draw comes from the plan's seed, so an event has the same
id, instant and quantities on every run, and posting a month twice changes nothing.
"""

import heapq
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import accumulate, pairwise
from uuid import UUID

from billing.demo import reference
from billing.demo.catalogue import Service, Stream
from billing.demo.reference import Body
from metering.periods import Month, london

DEFAULT_SEED = 2026

_FINE = 1 << 20
_HOUR_MS = 3_600_000


def _profile(percents: str) -> tuple[int, ...]:
    return tuple(map(int, percents.split()))


# Relative use by London clock hour; the night shift is never quite idle.
_HOURS: Mapping[str, tuple[int, ...]] = {
    "hospital": _profile("4 3 3 3 3 4 6 12 34 52 56 54 44 50 54 52 44 32 22 16 13 10 8 6"),
    "office": _profile("1 1 1 1 1 1 2 8 36 58 60 56 40 52 56 50 36 16 6 3 2 2 1 1"),
    "always": _profile("18 15 13 13 13 14 17 22 30 36 38 38 36 36 36 35 34 33 32 30 28 26 23 20"),
}
# Relative use by weekday, Monday first, in percent.
_WEEKDAYS: Mapping[str, tuple[int, ...]] = {
    "hospital": (108, 106, 104, 102, 96, 38, 28),
    "office": (108, 106, 104, 102, 92, 10, 5),
    "always": (104, 102, 101, 100, 101, 96, 96),
}


@dataclass(frozen=True)
class Plan:
    """What decides every event of the demonstration.

    Attributes:
        month: the London month that usage falls in.
        trust_count: at most this many trusts, the largest first.
        event_count: events to report the month with, about.
        seed: another seed is another month.
    """

    month: Month
    trust_count: int = 200
    event_count: int = 250_000
    seed: int = DEFAULT_SEED


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One report of usage, not yet on the wire.

    Attributes:
        event_id: a UUID version 7 made of the instant and the seed.
        at: when the usage happened, UTC.
        quantities: members of `data` that are added up, exact.
    """

    event_id: str
    event_type: str
    organisation: str
    at: datetime
    dimensions: Mapping[str, str]
    quantities: Mapping[str, Decimal]


def chosen_trusts(plan: Plan) -> tuple[Body, ...]:
    """Return the trusts of the plan, largest first: open through the whole month."""
    first, end = plan.month.first_day, plan.month.end_day
    open_trusts = [body for body in reference.trusts() if body.open_throughout(first, end)]
    open_trusts.sort(key=lambda body: (-reference.size(body), body.ods_code))
    return tuple(open_trusts[: plan.trust_count])


def is_used_by(service: Service, body: Body) -> bool:
    """Say whether a trust is on the tariff of a service."""
    return body.kind in service.used_by and reference.size(body) >= service.least_size


def events_of(plan: Plan, service: Service, *, services: Sequence[Service]) -> Iterator[UsageEvent]:
    """Yield the events of one service in order of time.

    Args:
        services: the whole catalogue; a stream's part of the events is its weight
            over the weight of all.
    """
    slices = [
        _slices(plan, service, part)
        for stream in service.streams
        for part in _parts(plan, service, stream, services=services)
    ]
    return heapq.merge(*slices, key=lambda event: (event.at, event.event_id))


def count_of(plan: Plan, service: Service, *, services: Sequence[Service]) -> int:
    """Return how many events `events_of` yields, without making them."""
    return sum(
        part.count
        for stream in service.streams
        for part in _parts(plan, service, stream, services=services)
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What one trust uses of one stream: `units`, None where an event is one, in `count` events."""

    stream: Stream
    body: Body
    count: int
    units: int | None


def _parts(
    plan: Plan, service: Service, stream: Stream, *, services: Sequence[Service]
) -> Iterator[_Part]:
    all_weights = sum(stream.weight for entry in services for stream in entry.streams)
    users = [body for body in chosen_trusts(plan) if is_used_by(service, body)]
    if not users:
        return
    sizes = [reference.size(body) for body in users]
    counts = _shares(plan.event_count * stream.weight // all_weights, sizes)
    volumes: Sequence[int | None] = [None] * len(users)
    if stream.national is not None:
        volumes = _shares(stream.national, sizes)
    elif stream.volume is not None:
        volumes = [reference.monthly_volume(body, stream.volume) for body in users]
    for body, count, units in zip(users, counts, volumes, strict=True):
        if units is not None:
            # Every unit is reported, and every event reports at least one.
            count = min(max(count, 1), units)
        yield _Part(stream, body, count, units)


def _shares(whole: int, sizes: Sequence[Decimal]) -> list[int]:
    """Cut a whole number in proportion to sizes; the parts add up to it."""
    total = sum(sizes)
    parts = [0, *(int(whole * reached / total) for reached in accumulate(sizes))]
    return [after - before for before, after in pairwise(parts)]


def _slices(plan: Plan, service: Service, part: _Part) -> Iterator[UsageEvent]:
    stream, body, count, units = part.stream, part.body, part.count, part.units
    labels = ",".join(f"{name}={value}" for name, value in sorted(stream.dimensions.items()))
    # Text seeds are hashed with SHA-512, the same on every machine and version.
    draw = random.Random(  # noqa: S311 - believable, not secret
        f"{plan.seed}|{plan.month}|{plan.event_count}|{service.code}|{labels}|{body.ods_code}"
    )
    hours, reached = _hours(plan.month, stream.clock)
    given = 0
    for index in range(count):
        at = _instant(hours, reached, index * _FINE + draw.randrange(_FINE), count * _FINE)
        quantities: dict[str, Decimal] = {}
        if units is not None and stream.quantity is not None:
            spare = units - count
            reach = index * _FINE + draw.randrange(_FINE)
            cut = spare if index == count - 1 else spare * reach // (count * _FINE)
            quantity, given = 1 + cut - given, cut
            quantities[stream.quantity] = Decimal(quantity)
            if stream.megabytes is not None:
                # Megabytes a unit, within a fifth of the usual; five places of gigabytes.
                gigabytes = quantity * stream.megabytes * draw.randint(80, 120)
                quantities["gigabytes"] = Decimal(gigabytes).scaleb(-5)
        yield UsageEvent(
            event_id=_event_id(at, draw),
            event_type=stream.event_type,
            organisation=body.ods_code,
            at=at,
            dimensions=stream.dimensions,
            quantities=quantities,
        )


def _instant(hours: Sequence[datetime], reached: Sequence[int], part: int, whole: int) -> datetime:
    """Return the instant by which `part` of `whole` of the month's use has happened."""
    place = part * reached[-1] * _HOUR_MS // whole
    hour = bisect_right(reached, place // _HOUR_MS)
    before = reached[hour - 1] if hour else 0
    into_hour = (place - before * _HOUR_MS) // (reached[hour] - before)
    return hours[hour] + timedelta(milliseconds=into_hour)


@cache
def _hours(month: Month, clock: str) -> tuple[tuple[datetime, ...], tuple[int, ...]]:
    """Return the hours of a London month and the use reached by the end of each."""
    starts = tuple(month.period.start + timedelta(hours=hour) for hour in range(month.period.hours))
    local = [london(start) for start in starts]
    use = [_HOURS[clock][at.hour] * _WEEKDAYS[clock][at.weekday()] for at in local]
    return starts, tuple(accumulate(use))


def _event_id(at: datetime, draw: random.Random) -> str:
    """Return a UUID version 7 (RFC 9562) whose random bits come from the seed."""
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    value = milliseconds << 80 | 0x7 << 76 | draw.getrandbits(12) << 64
    return str(UUID(int=value | 0x2 << 62 | draw.getrandbits(62)))
