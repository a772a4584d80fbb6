"""Journeys of a trust and of the central team, on a desktop with scripts and a phone without."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from billing import jobs
from billing.access.model import Grant, Role
from billing.accounts.tables import AccountRow
from billing.bundles.work import make_bundles
from billing.payments import prepaid
from metering.kit.db import Database
from metering.periods import Month
from tests import web
from tests.billing.payments import makers
from tests.browser.conftest import DESKTOP, PHONE, Site, enter, looks_of, overflow_of
from tests.scenarios import story

pytestmark = pytest.mark.browser

FEBRUARY, MARCH = Month(2026, 2), Month(2026, 3)
# The month after the year's end: balances of March are agreed.
NOW = story.after(MARCH)
WAYS = pytest.mark.parametrize("way", [(True, DESKTOP), (False, PHONE)], ids=["wide", "plain"])


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    story.service(database, effective_from=date(2025, 4, 1))
    (trust,) = story.trusts(database, "RA1", starts_on=date(2025, 4, 1))
    story.uses(database, "RA1", "100", at=date(2026, 2, 10))
    story.month_end(database, FEBRUARY)
    jobs.make_documents(database, now=NOW)
    app = web.make_app(database, tmp_path, web.Clock(NOW))
    app.config["TRUST"] = trust.id
    return app


@pytest.fixture
def screen(browser: Browser, way: tuple[bool, int]) -> Iterator[Page]:
    scripts, width = way
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts
    )
    context.set_default_timeout(8_000)
    yield context.new_page()
    context.close()


def press(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name).first.click()


def follow(page: Page, name: str) -> None:
    page.locator("main").get_by_role("link", name=name).first.click()


def said(page: Page, words: str) -> None:
    expect(page.locator("main")).to_contain_text(words)
    assert overflow_of(page) == 0, page.url


@WAYS
def test_a_trust_sets_a_budget_who_is_told_and_takes_its_documents(
    screen: Page, site: Site, database: Database
) -> None:
    page, root = screen, f"{site.url}/portal/RA1/"
    editor = Grant(Role.FINANCE_EDITOR, account_id=site.app.config["TRUST"])
    enter(page, site, web.signed_in(site.app, [editor]))

    page.goto(f"{root}budgets")
    press(page, "Set a budget")
    page.get_by_label("Amount without VAT").fill("a lot")
    press(page, "Save the budget")
    expect(page.get_by_label("Amount without VAT")).to_have_value("a lot")
    page.get_by_label("Amount without VAT").fill("6,000")
    press(page, "Save the budget")
    said(page, "The budget of £6,000.00 is set.")
    follow(page, "Change")
    page.get_by_label("Amount without VAT").fill("7000")
    press(page, "Save the budget")
    said(page, "£7,000.00")
    follow(page, "Change")
    press(page, "End this budget")
    said(page, "The budget is ended.")

    page.goto(f"{root}notifications")
    press(page, "Add an email address")
    page.get_by_label("Email address").fill("nobody")
    page.get_by_role("checkbox").first.check()
    press(page, "Add")
    expect(page.get_by_label("Email address")).to_have_value("nobody")
    expect(page.get_by_role("checkbox").first).to_be_checked()
    page.get_by_label("Email address").fill("payables@trust.example")
    press(page, "Add")
    said(page, "payables@trust.example")
    follow(page, "Change")
    page.get_by_role("checkbox").nth(1).check()
    press(page, "Save")
    follow(page, "Change")
    expect(page.get_by_role("checkbox").nth(1)).to_be_checked()
    press(page, "Tell this address no more")
    said(page, "No further address is told of anything.")

    page.goto(f"{root}invoices")
    press(page, "Make the file")
    assert "/bundles/" in page.url
    expect(page.get_by_role("progressbar")).to_be_visible()
    assert make_bundles(database, now=NOW)["bundles"] == 1
    page.reload()
    with page.expect_download() as waiting:
        press(page, "Download the file (zip)")
    assert waiting.value.suggested_filename.endswith(".zip")

    page.goto(f"{root}balances")
    said(page, "M12, March 2026")
    with page.expect_download() as waiting:
        follow(page, "PDF")
    assert waiting.value.suggested_filename == "RA1-balances-2026-03.pdf"


def fill_day(page: Page, legend: str, day: str) -> None:
    group = page.get_by_role("group", name=legend).first
    for name, number in zip(("Year", "Month", "Day"), day.split("-"), strict=True):
        group.get_by_label(name).fill(number)


@WAYS
def test_the_central_team_holds_credit_agrees_balances_and_terms_and_registers_a_body(
    screen: Page, site: Site, database: Database, way: tuple[bool, int]
) -> None:
    page, app, trust = screen, site.app, site.app.config["TRUST"]
    with database.transaction() as session:
        account = session.get_one(AccountRow, trust)
        payment = makers.stripe_payment(
            session, account, "500.00", received_on=date(2026, 4, 1), now=NOW
        )
    go: Callable[[str], object] = lambda path: page.goto(f"{site.url}/console/{path}")  # noqa: E731
    enter(page, site, web.signed_in(app, [Grant(Role.ANALYST)], email="analyst@nhs.example"))

    go(f"money/payments/{trust}/{payment.id}")
    press(page, "Hold as prepaid credit")
    fill_day(page, "First day on which it is drawn no more", "2020-1-1")
    press(page, "Hold it as prepaid credit")
    expect(page.get_by_role("alert")).to_be_visible()
    fill_day(page, "First day on which it is drawn no more", "2027-4-1")
    press(page, "Hold it as prepaid credit")
    said(page, "£500.00 is left to draw today")
    with database.transaction() as session:
        assert prepaid.draw(session, account_id=trust, principal="job:clear", now=NOW) == 1
    page.reload()
    said(page, "£440.00")

    go("money/balances")
    said(page, "M12, March 2026")
    follow(page, "Trust RA1")
    said(page, "Invoiced in 2025/26")
    if way[0]:
        assert looks_of(page) == []
        page.set_viewport_size({"width": DESKTOP, "height": 900})
    with page.expect_download() as waiting:
        follow(page, "PDF")
    assert waiting.value.suggested_filename == "RA1-balances-2026-03.pdf"

    go("organisations")
    press(page, "Register an organisation")
    page.get_by_label("ODS code").fill("R!")
    page.get_by_label("Name").fill("Leeds")
    press(page, "Register it")
    expect(page.get_by_label("Name")).to_have_value("Leeds")
    page.get_by_label("ODS code").fill("rr8")
    page.get_by_label("Kind").select_option("acute")
    press(page, "Register it")
    said(page, "Leeds is registered.")

    go(f"accounts/{trust}")
    press(page, "Propose local terms")
    page.get_by_label("Service").select_option(index=1)
    fill_day(page, "First day", "2026-5-1")
    page.get_by_label("Discount, percent").fill("200")
    press(page, "Propose the terms")
    expect(page.get_by_label("Discount, percent")).to_have_value("200")
    page.get_by_label("Discount, percent").fill("2")
    press(page, "Propose the terms")
    follow(page, "local terms from 1 May 2026")
    said(page, "Another person must approve these terms.")
    expect(page.get_by_role("button", name="Approve these terms")).to_have_count(0)
    here = page.url
    enter(page, site, web.signed_in(app, [Grant(Role.APPROVER)], email="approver@nhs.example"))
    page.goto(here)
    press(page, "Approve these terms")
    said(page, "Approved")
