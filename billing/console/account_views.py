"""Accounts: who pays, for what, how they are addressed and taxed."""

from flask import Response, flash, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.access.model import Permission
from billing.accounts.queries import account as account_row
from billing.console import account_queries as queries
from billing.console.account_pages import (
    account_page,
    accounts_sheet,
    agreements_sheet,
    orders_sheet,
    treatments_sheet,
)
from billing.console.blueprint import blueprint
from billing.console.local_pages import locals_sheet
from billing.console.overview_queries import tariff_names
from billing.forms import Form
from billing.web import go
from metering.kit.web import edge
from metering.periods import london_day


@blueprint.get("/accounts")
def accounts() -> Response | str:
    """List the accounts."""
    search = request.args.get("search", "").strip()[:100]
    state = request.args.get("state", "")
    with edge().database.snapshot() as session:
        found = queries.accounts(session, today=london_day(edge().clock()), search=search)
    kept = [item for item in found if state in {"", "closed" if item.closed else "open"}]
    sheet = accounts_sheet()
    return render_template(
        "console/accounts.html",
        listing=sheet.listing(
            kept,
            query={"search": search, "state": state},
            empty="No account fits. Change what you search for, or clear the filters.",
        ),
        filters=Form({"search": search, "state": state}),
        is_filtered=bool(search or state),
    )


@blueprint.get("/accounts/<account_id>")
def account(account_id: str) -> Response | str:
    """Show one account and everything agreed with it."""
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        row = account_row(session, account_id=account_id)
        found = queries.details(session, account=row)
        names = tariff_names(session)
    may_prepare = current_principal().may(Permission.PREPARE) and row.closed_at is None
    agreements = agreements_sheet(names, today=today, may_prepare=may_prepare)
    locals_ = locals_sheet(names, today=today)
    orders = orders_sheet(names, today=today)
    treatments = treatments_sheet(names, today=today)
    page = account_page(
        found,
        agreements=agreements.listing(found.agreements),
        locals_=locals_.listing(found.locals),
        orders=orders.listing(found.orders),
        treatments=treatments.listing(found.treatments),
    )
    return render_template("console/account.html", page=page, may_change=may_prepare)


def account_name(session: Session, account_id: str) -> str:
    """Return the name of an account.

    Raises:
        AccountUnknown: there is none with this id.
    """
    return account_row(session, account_id=account_id).name


def done(account_id: str, words: str) -> Response:
    """Say what was done, on the account's page."""
    flash(words, "success")
    return go(url_for("console.account", account_id=account_id))
