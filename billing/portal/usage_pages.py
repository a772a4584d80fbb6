"""What the usage explorer shows: frozen, worded, added up."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode

from billing.chart import Chart, Series
from billing.forms import Form
from billing.listing import Cell, Column, Listing, count_cell, money_cell
from billing.money import show_pounds, sum_pounds
from billing.portal.account import OpenAccount
from billing.portal.event_queries import HourUse
from billing.portal.parts import Figure, Link
from billing.portal.usage_asked import UsageAsked
from billing.portal.usage_queries import MonthUse, Use, UsedMeter
from billing.portal.words import counted, show_dimensions, show_number
from billing.sheets import listed
from metering.meters.model import plural_of
from metering.periods import Month, day_period, london, show_date

SERIES = 4
_ADDED = frozenset({"sum", "count"})
_SHORT_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class UsagePage:
    """The usage explorer.

    Attributes:
        title: what is shown, as the heading.
        narrowed: in words, what usage is narrowed to; empty for all.
        clear_href: the same without narrowing.
        views: links to the other views of the same usage.
    """

    account: OpenAccount
    title: str
    caption: str
    form: Form
    hidden: tuple[tuple[str, str], ...]
    meters: tuple[tuple[str, str], ...]
    months: tuple[tuple[str, str], ...]
    splits: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    narrowed: str
    clear_href: str
    views: tuple[Link, ...]
    current_view: str
    chart: Chart | None
    listing: Listing
    crumbs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Frame:
    """What every view of the explorer has around it."""

    account: OpenAccount
    asked: UsageAsked
    path: str
    meters: Sequence[UsedMeter]
    first_month: Month
    this_month: Month

    @property
    def meter(self) -> UsedMeter | None:
        """The meter that is asked for, None for all."""
        return next((each for each in self.meters if each.meter.code == self.asked.meter), None)

    def dimension_label(self, name: str) -> str:
        """Return a dimension's name for people."""
        told = (self.meter.meter.dimensions if self.meter else {}).get(name) or {}
        label = str(told.get("label") or name) if isinstance(told, dict) else name
        return label[:1].upper() + label[1:]

    @property
    def labels(self) -> dict[str, str]:
        """The meter's dimensions by name, for people."""
        names = self.meter.meter.dimensions if self.meter else {}
        return {name: self.dimension_label(name) for name in names}


def _page(
    frame: Frame,
    *,
    title: str,
    caption: str,
    figures: tuple[Figure, ...],
    chart: Chart | None,
    listing: Listing,
) -> UsagePage:
    asked, meter = frame.asked, frame.meter
    months: list[tuple[str, str]] = []
    month = frame.this_month
    while month >= frame.first_month and len(months) < 36:
        months.append((str(month), month.name))
        month = month.previous
    if str(asked.month) not in dict(months):
        months.append((str(asked.month), asked.month.name))
    splits = [("", "Do not split")]
    if meter is not None:
        splits += [(name, frame.dimension_label(name)) for name in sorted(meter.meter.dimensions)]
    views: tuple[Link, ...] = ()
    crumbs: tuple[tuple[str, str], ...] = ()
    if meter is not None:
        views = (
            Link("By month", asked.href(frame.path, view="month", day=None)),
            Link("By day", asked.href(frame.path, view="day", day=None)),
        )
        crumbs = (("Usage", UsageAsked(asked.month).href(frame.path)),)
        if asked.view == "hour":
            href = asked.href(frame.path, view="day", day=None)
            crumbs = (*crumbs, (meter.meter.name, href))
    return UsagePage(
        account=frame.account,
        title=title,
        caption=caption,
        form=Form({"meter": asked.meter, "month": str(asked.month), "split": asked.split}),
        hidden=(("view", "month"),) if asked.view == "month" else (),
        meters=(
            ("", "Everything"),
            *((each.meter.code, f"{each.service}: {each.meter.name}") for each in frame.meters),
        ),
        months=tuple(months),
        splits=tuple(splits) if len(splits) > 1 else (),
        figures=figures,
        narrowed=show_dimensions(dict(asked.where), frame.labels),
        clear_href=asked.href(frame.path, where=()),
        views=views,
        current_view={"month": "By month", "day": "By day", "hour": ""}[asked.view],
        chart=chart,
        listing=listing,
        crumbs=crumbs,
    )


