"""What a meter's observations of a span come to. Pure, exact, no order assumed.

An observation is an instant and a value. Levels are weighted by real time, so the
743 hours of March 2026 are 743, not 31 times 24. Nothing here rounds.
"""

from collections.abc import Hashable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

from metering.periods import Period

PRECISION = 120
_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)

Observation = tuple[datetime, Decimal]


def total(values: Iterable[Decimal]) -> Decimal:
    """Return the exact sum; nought of none. A reversal is a negative value."""
    with localcontext() as context:
        context.prec = PRECISION
        return sum(values, Decimal(0))


def maximum(values: Iterable[Decimal]) -> Decimal | None:
    """Return the greatest value, or None of none: no observation is no reading."""
    return max(values, default=None)


def minimum(values: Iterable[Decimal]) -> Decimal | None:
    """Return the least value, or None of none."""
    return min(values, default=None)


def latest(observations: Iterable[Observation]) -> Decimal | None:
    """Return the value at the last instant, or None of none.

    Of several at one instant the greatest counts, so that order of arrival does not.
    """
    last = max(observations, default=None)
    return None if last is None else last[1]


def unique_count(values: Iterable[Hashable]) -> int:
    """Return how many different values there are.

    Give tuples for an identity of several parts: ("a-b", "c") is not ("a", "b-c").
    """
    return len(set(values))


def standing_count(changes: Iterable[tuple[str, Hashable]]) -> int:
    """Return how many values stand after `add` and `remove` in the order given.

    Raises:
        ValueError: a change is neither.
    """
    standing: set[Hashable] = set()
    for operation, value in changes:
        if operation == "add":
            standing.add(value)
        elif operation == "remove":
            standing.discard(value)
        else:
            raise ValueError(f"'{operation}' is neither add nor remove")
    return len(standing)


def level_hours(
    levels: Iterable[Observation], *, period: Period, initial: Decimal = Decimal(0)
) -> Fraction:
    """Return level × real hours over a finished period, for example gigabyte-hours.

    Args:
        levels: each lasts from its instant until the next one. Those before the
            period say the level at its start; those after it are passed over. Of
            several at one instant the greatest counts.
        period: must have an end.
        initial: the level before the first observation.

    Raises:
        ValueError: the period has no end.
    """
    return _weigh(sorted(levels), period, initial) / (_HOUR // _TICK)


def time_weighted(
    levels: Iterable[Observation], *, period: Period, initial: Decimal = Decimal(0)
) -> Fraction:
    """Return the average level over a finished period, by real time.

    A level of 1,000 held all March is exactly 1,000. Arguments as for `level_hours`.

    Raises:
        ValueError: the period has no end.
    """
    return _weigh(sorted(levels), period, initial) / _ticks(period)


def weighted_changes(
    changes: Iterable[Observation], *, period: Period, initial: Decimal = Decimal(0)
) -> Fraction:
    """Return the average level, where each observation says by how much the level changes.

    Two changes at one instant both count; one at the period's end changes nothing in it.

    Raises:
        ValueError: the period has no end.
    """
    level = initial
    levels: list[Observation] = []
    with localcontext() as context:
        context.prec = PRECISION
        for instant, change in sorted(changes):
            level += change
            if levels and levels[-1][0] == instant:
                levels.pop()
            levels.append((instant, level))
    return _weigh(levels, period, initial) / _ticks(period)


def _weigh(levels: Iterable[Observation], period: Period, initial: Decimal) -> Fraction:
    """Return level × microseconds over the period, for levels sorted by instant."""
    if period.end is None:
        raise ValueError("a running period has no average yet")
    at, level = period.start, initial
    weighed = Fraction()
    for instant, value in levels:
        if instant >= period.end:
            break
        if instant > at:
            weighed += Fraction(level) * ((instant - at) // _TICK)
            at = instant
        level = value
    return weighed + Fraction(level) * ((period.end - at) // _TICK)


def _ticks(period: Period) -> int:
    assert period.end is not None
    return (period.end - period.start) // _TICK
