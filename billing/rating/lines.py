"""A charge in the making, and the usage that cannot become one."""

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal

from billing.rating.books import REASONS, Entry
from billing.rating.model import Dimensions, Parked, Usage
from billing.rating.numbers import NONE, Exact
from billing.rating.segments import Segment
from billing.rating.working import Step
from billing.tariffs.terms import Scope

PoolKey = tuple[str, str, Scope, str | None, str | None]  # tariff, price, scope, group, terms


class Line:
    """One price of one account in one segment of the month, worked on step by step."""

    __slots__ = (
        "alone",
        "alone_amount",
        "amount",
        "billable",
        "entry",
        "exact",
        "free",
        "metered",
        "parked",
        "pool",
        "quantity",
        "rounding",
        "segment",
        "start",
        "steps",
        "usage_lines",
    )

    def __init__(self, segment: Segment, entry: Entry) -> None:
        self.segment = segment
        self.entry = entry
        self.metered = NONE
        self.usage_lines = 0
        self.parked = False
        self.quantity: Exact = NONE
        self.free: Exact = NONE
        self.billable: Exact = NONE
        self.start: Exact = NONE
        self.exact: Exact = NONE
        self.alone: Exact | None = None
        self.alone_amount: Decimal | None = None
        self.amount = NONE
        self.rounding = "half-up"
        self.steps: list[Step] = []
        self.pool = pool_of(segment, entry)


def pool_of(segment: Segment, entry: Entry) -> PoolKey | None:
    """Return the pool or group in which a price is shared on these days; None for own.

    A pooled price is the account's own on days when it is no member, and when a
    local agreement replaces it. A group's price is shared by those in the group on
    the day; a local price of a group only by members under the same terms.
    """
    price = entry.price
    code = segment.tariff.code
    if price.scope == "pool":
        if segment.in_pool and entry.local is None:
            return (code, price.key, "pool", None, None)
    elif price.scope == "group" and segment.group is not None:
        if entry.local is None:
            return (code, price.key, "group", segment.group, None)
        if entry.local.group == segment.group:
            return (code, price.key, "group", segment.group, entry.local.code)
    return None


class ParkingPlace:
    """Gathers usage that could not be priced, by account, meter, dimensions and reason."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, Dimensions, str], tuple[Decimal, int, date, date]] = {}

    def add(self, usage: Usage, reason: str) -> None:
        """Set one usage line aside."""
        self._add(
            (usage.account, usage.meter, usage.dimensions, reason),
            (usage.quantity, 1, usage.day, usage.day + timedelta(days=1)),
        )

    def add_line(self, line: Line, reason: str) -> None:
        """Set the usage of a whole line aside, and mark the line."""
        line.parked = True
        price = line.entry.price
        segment = line.segment
        self._add(
            (segment.account, price.meter or price.key, price.where, reason),
            (line.metered, line.usage_lines, segment.first_day, segment.end_day),
        )

    def _add(
        self, key: tuple[str, str, Dimensions, str], what: tuple[Decimal, int, date, date]
    ) -> None:
        before = self._found.get(key)
        if before is not None:
            what = (
                before[0] + what[0],
                before[1] + what[1],
                min(before[2], what[2]),
                max(before[3], what[3]),
            )
        self._found[key] = what

    def parked(self) -> Iterable[Parked]:
        """Return everything set aside, in a fixed order."""
        for (account, meter, dimensions, reason), what in sorted(self._found.items()):
            yield Parked(account, meter, dimensions, reason, REASONS[reason], *what)
