"""Rating a month: usage ∩ agreement ∩ tariff version into charges with their working.

Steps of a line, in order: convert → include → price → share → discount → maximum
→ minimum → round. Everything before `round` is exact. Usage without a price is
parked with a reason and is never charged at nought.

Over a tariff version change in a month (or a change of local terms or membership):
included quantity, graduated tiers and packages go on where they were; a volume
price takes the tier that the month's whole quantity reaches, in each version's own
tiers; a flat amount is prorated by London days; shared prices see `pools`; limits
see `adjustments`. Cutting a month at equal prices therefore changes no exact sum;
each line is still rounded once, so a cut line may differ by a penny.
"""

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, localcontext

from billing.money import NOUGHT, PRECISION, to_pennies
from billing.rating.adjustments import adjust
from billing.rating.allowances import include, position_after
from billing.rating.collecting import LineGroup, collect, line_order
from billing.rating.commitments import shortfalls
from billing.rating.lines import Line, ParkingPlace, PoolKey
from billing.rating.model import (
    Agreement,
    Charge,
    DatedTariff,
    FrozenPool,
    Position,
    RatingResult,
    Usage,
)
from billing.rating.numbers import NONE, Exact, add
from billing.rating.pools import Pool, totals
from billing.rating.prices import BeyondTiers
from billing.rating.proration import for_days
from billing.rating.segments import Segment, Versions, segments_of
from billing.rating.working import Step
from billing.tariffs.terms import Tariff
from metering.periods import Month

PositionKey = tuple[str | None, str | None, str, str]


def rate_month(
    *,
    month: Month,
    tariffs: Iterable[DatedTariff | Tariff],
    agreements: Iterable[Agreement],
    usage: Iterable[Usage],
    history: Iterable[Position] = (),
    frozen: Iterable[FrozenPool] = (),
) -> RatingResult:
    """Return what every account owes for the month, and what could not be priced.

    Args:
        month: the London month.
        tariffs: every version that may be in force in it.
        agreements: of every account to rate. A shared price needs every member's
            agreement and usage, or its joint quantity is too small.
        usage: of days in the month; lines for one day and meter add up.
        history: `positions` of the month before; passed over in April, when the
            financial year begins. Needed where prices reset by financial year, include
            by financial year, or terms commit for a financial year.
        frozen: blended prices of the closed month, see `pools.freeze`. The use of
            those pools is rated at them, and only the account whose use has changed
            since sees another amount.

    Raises:
        ValueError: usage lies outside the month, two versions of one tariff start on
            one day, or an account has two local terms or groups on one day.
    """
    rating = MonthRating(month=month, tariffs=tariffs, history=history, frozen=frozen)
    return rating.whole(agreements, usage)


