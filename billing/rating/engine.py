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
from decimal import localcontext

from billing.money import PRECISION, to_pennies
from billing.rating.adjustments import adjust
from billing.rating.allowances import include, position_after
from billing.rating.books import Entry
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
from billing.tariffs.bands import slot_of
from billing.tariffs.terms import Tariff
from metering.periods import Month

LineGroup = tuple[str, str, str]  # account, tariff, price key
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
    with localcontext() as context, _collector_paused():
        context.prec = PRECISION
        return _rate(month, tariffs, agreements, usage, history, frozen)


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


def _rate(
    month: Month,
    tariffs: Iterable[DatedTariff | Tariff],
    agreements: Iterable[Agreement],
    usage: Iterable[Usage],
    history: Iterable[Position],
    frozen: Iterable[FrozenPool],
) -> RatingResult:
    versions = Versions(tariffs, month)
    by_account: dict[str, list[Segment]] = {}
    agreed = sorted(agreements, key=lambda agreement: (agreement.account, agreement.tariff))
    agreements_of: dict[str, list[Agreement]] = {}
    for agreement in agreed:
        agreements_of.setdefault(agreement.account, []).append(agreement)
        by_account.setdefault(agreement.account, []).extend(segments_of(agreement, versions))
    parking = ParkingPlace()
    groups = _collect(month, by_account, agreements_of, usage, parking)
    known: dict[PositionKey, Position] = {}
    if month.financial_month != 1:
        known = {(p.account, p.group, p.tariff, p.price_key): p for p in history}
    positions = dict(known)

    shared: dict[PoolKey, list[Line]] = {}
    day_count = month.day_count
    for (account, tariff, price_key), lines in groups.items():
        key = (account, None, tariff, price_key)
        include(lines, known.get(key))
        after = position_after(lines, known.get(key))
        if after is not None:
            positions[key] = after
        own = []
        for line in lines:
            if line.pool is None:
                own.append(line)
            else:
                shared.setdefault(line.pool, []).append(line)
        if own:
            year_before = known.get(key) if own[-1].entry.price.resets != "month" else None
            before = NONE if year_before is None else year_before.billable
            _price_own(own, before, month, day_count, parking)

    pools = _price_pools(shared, known, frozen, parking)
    for pool in pools:
        joint = pool.position_after()
        if joint is not None:
            positions[(None, joint.group, joint.tariff, joint.price_key)] = joint
    for lines in groups.values():
        left = [line for line in lines if not line.parked]
        if left:
            adjust(left, month)
            for line in left:
                if line.alone is None:
                    line.amount = to_pennies(line.exact)
                else:
                    line.alone_amount = to_pennies(line.alone)
    for pool in pools:
        pool.round()
    priced = [line for lines in groups.values() for line in lines if not line.parked]
    charges = [_charge(line) for line in sorted(priced, key=_charge_order)]
    segments = [segment for found in by_account.values() for segment in found]
    short, spent = shortfalls(month, segments, charges, known)
    positions.update(spent)
    return RatingResult(
        charges=tuple(charges + short),
        pools=tuple(totals(pools)),
        parked=tuple(parking.parked()),
        positions=tuple(positions[key] for key in sorted(positions, key=str)),
    )


def _collect(
    month: Month,
    by_account: Mapping[str, Sequence[Segment]],
    agreements: Mapping[str, Sequence[Agreement]],
    usage: Iterable[Usage],
    parking: ParkingPlace,
) -> dict[LineGroup, list[Line]]:
    """Add usage up into lines, and make the lines that need no usage (flat, minimum)."""
    lines: dict[tuple[Segment, Entry], Line] = {}
    calendars = {account: _calendar(month, found) for account, found in by_account.items()}
    first_ordinal = month.first_day.toordinal()
    day_count = month.day_count
    nobody: list[list[Segment]] = [[] for _ in range(day_count)]
    for item in usage:
        index = item.day.toordinal() - first_ordinal
        if not 0 <= index < day_count:
            raise ValueError(f"usage of {item.day} lies outside {month}")
        segments = calendars.get(item.account, nobody)[index]
        slot = None if item.hour is None else slot_of(item.day, item.hour)
        chosen: tuple[Segment, Entry] | None = None
        reason = "no-price" if segments else "no-agreement"
        for segment in segments:
            if not segment.book.prices_meter(item.meter):
                continue
            entry = segment.book.find(item.meter, item.dimensions, slot)
            if isinstance(entry, str):
                reason = entry
            elif chosen is not None:
                chosen, reason = None, "two-tariffs"
                break
            else:
                chosen = (segment, entry)
        if chosen is None:
            if not segments and _agreed_on(agreements.get(item.account, ()), item.day):
                reason = "no-version"
            parking.add(item, reason)
            continue
        line = lines.get(chosen)
        if line is None:
            line = lines[chosen] = Line(*chosen)
        line.metered += item.quantity
        line.usage_lines += 1
    for found in by_account.values():
        for segment in found:
            for entry in segment.book.monthly:
                if (segment, entry) not in lines:
                    lines[segment, entry] = Line(segment, entry)
    groups: dict[LineGroup, list[Line]] = {}
    for line in sorted(lines.values(), key=_line_order):
        if line.metered < 0:
            parking.add_line(line, "negative-quantity")
            continue
        key = (line.segment.account, line.segment.tariff.code, line.entry.price.key)
        groups.setdefault(key, []).append(line)
    return groups


def _agreed_on(agreements: Iterable[Agreement], day: date) -> bool:
    return any(a.starts_on <= day and (a.ends_on is None or day < a.ends_on) for a in agreements)


def _calendar(month: Month, segments: Sequence[Segment]) -> list[list[Segment]]:
    return [[s for s in segments if s.first_day <= day < s.end_day] for day in month.days()]


def _line_order(line: Line) -> tuple[str, str, date, int]:
    segment = line.segment
    return segment.account, segment.tariff.code, segment.first_day, line.entry.order


def _charge_order(line: Line) -> tuple[str, str, int, date]:
    segment = line.segment
    return segment.account, segment.tariff.code, line.entry.order, segment.first_day


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
