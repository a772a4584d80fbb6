"""From a bank's file to a settled invoice, as a clerk does it; every money page meets WCAG."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from billing.access.model import Grant, Role
from billing.invoices.queries import invoice_row
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers
from tests.browser.conftest import DESKTOP, PHONE, Site, faults_of, overflow_of

pytestmark = pytest.mark.browser
MONEY = "/console/money"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    """The application on the day after the bank's statement."""
    return web.make_app(database, tmp_path, web.Clock(datetime(2026, 6, 21, 9, 0, tzinfo=UTC)))


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_statement_settles_an_invoice(
    browser: Browser, site: Site, database: Database, tmp_path: Path, width: int
) -> None:
    with database.transaction() as session:
        account = makers.account(session, name="Leeds Teaching Hospitals NHS Trust")
        invoice = makers.issue(session, account, "100.00")
        makers.issue(session, account, "50.00")
        makers.statement(session, ("-3.10", "bank charges"), ("60.00", "Leeds"))
    file = tmp_path / "june.csv"
    file.write_text(
        "Transaction date,Description,Reference,Money in,Money out\n"
        f"20/06/2026,LEEDS TEACHING HOSP,{invoice.number},120.00,\n"
    )
    client = web.signed_in(site.app, [Grant(Role.ANALYST), Grant(Role.APPROVER)])
    cookie = client.get_cookie("paygo_session")
    assert cookie is not None
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_cookies([{"name": "paygo_session", "value": cookie.value, "url": site.url}])
    page = context.new_page()

    def right(what: str) -> None:
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert faults_of(page) == [], what
        assert overflow_of(page) == 0, what
        assert page.locator("h1").count() == 1, what

    page.goto(f"{site.url}{MONEY}/bank")
    right("queue")
    page.get_by_role("button", name="Import a statement").click()
    right("import")
    page.get_by_label("Bank statement").set_input_files(file)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="Is this the statement?")).to_be_visible()
    right("preview")
    page.get_by_role("button", name="Import 1 line").click()
    expect(page.get_by_text("1 new line imported.")).to_be_visible()
    page.get_by_role("link", name="LEEDS TEACHING HOSP").click()
    expect(page.get_by_text("open by exactly this amount").first).to_be_visible()
    right("line")
    page.get_by_role("button", name="Confirm suggestion 1").click()
    expect(page.get_by_text("The whole line is matched.")).to_be_visible()
    right("matched line")
    with database.snapshot() as session:
        row = invoice_row(session, account_id=account.id, invoice_id=invoice.id)
        assert row.status == "settled"
    page.get_by_role("link", name=re.compile("^Payment")).click()
    right("payment")

    for path in (
        "",
        "/bank?state=all",
        "/bank/imports",
        "/bank/advice",
        "/payments",
        "/refunds",
        "/debt",
        f"/debt/accounts/{account.id}",
        "/reminders",
        f"/reminders/accounts/{account.id}",
        "/ledger",
        "/ledger/journal?first-day=1&first-month=5&first-year=2026",
        "/ledger/settlement?month=2026-05",
        "/ledger/prompt-payment",
        "/stripe",
        "/stripe?show=webhooks",
    ):
        page.goto(f"{site.url}{MONEY}{path}")
        right(path)
    context.close()