class MonthRating:
    """A month rated a few accounts at a time, so that a nation's lines need not be held.

    `add` each account once, with all its agreements and usage: what it owes at prices of its
    own comes back at once and is not kept. `shared` then prices what accounts share, and
    `finish` what depends on the whole of their charges. Which accounts come together, and in what
    order, changes nothing.
    """

    def __init__(
        self,
        *,
        month: Month,
        tariffs: Iterable[DatedTariff | Tariff],
        history: Iterable[Position] = (),
        frozen: Iterable[FrozenPool] = (),
    ) -> None:
        """See `rate_month`."""
        self._month = month
        self._day_count = month.day_count
        self._versions = Versions(tariffs, month)
        self._known: dict[PositionKey, Position] = {}
        if month.financial_month != 1:
            self._known = {(p.account, p.group, p.tariff, p.price_key): p for p in history}
        self._positions = dict(self._known)
        self._frozen = tuple(frozen)
        self._parking = ParkingPlace()
        self._sharing: list[list[Line]] = []
        self._committed: list[Segment] = []
        self._spending: dict[tuple[str, str, str], Decimal] = {}
        self._pools: list[Pool] | None = None

    def add(self, agreements: Iterable[Agreement], usage: Iterable[Usage]) -> list[Charge]:
        """Return the charges of these accounts that nobody else's usage bears on.

        Raises:
            ValueError: see `rate_month`.
        """
        with _exactly():
            return _charges(self._price(agreements, usage))

    def shared(self, *, at_once: int = 10_000) -> Iterator[list[Charge]]:
        """Yield the charges of shared prices, some at a time, once everyone was added.

        An account's come one after another. What was yielded is not kept here, so a nation's
        shared charges are never all held either; their lines are.
        """
        with _exactly():
            lines, self._pools = self._price_shared()
            lines.sort(key=_charge_order)
        for first in range(0, len(lines), at_once):
            with _exactly():
                charges = [_charge(line) for line in lines[first : first + at_once]]
            for line in lines[first : first + at_once]:
                line.steps = []
            yield charges

    def finish(self) -> RatingResult:
        """Return what is left to say: shortfalls, pools, parked usage, positions.

        Charges of shared prices are among its own where `shared` was not asked for them.
        """
        shared: list[Charge] = []
        if self._pools is None:
            for charges in self.shared():
                shared += charges
        with _exactly():
            return self._finish(shared, self._pools or [])

    def whole(self, agreements: Iterable[Agreement], usage: Iterable[Usage]) -> RatingResult:
        """Return the rating of everyone at once, charges in their order; see `rate_month`."""
        with _exactly():
            own = self._price(agreements, usage)
            shared, self._pools = self._price_shared()
            return self._finish(_charges((*own, *shared)), self._pools)

    def _price(self, agreements: Iterable[Agreement], usage: Iterable[Usage]) -> list[Line]:
        by_account: dict[str, list[Segment]] = {}
        agreements_of: dict[str, list[Agreement]] = {}
        for agreement in sorted(agreements, key=lambda item: (item.account, item.tariff)):
            agreements_of.setdefault(agreement.account, []).append(agreement)
            segments = segments_of(agreement, self._versions)
            by_account.setdefault(agreement.account, []).extend(segments)
            self._committed += [
                segment
                for segment in segments
                if segment.terms is not None and segment.terms.commitment is not None
            ]
        groups = collect(self._month, by_account, agreements_of, usage, self._parking)
        done: list[Line] = []
        for group, lines in groups.items():
            if self._price_own(group, lines):
                self._sharing.append(lines)
                continue
            left = [line for line in lines if not line.parked]
            if left:
                adjust(left, self._month)
                for line in left:
                    line.amount = to_pennies(line.exact)
                done += left
        self._spend(done)
        return done

    def _finish(self, charges: Iterable[Charge], pools: Sequence[Pool]) -> RatingResult:
        committed = sorted(self._committed, key=lambda item: (item.account, item.tariff.code))
        short, spent = shortfalls(self._month, committed, self._spending, self._known)
        self._positions.update(spent)
        return RatingResult(
            charges=(*charges, *short),
            pools=tuple(totals(pools)),
            parked=tuple(self._parking.parked()),
            positions=tuple(self._positions[key] for key in sorted(self._positions, key=str)),
        )

    def _price_own(self, group: LineGroup, lines: list[Line]) -> bool:
        """Price the lines that are the account's own; say whether others are shared."""
        account, tariff, price_key = group
        key = (account, None, tariff, price_key)
        before = self._known.get(key)
        include(lines, before)
        after = position_after(lines, before)
        if after is not None:
            self._positions[key] = after
        own = [line for line in lines if line.pool is None]
        if own:
            year_before = before if own[-1].entry.price.resets != "month" else None
            start = NONE if year_before is None else year_before.billable
            _price_own(own, start, self._month, self._day_count, self._parking)
        return len(own) < len(lines)

    def _price_shared(self) -> tuple[list[Line], list[Pool]]:
        """Price the pools, then adjust and round every line of the prices they touch."""
        shared: dict[PoolKey, list[Line]] = {}
        for lines in sorted(self._sharing, key=lambda lines: line_order(lines[0])):
            for line in lines:
                if line.pool is not None:
                    shared.setdefault(line.pool, []).append(line)
        pools = _price_pools(shared, self._known, self._frozen, self._parking)
        for pool in pools:
            joint = pool.position_after()
            if joint is not None:
                self._positions[None, joint.group, joint.tariff, joint.price_key] = joint
        done: list[Line] = []
        for lines in self._sharing:
            left = [line for line in lines if not line.parked]
            if left:
                adjust(left, self._month)
                for line in left:
                    if line.alone is None:
                        line.amount = to_pennies(line.exact)
                    else:
                        line.alone_amount = to_pennies(line.alone)
                done += left
        for pool in pools:
            pool.round()
        self._spend(done)
        return done, pools

    def _spend(self, lines: Iterable[Line]) -> None:
        for line in lines:
            segment = line.segment
            if segment.terms is not None:
                spender = (segment.account, segment.tariff.code, segment.terms.code)
                self._spending[spender] = self._spending.get(spender, NOUGHT) + line.amount


