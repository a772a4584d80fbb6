"""What the overview of one account shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from urllib.parse import quote

from billing.budgets.model import Standing
from billing.chart import Chart, Series
from billing.forecasts.tables import ForecastRow
from billing.listing import Cell, Column, Listing
from billing.money import NOUGHT, show_pounds, sum_pounds
from billing.portal.account import OpenAccount
from billing.portal.budget_pages import budgets_listing
from billing.portal.changes import Part, changes
from billing.portal.invoice_list_pages import standing_of
from billing.portal.invoice_queries import InvoiceSummary
from billing.portal.overview_queries import ParkedSum
from billing.portal.owing import Owing
from billing.portal.parts import Figure, Link
from billing.portal.usage_asked import UsageAsked
from billing.portal.words import plural, show_change, show_number
from metering.periods import (
    Month,
    financial_year_label,
    financial_year_start,
    london_day,
    show_date,
    show_time,
)

MONTHS = 13
_CAUSES = 5


@dataclass(frozen=True)
class OverviewPage:
    """What a finance officer needs first.

    Attributes:
        attention: sentences about what cannot wait, each with where to go.
        compared: which two months `causes` is about; empty where there are not two.
    """

    account: OpenAccount
    month: str
    worked_out: str
    attention: tuple[tuple[str, Link], ...]
    figures: tuple[Figure, ...]
    chart: Chart | None
    services: Listing
    compared: str
    compared_words: str
    causes: tuple[str, ...]
    budgets: Listing
    budgets_href: str
    invoices: Listing
    invoices_href: str
    usage_href: str


def overview_page(
    *,
    account: OpenAccount,
    root: str,
    month: Month,
    now: datetime,
    parts: Mapping[Month, Sequence[Part]],
    invoiced: Decimal,
    owing: Owing,
    latest: Sequence[InvoiceSummary],
    parked: Sequence[ParkedSum],
    rated_at: datetime | None,
    forecast: ForecastRow | None,
    budgets: Sequence[Standing],
    names: Mapping[str, str],
) -> OverviewPage:
    """Return the overview.

    Args:
        root: address of the account's pages, with a slash at the end.
        parts: charges of the last `MONTHS` months.
        invoiced: pounds without VAT, of the same months.
    """
    today = london_day(now)
    sums = {each: sum_pounds([part.amount for part in found]) for each, found in parts.items()}
    before, earlier = month.previous, month.shift(-2)
    comparable = before in parts and earlier in parts
    found = changes(parts.get(earlier, ()), parts.get(before, ())) if comparable else ()
    return OverviewPage(
        account=account,
        month=month.name,
        worked_out=_when(rated_at, today),
        attention=_attention(owing, parked, root),
        figures=_figures(month, parts, sums, invoiced, owing, forecast),
        budgets=budgets_listing(budgets, root=root, names=names, caption="Budgets"),
        budgets_href=f"{root}budgets",
        chart=_chart(month, sums),
        services=_services(month, parts, root),
        compared=f"Why {before.name} differs from {earlier.name}" if comparable else "",
        compared_words=(
            f"{before.name} came to {show_pounds(sums[before])}, "
            f"{show_change(sums[before], sums[earlier])} {earlier.name}."
            if comparable
            else ""
        ),
        causes=tuple(change.words for change in found[:_CAUSES]),
        invoices=_invoices(latest, root, today),
        invoices_href=f"{root}invoices",
        usage_href=UsageAsked(month).href(f"{root}usage"),
    )


def _when(rated_at: datetime | None, today: date) -> str:
    if rated_at is None:
        return ""
    on = london_day(rated_at)
    day = "today" if on == today else f"on {show_date(on)}"
    return f"Worked out {day} at {show_time(rated_at)} from the usage that had arrived."


def _attention(
    owing: Owing, parked: Sequence[ParkedSum], root: str
) -> tuple[tuple[str, Link], ...]:
    found = []
    if owing.overdue:
        late = len(owing.overdue)
        found.append(
            (
                f"{plural(late, 'invoice')} {'is' if late == 1 else 'are'} overdue, "
                f"{show_pounds(owing.to_pay_late)} in all.",
                Link("See what is overdue", f"{root}invoices?status=overdue"),
            )
        )
    if parked:
        things = ", ".join(
            f"{show_number(item.quantity)} {item.unit} ({item.meter})" for item in parked[:3]
        )
        found.append(
            (
                f"Some usage has no price yet and is not charged: {things}. The central team "
                "puts this right; you need not do anything.",
                Link("See your usage", f"{root}usage"),
            )
        )
    return tuple(found)


def _figures(
    month: Month,
    parts: Mapping[Month, Sequence[Part]],
    sums: Mapping[Month, Decimal],
    invoiced: Decimal,
    owing: Owing,
    forecast: ForecastRow | None,
) -> tuple[Figure, ...]:
    year_start = financial_year_start(month.financial_year)
    saved = sum_pounds(
        [part.saving for each, found in parts.items() if each >= year_start for part in found]
    )
    not_invoiced = sum_pounds(list(sums.values())) - invoiced
    due = f"Next by {show_date(owing.next_due_on)}" if owing.next_due_on else ""
    figures = [
        Figure(f"{month.name} so far", show_pounds(sums.get(month, NOUGHT)), "Without VAT"),
        Figure(
            "Used but not invoiced yet",
            show_pounds(not_invoiced),
            "To accrue, without VAT",
        ),
        Figure(
            "To pay",
            show_pounds(owing.to_pay),
            due or ("All of it overdue" if owing.overdue else "Nothing to pay"),
            "warning" if owing.overdue else "",
        ),
    ]
    if forecast is not None:
        figures.insert(
            1,
            Figure(
                f"Expected for {month.name}",
                show_pounds(forecast.expected),
                "From what is agreed by the month"
                if forecast.low == forecast.high
                else f"Between {show_pounds(forecast.low)} and {show_pounds(forecast.high)}",
            ),
        )
    if saved:
        year = financial_year_label(month.financial_year)
        figures.append(
            Figure("Saved by the national pool", show_pounds(saved), f"In {year} so far", "success")
        )
    return tuple(figures)


def _chart(month: Month, sums: Mapping[Month, Decimal]) -> Chart | None:
    places = [month.shift(-back) for back in range(MONTHS - 1, -1, -1)]
    places = places[next((at for at, each in enumerate(places) if each in sums), len(places)) :]
    # One bar says nothing that the figure above it does not.
    if len(places) < 2 or any(amount < 0 for amount in sums.values()):
        return None
    values = tuple(sums.get(each) for each in places)
    most = max((each for each in places if each in sums), key=lambda each: sums[each])
    return Chart(
        title="Charges by month, without VAT",
        summary=f"Charges of the {len(places)} months to {month.name}, which is not over. "
        f"The most was {show_pounds(sums[most])} in {most.name}.",
        label_name="Month",
        labels=tuple(f"{each.name[:3]} {each.year % 100:02d}" for each in places),
        series=(
            Series(
                "Charges",
                values,
                tuple("None" if value is None else show_pounds(value) for value in values),
            ),
        ),
        prefix="£",
    )


def _services(month: Month, parts: Mapping[Month, Sequence[Part]], root: str) -> Listing:
    months = (month, month.previous, month.shift(-2))
    table: dict[str, dict[Month, Decimal]] = {}
    for each in months:
        for part in parts.get(each, ()):
            row = table.setdefault(part.service, {})
            row[each] = row.get(each, NOUGHT) + part.amount
    order = sorted(table, key=lambda name: (-table[name].get(month, NOUGHT), name))
    shown = [each for each in months if each == month or each in parts]
    return Listing(
        caption="By service, without VAT",
        columns=(
            Column("Service"),
            *(
                Column(f"{each.name} so far" if each == month else each.name, numeric=True)
                for each in shown
            ),
        ),
        rows=tuple(
            (
                Cell(name),
                *(
                    Cell(show_pounds(table[name][each]) if each in table[name] else "–")
                    for each in shown
                ),
            )
            for name in order
        ),
        path=root,
        empty="Nothing has been charged yet. Charges appear here soon after a service reports "
        "your usage.",
    )


def _invoices(latest: Sequence[InvoiceSummary], root: str, today: date) -> Listing:
    rows = []
    for item in latest:
        tag = standing_of(item, today=today)
        rows.append(
            (
                Cell(item.number, href=f"{root}invoices/{quote(item.id)}"),
                Cell(Month.of_day(item.month).name),
                Cell(tag.text, colour=tag.colour),
                Cell(show_pounds(item.total)),
            )
        )
    return Listing(
        caption="Latest invoices",
        columns=(
            Column("Number"),
            Column("For"),
            Column("Status"),
            Column("Total with VAT", numeric=True),
        ),
        rows=tuple(rows),
        path=root,
        empty="There are no invoices yet. They are issued after the end of each month.",
    )
