"""How the rest of a month is foretold from the weeks before. Pure.

A meter's **profile** says how much of it the nation uses on each weekday (a bank holiday
counts as a Sunday), in thousandths of an average day, from the last eight weeks. An account's
**run rate** of a meter, split by dimensions, is what it used in the last four weeks over the
profile of those days; an account that began later is looked at from its first day. The rest
of the month is run rate × profile of the days to come; of today, at least what is in already.

The **range** supposes that the rest of the month goes as the slowest, or as the fastest, of
those four weeks of the account's meter. With less than one whole week to look at, it reaches
from no further usage to twice what is expected.

A meter whose figure does not grow day by day (`max`, `min`, `latest`, `unique`) is expected to
come to what it came to last month, or to what it has come to already where that is more; its
low case is what it has come to already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Any, Literal

from billing.money import NOUGHT, PRECISION, sum_pounds
from billing.rating.model import Usage
from billing.working_days import weekday_as_used
from metering.readings.model import WEEKS, Recent

Case = Literal["low", "expected", "high"]
CASES: tuple[Case, ...] = ("low", "expected", "high")
AVERAGE = 1000
"""An average day in a profile."""

_PLACES = Decimal("0.001")
_ONE_DAY = timedelta(days=1)
Profile = Sequence[int]


def profile_of(days: Mapping[date, Decimal], *, first: date, end: date) -> Profile:
    """Return how much is used on Monday … Sunday, in thousandths of an average day.

    Args:
        days: the nation's use by day; a day that is not named had none.
        first, end: the London days looked at, half-open; those before the first use of all
            are left out, for the meter was not yet in use.

    A weekday that was never looked at, and everything where nothing was used, is average.
    """
    used = [day for day, quantity in days.items() if quantity > 0]
    if not used:
        return (AVERAGE,) * 7
    sums, counts = [Decimal(0)] * 7, [0] * 7
    day = max(first, min(used))
    while day < end:
        weekday = weekday_as_used(day)
        sums[weekday] += max(days.get(day, Decimal(0)), Decimal(0))
        counts[weekday] += 1
        day += _ONE_DAY
    with localcontext() as context:
        context.prec = PRECISION
        whole, looked_at = sum(sums), sum(counts)
        return tuple(
            int(AVERAGE * total * looked_at / (whole * count)) if count else AVERAGE
            for total, count in zip(sums, counts, strict=True)
        )


def weight(profile: Profile, days: Iterable[date]) -> int:
    """Return the profile's sum over London days."""
    return sum(profile[weekday_as_used(day)] for day in days)


def days_between(first: date, end: date) -> list[date]:
    """Return the London days of `[first, end)`."""
    return [first + _ONE_DAY * offset for offset in range((end - first).days)]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What can be looked at of one account, before a day.

    Attributes:
        as_of: the London day whose usage is not whole yet; looked at is before it.
        first: the first day of the account's usage, or of the window.
    """

    as_of: date
    first: date

    def days(self, week: int) -> list[date]:
        """Return the days looked at in a week, 0 the oldest."""
        start = self.as_of - timedelta(weeks=WEEKS - week)
        return days_between(max(start, self.first), max(start + timedelta(weeks=1), self.first))

    @property
    def whole_weeks(self) -> list[int]:
        """The weeks of which all seven days are looked at."""
        return [week for week in range(WEEKS) if len(self.days(week)) == 7]


def rest_of_month(
    recent: Sequence[Recent],
    *,
    profiles: Mapping[tuple[str, int | None], Profile],
    window: Window,
    days: Sequence[Sequence[date]],
) -> dict[Case, list[Usage]]:
    """Return what one account is expected to use from today to the month's end.

    Args:
        recent: everything that the account used lately.
        days: the London days left, today first, cut where prices change.
    """
    found: dict[Case, list[Usage]] = {case: [] for case in CASES}
    by_meter: dict[str, list[Recent]] = {}
    for item in recent:
        by_meter.setdefault(item.meter, []).append(item)
    with localcontext() as context:
        context.prec = PRECISION
        for items in by_meter.values():
            spread = _spread(items, profiles, window)
            for item in items:
                for case, usage in _rest(item, profiles, window, days, spread):
                    found[case].append(usage)
    return found


def _spread(
    items: Sequence[Recent],
    profiles: Mapping[tuple[str, int | None], Profile],
    window: Window,
) -> tuple[Decimal, Decimal]:
    """Return how slow and how fast the slowest and fastest week were, against all of them."""
    weeks = window.whole_weeks
    if not weeks:
        return Decimal(0), Decimal(2)
    # The hours of a meter share its days, so one of its profiles weighs a week as well as any.
    profile = profiles.get((items[0].meter, items[0].hour), (AVERAGE,) * 7)
    used = [sum((item.weeks[week] for item in items), Decimal(0)) for week in weeks]
    weights = [weight(profile, window.days(week)) for week in weeks]
    whole, weighed = sum(used), sum(weights)
    if whole <= 0 or not all(weights):
        return Decimal(1), Decimal(1)
    rates = [
        quantity * weighed / (week_weight * whole)
        for quantity, week_weight in zip(used, weights, strict=True)
    ]
    return max(min(rates), Decimal(0)), max(rates)


def _rest(
    item: Recent,
    profiles: Mapping[tuple[str, int | None], Profile],
    window: Window,
    days: Sequence[Sequence[date]],
    spread: tuple[Decimal, Decimal],
) -> Iterable[tuple[Case, Usage]]:
    if not item.adds_up:
        yield from _standing(item, days)
        return
    profile = profiles.get((item.meter, item.hour), (AVERAGE,) * 7)
    looked_at = sum(weight(profile, window.days(week)) for week in range(WEEKS))
    used = max(sum(item.weeks, Decimal(0)), Decimal(0))
    rate = used / looked_at if looked_at else Decimal(0)
    factors: dict[Case, Decimal] = {"low": spread[0], "expected": Decimal(1), "high": spread[1]}
    for case in CASES:
        for number, part in enumerate(days):
            for some in _alike(part, hourly=item.hour is not None):
                quantity = rate * weight(profile, some) * factors[case]
                if number == 0 and some and some[0] == window.as_of:
                    expected_today = rate * weight(profile, some[:1]) * factors[case]
                    quantity += max(item.today - expected_today, Decimal(0))
                quantity = quantity.quantize(_PLACES, rounding=ROUND_DOWN)
                if quantity > 0:
                    yield case, _usage(item, quantity, some[0])


def _standing(item: Recent, days: Sequence[Sequence[date]]) -> Iterable[tuple[Case, Usage]]:
    """Yield what a figure that does not grow day by day still lacks of last month's."""
    lacking = max(item.last_month - item.this_month, item.today, Decimal(0))
    for case in CASES:
        quantity = item.today if case == "low" else lacking
        if quantity > 0:
            yield case, _usage(item, quantity, days[0][0])