@contextmanager
def _exactly() -> Iterator[None]:
    """Cut no digit, and let the collector rest."""
    with localcontext() as context, _collector_paused():
        context.prec = PRECISION
        yield


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cycle collector from walking a national run's results over and over.

    Rating makes no reference cycles, and millions of small objects that all live to
    the end: collecting in between was measured at 30% of the time, for nothing freed.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _price_own(
    lines: Sequence[Line], before: Exact, month: Month, day_count: int, parking: ParkingPlace
) -> None:
    """Price the lines of one account and price key that are not shared."""
    total = before
    for line in lines:
        total = add(total, line.billable)
    for line in lines:
        price = line.entry.price
        if price.model == "flat":
            assert price.amount is not None
            line.exact = for_days(price.amount, line.segment.days, month)
        else:
            try:
                line.exact = line.entry.pricer.amount(
                    start=line.start, quantity=line.billable, total=total
                )
            except BeyondTiers:
                parking.add_line(line, "beyond-last-tier")
                continue
        values = (
            price,
            line.start,
            line.billable,
            total,
            line.exact,
            line.segment.days,
            day_count,
        )
        line.steps.append(Step("price", values))


def _price_pools(
    shared: Mapping[PoolKey, Sequence[Line]],
    known: Mapping[PositionKey, Position],
    frozen: Iterable[FrozenPool],
    parking: ParkingPlace,
) -> list[Pool]:
    given = {((f.tariff, f.price_key, f.scope, f.group, f.terms), f.version): f for f in frozen}
    pools: list[Pool] = []
    for key in sorted(shared, key=str):
        lines = shared[key]
        start: Exact = NONE
        if lines[-1].entry.price.resets == "financial-year":
            before = known.get((None, key[3], key[0], key[1]))
            start = NONE if before is None else before.billable
        pool = Pool(key, lines, start)
        pool.price(positions=known, frozen=given, parking=parking)
        pools.append(pool)
    return pools


def _charges(lines: Iterable[Line]) -> list[Charge]:
    return [_charge(line) for line in sorted(lines, key=_charge_order)]


def _charge_order(line: Line) -> tuple[str, str, int, date]:
    segment = line.segment
    return segment.account, segment.tariff.code, line.entry.order, segment.first_day


def _charge(line: Line) -> Charge:
    segment, price = line.segment, line.entry.price
    pool = line.pool
    line.steps.append(Step("round", (line.exact, line.amount, line.rounding)))
    return Charge(
        account=segment.account,
        tariff=segment.tariff.code,
        version=segment.tariff.version,
        price_key=price.key,
        label=price.label,
        meter=price.meter,
        band=price.band,
        where=price.where,
        scope="own" if pool is None else pool[2],
        group=None if pool is None else pool[3],
        terms=None if segment.terms is None else segment.terms.code,
        vat=segment.tariff.vat,
        quantity=line.metered,
        unit=price.unit if price.convert is None else price.convert.unit,
        exact=line.exact,
        amount=line.amount,
        alone_exact=line.alone,
        alone_amount=line.alone_amount,
        first_day=segment.first_day,
        end_day=segment.end_day,
        local_price=line.entry.local is not None,
        steps=tuple(line.steps),
    )
