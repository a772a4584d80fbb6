"""The overview: what an account's finance team needs first."""

from flask import render_template, url_for

from billing.budgets import queries as budgets
from billing.forecasts import queries as forecasts
from billing.portal import invoice_queries, overview_queries
from billing.portal.account import opened
from billing.portal.blueprint import blueprint
from billing.portal.budget_queries import tariff_names
from billing.portal.invoice_queries import InvoiceFilter
from billing.portal.overview_pages import MONTHS, overview_page
from billing.portal.owing import owing
from metering.kit.web import edge
from metering.periods import Month, london_day

_LATEST = 3


@blueprint.get("/<code>/")
def overview(code: str) -> str:
    """Show the month to date, what is owed and what changed."""
    now = edge().clock()
    month, today = Month.of(now), london_day(now)
    first = month.shift(1 - MONTHS)
    with opened(code) as (session, account):
        latest, _ = invoice_queries.invoices(
            session,
            account_id=account.id,
            wanted=InvoiceFilter(),
            today=today,
            sort="issued",
            direction="descending",
            page=1,
            page_size=_LATEST,
        )
        page = overview_page(
            account=account,
            root=url_for("portal.overview", code=code),
            month=month,
            now=now,
            parts=overview_queries.parts_by_month(
                session, account_id=account.id, first=first, last=month
            ),
            invoiced=overview_queries.invoiced(
                session, account_id=account.id, first=first, last=month
            ),
            owing=owing(session, account_id=account.id, today=today),
            latest=latest,
            parked=overview_queries.parked(session, account_id=account.id),
            forecast=forecasts.latest(session, account_id=account.id, month=month),
            budgets=budgets.standings(session, today=today, account_id=account.id),
            names=tariff_names(session),
            rated_at=overview_queries.rated_at(session, account_id=account.id, month=month),
        )
    return render_template("portal/overview.html", page=page)
