"""The portal: where trust finance starts. Another trust's object is "not found" here."""

from functools import partial
from urllib.parse import urlencode

from flask import Flask, Response, render_template, request, url_for

from billing.access.guards import current_principal, scope_of
from billing.access.model import Permission
from billing.listing import Cell, Column, Listing, read_asked
from billing.portal import (
    balance_views,
    budget_views,
    bundle_views,
    cost_centre_views,
    dispute_views,
    invoice_views,
    notification_views,
    overview_views,
    prepaid_views,
    price_views,
    statement_views,
    usage_views,
)
from billing.portal.account import address_in_account
from billing.portal.account_queries import SORT_KEYS, account_choices
from billing.portal.blueprint import blueprint
from billing.sheets import send_file
from billing.web import add_navigation, go
from metering.kit.web import edge

_PAGE_SIZE = 25
_FILE_ROWS_MOST = 100_000
# In the order in which their links stand in the header.
_SECTIONS = (
    ("Overview", "portal.overview"),
    ("Usage", "portal.usage"),
    ("Invoices", "portal.invoices"),
    ("Statement", "portal.statement"),
    ("Prices", "portal.prices"),
    ("Budgets", "portal.budgets"),
    ("Notifications", "portal.notifications"),
)


@blueprint.get("/")
def home() -> Response | str:
    """Lead to the only account there is to see, or let people choose one."""
    principal = current_principal()
    everything = principal.may(Permission.SEE_EVERYTHING)
    search = request.args.get("search", "").strip()[:100]
    asked = read_asked(request.args, keys=SORT_KEYS, sort="name")
    wants_file = request.args.get("download") == "accounts"
    with edge().database.snapshot(scope=scope_of(principal)) as session:
        found, total = account_choices(
            session,
            account_ids=None if everything else principal.account_ids,
            search=search,
            sort=asked.sort,
            descending=asked.direction == "descending",
            page=1 if wants_file else asked.page,
            page_size=_FILE_ROWS_MOST if wants_file else _PAGE_SIZE,
        )
    if wants_file:
        send_file(
            "accounts",
            ("Account", "ODS code", "State"),
            ((item.name, item.code, "Closed" if item.closed else "Open") for item in found),
        )
    if not everything and not search and total == 1:
        return go(url_for("portal.overview", code=found[0].code))
    path = url_for("portal.home")
    query = {"search": search} if search else {}
    order = {"sort": asked.sort, "direction": asked.direction}
    listing = Listing(
        name="accounts",
        caption="Accounts",
        caption_hidden=True,
        columns=(Column("Account", "name"), Column("ODS code", "code"), Column("State", "state")),
        rows=tuple(
            (
                Cell(item.name, href=url_for("portal.overview", code=item.code)),
                Cell(item.code),
                Cell("Closed", colour="grey") if item.closed else Cell("Open", colour="green"),
            )
            for item in found
        ),
        path=path,
        query=query,
        sort=asked.sort,
        direction=asked.direction,
        page=asked.page,
        page_size=_PAGE_SIZE,
        total=total,
        download=f"{path}?{urlencode({**query, **order, 'download': 'accounts'})}"
        if found
        else None,
        empty=(
            "No account has that name or ODS code. Change what you search for."
            if search
            else "There is no account to show. Ask an administrator to give you a role for yours."
        ),
    )
    return render_template(
        "portal/accounts.html", listing=listing, search=search, everything=everything
    )


def register(app: Flask) -> None:
    """Add the portal to `app`."""
    app.register_blueprint(blueprint)
    for label, endpoint in _SECTIONS:
        add_navigation(
            app,
            area="portal",
            label=label,
            endpoint=endpoint,
            address=partial(_address, endpoint, first=endpoint == _SECTIONS[0][1]),
        )


def _address(endpoint: str, *, first: bool) -> str | None:
    # Where no account is open yet, one link leads to where it is chosen.
    return address_in_account(endpoint) or (url_for("portal.home") if first else None)


__all__ = [
    "balance_views",
    "blueprint",
    "budget_views",
    "bundle_views",
    "cost_centre_views",
    "dispute_views",
    "invoice_views",
    "notification_views",
    "overview_views",
    "prepaid_views",
    "price_views",
    "register",
    "statement_views",
    "usage_views",
]
