"""The national overview: where the central team starts."""

from flask import Response, render_template, request

from billing.console import overview_queries as queries
from billing.console.blueprint import blueprint
from billing.console.overview_pages import MONTHS_SHOWN, overview_page, use_sheet
from billing.forms import Form
from billing.runs import queries as runs
from metering.kit import jobruns
from metering.kit.web import edge
from metering.periods import Month, financial_year_start


def asked_month(*, usual: Month) -> Month:
    """Return the month that the address asks for, `?month=2026-04`; the usual one otherwise."""
    try:
        return Month.parse(request.args.get("month", ""))
    except ValueError:
        return usual


def month_choices(*, last: Month, count: int = 24) -> list[tuple[str, str]]:
    """Return months for a list box, the latest first."""
    months = [last.shift(-number) for number in range(count)]
    return [(str(month), month.name) for month in months]


@blueprint.get("/")
def home() -> Response | str:
    """Show what the nation uses and spends, and what waits for a person."""
    current = Month.of(edge().clock())
    with edge().database.snapshot() as session:
        last = max(current, queries.latest_month(session) or current)
        month = asked_month(usual=current)
        names = queries.tariff_names(session)
        used = queries.use_by_meter(session, month=month)
        first = min(last.shift(1 - MONTHS_SHOWN), financial_year_start(month.financial_year))
        spend = queries.spend_by_month(session, first=first, last=last)
        pools = queries.pool_standings(session, month=month)
        saved = queries.saved_by_pools(
            session, first=financial_year_start(month.financial_year), last=month
        )
        waiting = queries.waiting(session)
        jobs = list(jobruns.last_runs(session).values())
        open_runs = [row for row in runs.runs(session) if row.status != "issued"]
    sheet = use_sheet(month, names)
    page = overview_page(
        month=month,
        current=current,
        use=sheet.listing(used, query={"month": str(month)}),
        jobs=jobs,
        unfinished=Month.of_day(open_runs[-1].month) if open_runs else None,
        names=names,
        last=last,
        spend=spend,
        pools=pools,
        saved=saved,
        waiting=waiting,
    )
    return render_template(
        "console/overview.html",
        page=page,
        filters=Form({"month": str(month)}),
        months=month_choices(last=last),
    )