def everything_page(frame: Frame, *, found: Sequence[MonthUse]) -> UsagePage:
    """Return what was used of every meter in a month."""
    by_id = {each.meter.id: each for each in frame.meters}
    shown = [(by_id[use.meter_id], use) for use in found if use.meter_id in by_id]
    shown.sort(key=lambda row: (row[0].service, row[0].meter.name))
    rows = tuple(
        (
            Cell(used.meter.name, href=frame.asked.href(frame.path, meter=used.meter.code)),
            Cell(used.service),
            Cell(counted(use.quantity, used.meter.unit), value=use.quantity),
            count_cell(use.events),
            money_cell(use.amount, none="–"),
        )
        for used, use in shown
    )
    amounts = [use.amount for _, use in shown if use.amount is not None]
    figures = (
        Figure("Charges without VAT", show_pounds(sum_pounds(amounts)), "For what was used"),
        Figure("Services used", str(len({used.service for used, _ in shown}))),
        Figure("Usage events", f"{sum(use.events for _, use in shown):,}"),
    )
    return _page(
        frame,
        title="Usage",
        caption=frame.asked.month.name,
        figures=figures if shown else (),
        chart=None,
        listing=_listed(
            frame,
            Listing(
                name="usage",
                caption=f"Usage in {frame.asked.month.name}",
                caption_hidden=True,
                columns=(
                    Column("What was counted", "meter"),
                    Column("Service", "service"),
                    Column("Quantity", numeric=True),
                    Column("Events", "events", numeric=True),
                    Column("Charges", "amount", numeric=True),
                ),
                rows=rows,
                path=frame.path,
                query=dict(frame.asked.query()),
                sort="service",
                empty=f"Nothing was used in {frame.asked.month.name}. Choose another month."
                if frame.meters
                else "Nothing has been used yet. Usage appears here within minutes of a service "
                "reporting it.",
            ),
        ),
    )


def _listed(frame: Frame, whole: Listing) -> Listing:
    return listed(whole, download=frame.asked.href(f"{frame.path}.csv"))


def meter_page(frame: Frame, *, used: UsedMeter, found: Sequence[Use]) -> UsagePage:
    """Return a meter's usage by day of a month, or by month of a year to it."""
    asked, unit = frame.asked, plural_of(used.meter.unit)
    by_month = asked.view == "month"
    places = (
        [asked.month.shift(-back).first_day for back in range(11, -1, -1)]
        if by_month
        else list(asked.month.days())
    )
    rows = sorted(found, key=lambda use: (use.on, use.value))
    quantity = sum((use.quantity for use in found), Decimal(0))
    span = f"The 12 months to {asked.month.name}" if by_month else asked.month.name
    columns = [Column("Month" if by_month else "Day", "on")]
    if asked.split:
        columns.append(Column(frame.dimension_label(asked.split), "value"))
    columns += [Column(title(unit), "quantity", numeric=True)]
    columns += [Column("Events", "events", numeric=True)]
    return _page(
        frame,
        title=used.meter.name,
        caption=f"{used.service}, {span[:1].lower() + span[1:] if by_month else span}",
        figures=(
            Figure(title(unit), show_number(quantity), span),
            Figure("Usage events", f"{sum(use.events for use in found):,}", span),
        )
        if found
        else (),
        chart=_chart(frame, places=places, found=found, unit=unit) if found else None,
        listing=_listed(
            frame,
            Listing(
                name="usage",
                caption=f"{used.meter.name}, {span}",
                caption_hidden=True,
                columns=tuple(columns),
                rows=tuple(_use_row(frame, use, by_month=by_month) for use in rows),
                path=frame.path,
                query=dict(asked.query()),
                sort="on",
                empty=f"Nothing was counted here in {span}. Choose another month, or fewer "
                "filters.",
            ),
        ),
    )


def _use_row(frame: Frame, use: Use, *, by_month: bool) -> tuple[Cell, ...]:
    asked = frame.asked
    if by_month:
        month = Month.of_day(use.on)
        href = asked.href(frame.path, month=month, view="day")
        first = Cell(month.name, href=href, value=use.on)
    else:
        first = Cell(
            show_date(use.on),
            href=asked.href(frame.path, view="hour", day=use.on, split=""),
            value=use.on,
        )
    value = (Cell(use.value or "Not given"),) if asked.split else ()
    quantity = Cell(show_number(use.quantity), value=use.quantity)
    return (first, *value, quantity, count_cell(use.events))


