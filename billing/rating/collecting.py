"""Usage added up into lines: which account, price and days each piece falls under."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from billing.rating.books import Entry
from billing.rating.lines import Line, ParkingPlace
from billing.rating.model import Agreement, Usage
from billing.rating.segments import Segment
from billing.tariffs.bands import slot_of
from metering.periods import Month

LineGroup = tuple[str, str, str]  # account, tariff, price key


def collect(
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
    for line in sorted(lines.values(), key=line_order):
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


def line_order(line: Line) -> tuple[str, str, date, int]:
    """Return the order of lines: account, tariff, days, then as the prices are listed."""
    segment = line.segment
    return segment.account, segment.tariff.code, segment.first_day, line.entry.order