def _usage(item: Recent, quantity: Decimal, day: date) -> Usage:
    return Usage(
        account=item.ods_code,
        meter=item.meter,
        quantity=quantity,
        day=day,
        dimensions=item.dimensions,
        hour=item.hour,
    )


def _alike(days: Sequence[date], *, hourly: bool) -> list[list[date]]:
    """Return days that no price can tell apart: by weekday where the hour counts."""
    if not hourly:
        return [list(days)] if days else []
    by_weekday: dict[int, list[date]] = {}
    for day in days:
        by_weekday.setdefault(day.weekday(), []).append(day)
    return list(by_weekday.values())


@dataclass(frozen=True, kw_only=True)
class Part:
    """One service and meter of an account in the month, pounds and pence without VAT.

    `meter` is empty for amounts that count nothing. `to_date`: as charged so far.
    """

    service: str
    meter: str
    to_date: Decimal = NOUGHT
    low: Decimal = NOUGHT
    expected: Decimal = NOUGHT
    high: Decimal = NOUGHT


@dataclass(frozen=True, kw_only=True)
class AccountForecast:
    """What an account's month will come to, without VAT."""

    organisation: str
    parts: tuple[Part, ...] = field(default=())

    @property
    def to_date(self) -> Decimal:
        """Pounds charged so far."""
        return sum_pounds([part.to_date for part in self.parts])

    @property
    def expected(self) -> Decimal:
        """Pounds expected at the month's end."""
        return sum_pounds([part.expected for part in self.parts])

    @property
    def low(self) -> Decimal:
        """Pounds if the rest goes as the slowest week; never above what is expected."""
        return min(sum_pounds([part.low for part in self.parts]), self.expected)

    @property
    def high(self) -> Decimal:
        """Pounds if the rest goes as the fastest week; never below what is expected."""
        return max(sum_pounds([part.high for part in self.parts]), self.expected)


def parts_json(parts: Iterable[Part]) -> list[Any]:
    """Return parts as JSON that `read_parts` reads back equal."""
    return [
        [p.service, p.meter, str(p.to_date), str(p.low), str(p.expected), str(p.high)]
        for p in parts
    ]


def read_parts(said: Iterable[Sequence[str]]) -> tuple[Part, ...]:
    """Read what `parts_json` wrote."""
    return tuple(
        Part(
            service=service,
            meter=meter,
            to_date=Decimal(to_date),
            low=Decimal(low),
            expected=Decimal(expected),
            high=Decimal(high),
        )
        for service, meter, to_date, low, expected, high in said
    )


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A forecast of a month that is over, against what it came to; pounds and percent.

    Attributes:
        as_of: the London day that it was made on, knowing the days before.
        error_percent: of the national sum; above nought foretold too much.
        spread_percent: the sum of all accounts' errors, each way, over the actual sum.
        in_range_percent: accounts whose actual sum lay in their range.
    """

    as_of: date
    accounts: int
    actual: Decimal
    expected: Decimal
    low: Decimal
    high: Decimal
    error_percent: Decimal
    spread_percent: Decimal
    in_range_percent: Decimal


def tried(
    as_of: date, *, forecast: Mapping[str, AccountForecast], actual: Mapping[str, Decimal]
) -> Tried:
    """Compare a forecast with what each account (by ODS code) came to."""
    codes = sorted(forecast.keys() | actual.keys())
    nothing = AccountForecast(organisation="")
    pairs = [(forecast.get(code, nothing), actual.get(code, NOUGHT)) for code in codes]
    whole = sum_pounds([real for _, real in pairs])
    expected = sum_pounds([item.expected for item, _ in pairs])
    errors = sum_pounds([abs(item.expected - real) for item, real in pairs])
    inside = sum(item.low <= real <= item.high for item, real in pairs)
    return Tried(
        as_of=as_of,
        accounts=len(codes),
        actual=whole,
        expected=expected,
        low=sum_pounds([item.low for item, _ in pairs]),
        high=sum_pounds([item.high for item, _ in pairs]),
        error_percent=_percent(expected - whole, whole),
        spread_percent=_percent(errors, whole),
        in_range_percent=_percent(Decimal(inside), Decimal(len(codes))),
    )


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    return (100 * part / whole).quantize(Decimal("0.1")) if whole else Decimal("0.0")