def _chart(
    frame: Frame, *, places: Sequence[date], found: Sequence[Use], unit: str
) -> Chart | None:
    by_month = frame.asked.view == "month"
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for use in found:
        totals[use.value] += use.quantity
    names = sorted(totals, key=lambda value: (-totals[value], value))
    # The largest are told apart; the rest are one series, so that the sum stays whole.
    apart = names if len(names) <= SERIES else names[: SERIES - 1]
    values: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for use in found:
        values[use.value if use.value in apart else _REST][use.on] += use.quantity
    drawn = [*apart, *([_REST] if len(apart) < len(names) else [])]
    if any(amount < 0 for series in values.values() for amount in series.values()):
        return None
    series = tuple(
        Series(
            name=_series_name(frame, value),
            values=tuple(values[value].get(place) for place in places),
            shown=tuple(
                show_number(values[value][place]) if place in values[value] else "None"
                for place in places
            ),
        )
        for value in drawn
    )
    most = max(found, key=lambda use: use.quantity)
    when = Month.of_day(most.on).name if by_month else show_date(most.on)
    return Chart(
        title=f"{title(unit)} a {'month' if by_month else 'day'}",
        summary=f"{title(unit)} a {'month' if by_month else 'day'}, most on {when}: "
        f"{show_number(most.quantity)}. The figures are in the table below.",
        label_name="Month" if by_month else "Day",
        labels=tuple(
            f"{_SHORT_MONTHS[place.month - 1]} {place.year % 100:02d}"
            if by_month
            else str(place.day)
            for place in places
        ),
        series=series,
    )


_REST = "\0rest"


def _series_name(frame: Frame, value: str) -> str:
    if not frame.asked.split:
        return "Quantity"
    return "All others" if value == _REST else value or "Not given"


def hour_page(
    frame: Frame, *, used: UsedMeter, day: date, found: Sequence[HourUse], events_path: str
) -> UsagePage:
    """Return a meter's usage by real hour of one London day, from its events."""
    unit, added = plural_of(used.meter.unit), used.meter.aggregation in _ADDED
    period = day_period(day)
    starts = [period.start + timedelta(hours=number) for number in range(period.hours)]
    by_start = {use.start: use for use in found}
    rows = []
    for start in starts:
        use = by_start.get(start)
        if use is not None:
            query = [("meter", used.meter.code), ("day", day.isoformat())]
            query += [("hour", start.isoformat().replace("+00:00", "Z"))]
            query += [(f"d.{name}", value) for name, value in frame.asked.where]
            rows.append(
                (
                    Cell(hour_words(start), href=f"{events_path}?{urlencode(query)}", value=start),
                    Cell(show_number(use.quantity), value=use.quantity) if added else Cell("–"),
                    count_cell(use.events),
                )
            )
    name = title(unit) if added else "Events"
    values = tuple(
        None
        if start not in by_start
        else by_start[start].quantity
        if added
        else Decimal(by_start[start].events)
        for start in starts
    )
    drawable = bool(found) and not any(value is not None and value < 0 for value in values)
    return _page(
        frame,
        title=used.meter.name,
        caption=f"{used.service}, {show_date(day)}",
        figures=(
            Figure(
                title(unit),
                show_number(sum((use.quantity for use in found), Decimal(0))),
                show_date(day),
            ),
            Figure("Usage events", f"{sum(use.events for use in found):,}", show_date(day)),
        )
        if found and added
        else (),
        chart=Chart(
            title=f"{name} an hour",
            summary=f"{name} in each hour of {show_date(day)}. The figures are in the table below.",
            label_name="Hour",
            labels=tuple(hour_words(start) for start in starts),
            series=(
                Series(
                    name,
                    values,
                    tuple("None" if value is None else show_number(value) for value in values),
                ),
            ),
        )
        if drawable
        else None,
        listing=listed(
            Listing(
                name="usage-by-hour",
                caption=f"{used.meter.name} by hour, {show_date(day)}",
                caption_hidden=True,
                columns=(
                    Column("Hour from"),
                    Column(title(unit), numeric=True),
                    Column("Events", numeric=True),
                ),
                rows=tuple(rows),
                path=frame.path,
                empty="No events happened on this day. Choose another day.",
            )
        ),
    )


def hour_words(start: datetime) -> str:
    """Write the real hour that begins at an instant: `9am`, or `1am GMT` where it comes twice.

    >>> from datetime import UTC
    >>> hour_words(datetime(2026, 10, 25, 0, tzinfo=UTC))
    '1am BST'
    """
    there = london(start)
    words = f"{there.hour % 12 or 12}{'am' if there.hour < 12 else 'pm'}"
    twice = {london(start + timedelta(hours=step)).hour for step in (-1, 1)}
    return f"{words} {there.tzname()}" if there.hour in twice else words


def title(text: str) -> str:
    return text[:1].upper() + text[1:]
