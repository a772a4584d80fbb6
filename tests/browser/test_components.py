"""Every macro of `ui.html` on one page, and the pages about users, in a real browser."""

from decimal import Decimal

import pytest
from flask import Flask, render_template_string
from playwright.sync_api import Page, expect

from billing.access.model import Grant, Role
from billing.chart import Chart, Series
from billing.forms import Form
from billing.listing import Cell, Column, Listing
from metering.kit.guards import PUBLIC, guarded
from tests import web
from tests.browser.conftest import Site, enter, looks_of

pytestmark = pytest.mark.browser

PAGE = """
{% extends "layout.html" %}{% import "ui.html" as ui %}
{% from "nhsuk/components/select/macro.jinja" import select %}
{% block title %}Components{% endblock %}
{% block beforeContent %}{{ ui.breadcrumbs([("Home", "/"), ("Invoices", "/help")]) }}{% endblock %}
{% block content %}
{{ ui.errors(form) }}
<h1 class="nhsuk-heading-l">Components</h1>
{{ ui.banner("The month closes on 30 April.", title="Important") }}
{{ ui.figures(figures) }}
{% call ui.filters("/components", "/components") %}
{{ select({"label": {"text": "State"}, "id": "state", "name": "state",
           "items": [{"value": "", "text": "All"}, {"value": "issued", "text": "Issued"}]}) }}
{% endcall %}
{{ ui.listing(listing) }}
{{ ui.chart(bars, id="bars") }}
{{ ui.chart(lines, id="lines") }}
{{ ui.summary_card("Invoice", [("Total", amount | money),
                               ("State", ui.status("Issued", "blue"))]) }}
{{ ui.text_field(form, "name", "Name", hint="As on the contract") }}
{{ ui.textarea_field(form, "why", "Why") }}
{{ ui.empty("There are no disputes.") }}
{% endblock %}
"""


def series(name: str, *pounds: int, expected_from: int | None = None) -> Series:
    values = tuple(Decimal(amount) for amount in pounds)
    return Series(name, values, tuple(f"£{amount:,}.00" for amount in pounds), expected_from)


MONTHS = ("April", "May", "June", "July", "August", "September")
BARS = Chart(
    title="Spend by month",
    summary="Spend rose from £8,200 in April to an expected £13,900 in September.",
    label_name="Month",
    labels=MONTHS,
    series=(series("Spend", 8200, 9100, 9900, 11250, 12800, 13900, expected_from=4),),
    prefix="£",
    limit=Decimal(12000),
    limit_name="Budget",
)
LINES = Chart(
    title="Studies archived",
    summary="Leeds archived more studies than York in every month.",
    label_name="Month",
    labels=MONTHS,
    series=(series("Leeds", 80, 91, 99, 112, 128, 139), series("York", 40, 42, 50, 45, 61, 70)),
    kind="line",
)
LISTING = Listing(
    caption="Invoices",
    columns=(
        Column("Number", key="number"),
        Column("Month", key="month"),
        Column("State"),
        Column("Total", key="total", numeric=True),
        Column("Action"),
    ),
    rows=tuple(
        (
            Cell(f"PG-2026-{number:06d}", href="/help", nowrap=True),
            Cell("April 2026"),
            Cell("Issued", colour="blue") if number % 2 else Cell("Settled", colour="green"),
            Cell(f"£{number * 1234:,}.50"),
            Cell("Download", href="/help", hidden=f"PG-2026-{number:06d}"),
        )
        for number in range(1, 7)
    ),
    path="/components",
    sort="total",
    page=3,
    page_size=6,
    total=60,
)


@pytest.fixture
def app(app: Flask) -> Flask:
    """The application with one page more."""

    @guarded(PUBLIC)
    def components() -> str:
        return render_template_string(
            PAGE,
            form=Form({"name": "Leeds"}, {"why": "Say why"}),
            figures=[
                {"label": "This month so far", "value": "£12,345.67", "note": "To 14 April 2026"},
                {"label": "Expected", "value": "£24,100", "note": "£800 over", "tone": "warning"},
                {"label": "Saved by the pool", "value": "£1,020.00", "tone": "success"},
            ],
            listing=LISTING,
            bars=BARS,
            lines=LINES,
            amount=Decimal("1234.50"),
        )

    app.add_url_rule("/components", "components", components)
    return app


def test_every_macro_meets_wcag_and_fits(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/components")
    page.get_by_text("Show the figures").first.click()
    expect(page.get_by_role("cell", name="£13,900.00 (expected)")).to_be_visible()
    assert looks_of(page) == []


def test_a_list_is_sorted_and_paged_by_links(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/components")
    page.get_by_role("link", name="Number (sort)").click()
    expect(page).to_have_url(f"{site.url}/components?sort=number&direction=ascending")
    page.goto(f"{site.url}/components")
    page.get_by_role("link", name="Page 10").click()
    expect(page).to_have_url(f"{site.url}/components?sort=total&direction=ascending&page=10")


def test_a_user_is_made_and_shown(page: Page, site: Site) -> None:
    enter(page, site, web.signed_in(site.app, [Grant(Role.ADMINISTRATOR)]))
    page.goto(f"{site.url}/users/new")
    page.get_by_label("Full name").fill("Grace Hopper")
    page.get_by_label("Work email address").fill("grace@example.nhs.uk")
    page.get_by_label("Role").select_option("approver")
    page.get_by_role("button", name="Add user").click()
    expect(page.locator("h1")).to_have_text("Temporary password for Grace Hopper")
    assert looks_of(page) == []
    page.get_by_role("link", name="Go to Grace Hopper").click()
    expect(page.locator("h1")).to_have_text("Grace Hopper")
    assert looks_of(page) == []
