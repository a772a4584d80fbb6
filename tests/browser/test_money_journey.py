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
from tests.browser.conftest import DESKTOP, PHONE, Site, enter, looks_of, overflow_of

pytestmark = pytest.mark.browser
MONEY = "/console/money"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    """The application on the day after the bank's statement."""
    return web.make_app(database, tmp_path, web.Clock(datetime(2026, 6, 21, 9, 0, tzinfo=UTC)))


@pytest.mark.parametrize(("scripts", "width"), [(True, DESKTOP), (False, PHONE)])
def test_a_statement_settles_an_invoice(
    browser: Browser, site: Site, database: Database, tmp_path: Path, scripts: bool, width: int
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
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts
    )
    page = context.new_page()
    enter(page, site, web.signed_in(site.app, [Grant(Role.ANALYST), Grant(Role.APPROVER)]))

    def right(what: str) -> None:
        assert overflow_of(page) == 0, what
        if scripts:
            assert looks_of(page) == [], what
            page.set_viewport_size({"width": width, "height": 900})

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
    context.close()
