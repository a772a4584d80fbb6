"""The console in a real browser: on a phone and a desktop, with and without JavaScript."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from billing import jobs
from billing.access.model import Grant, Role
from billing.bundles.operations import ask_for_bundle
from billing.disputes.operations import raise_dispute
from billing.invoices import queries as invoices
from billing.runs import operations, work
from billing.runs import queries as runs
from metering.kit.clock import now
from metering.kit.db import Database
from metering.meters import operations as meters
from metering.sources import operations as sources
from tests import make, web
from tests.browser.conftest import DESKTOP, PHONE, Site, faults_of, overflow_of
from tests.scenarios.story import APRIL, after, service, trusts, uses

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
TARIFF = """\
tariff: imaging-archive
version: "2026-07"
effective_from: 2026-07-01
vat: standard
prices:
  - {meter: studies-archived, model: graduated, scope: pool,
     tiers: [{up_to: "100", unit_price: "0.40"}, {up_to: null, unit_price: "0.30"}]}
"""


def enter(page: Page, site: Site, *roles: Role, email: str) -> None:
    """Sign the browser in as somebody with these roles."""
    client = web.signed_in(site.app, [Grant(role) for role in roles], email=email)
    cookie = client.get_cookie("paygo_session")
    assert cookie is not None
    page.context.clear_cookies()
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site.url}])


def look(page: Page, *, scripts: bool = True) -> None:
    """Check that what is on the screen meets WCAG and fits its window."""
    page.wait_for_load_state()
    assert overflow_of(page) == 0, page.url
    if scripts:
        assert faults_of(page) == [], page.url


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """A small page without JavaScript."""
    context = browser.new_context(
        viewport={"width": PHONE, "height": 900}, java_script_enabled=False
    )
    yield context.new_page()
    context.close()


def test_a_month_end_without_javascript_on_a_phone(
    plain: Page, site: Site, database: Database, clock: web.Clock
) -> None:
    service(database)
    trusts(database, "RA1")
    uses(database, "RA1", "1000")
    clock.now = after(APRIL)
    enter(plain, site, Role.ANALYST, email="a@x.example")
    plain.goto(f"{site.url}/console/month-ends")
    plain.get_by_role("button", name="Start the month end of April 2026").click()
    plain.get_by_role("button", name="Draft the invoices").click()
    jobs.work_bill_runs(database, now=clock())
    plain.get_by_role("link", name="See how far it is").click()
    expect(plain.locator("main")).to_contain_text("£600.00")
    expect(plain.locator("main")).to_contain_text("somebody else must approve it")
    expect(plain.get_by_role("button", name="Approve these drafts")).to_have_count(0)
    plain.get_by_role("link", name="Trust RA1").click()
    plain.get_by_role("button", name="Hold the account").click()
    expect(plain.get_by_role("alert")).to_contain_text("Enter why the account is held")
    look(plain, scripts=False)
    enter(plain, site, Role.APPROVER, email="b@x.example")
    plain.goto(f"{site.url}/console/month-ends/2026-04")
    plain.get_by_role("button", name="Approve these drafts").click()
    expect(plain.locator("h1")).to_contain_text("April 2026")
    expect(plain.locator(".paygo-heading .nhsuk-tag")).to_have_text("Approved")


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_what_is_kept_and_decided(page: Page, site: Site, database: Database, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    service(database)
    (trust,) = trusts(database, "RA1")
    enter(page, site, Role.ANALYST, email="a@x.example")
    page.goto(f"{site.url}/console/tariffs/import")
    page.get_by_label("Text of the tariff").fill(TARIFF.replace('"0.30"', "0.30"))
    page.get_by_role("button", name="Check and save the draft").click()
    expect(page.get_by_role("alert")).to_contain_text("The tariff is not saved")
    expect(page.get_by_label("Text of the tariff")).to_have_value(re.compile("unit_price: 0.30"))
    look(page)
    page.get_by_label("Text of the tariff").fill(TARIFF)
    page.get_by_role("button", name="Check and save the draft").click()
    expect(page.locator("h1")).to_contain_text("Version 2026-07")
    look(page)
    page.get_by_role("link", name="Edit Studies archived").click()
    page.get_by_label("Tier 2, price of a unit").fill("0.50")
    page.get_by_role("button", name="Save the price").click()
    page.get_by_role("alert").get_by_role("link").first.click()
    expect(page.get_by_label("Tier 2, price of a unit")).to_be_focused()
    look(page)
    page.get_by_label("Tier 2, price of a unit").fill("0.25")
    page.get_by_role("button", name="Save the price").click()
    expect(page.get_by_role("cell", name="£0.25")).to_be_visible()
    page.get_by_role("link", name="What it would have cost").click()
    expect(page.locator("h1")).to_contain_text("What it would have cost")
    look(page)
    page.goto(f"{site.url}/console/accounts/{trust.id}/agreements/new")
    page.get_by_role("button", name="Make the agreement").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look(page)
    page.get_by_role("alert").get_by_role("link", name="Enter the first day").click()
    page.goto(f"{site.url}/console/services/1/keys/new")
    page.get_by_label("Where the key will live").fill("Production")
    page.get_by_role("button", name="Issue the key").click()
    expect(page.locator(".paygo-code")).to_contain_text("pgk_")
    look(page)


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_every_page_meets_wcag_and_fits(
    page: Page, site: Site, database: Database, clock: web.Clock, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    service(database)
    trust, _ = trusts(database, "RA1", "RA2")
    for code in ("RA1", "RA2"):
        uses(database, code, "1000")
    clock.now = after(APRIL)
    jobs.rate_month_to_date(database, now=clock())
    enter(page, site, Role.ANALYST, Role.APPROVER, Role.AUDITOR, email="a@x.example")
    page.goto(f"{site.url}/console/month-ends")
    look(page)
    page.get_by_role("button", name="Start").click()
    with database.snapshot() as session:
        (run,) = runs.runs(session)
    work.draft_run(database, run_id=run.id, now=clock())
    for path in (
        "",
        "month-ends/2026-04",
        f"month-ends/2026-04/accounts/{trust.id}",
        "accounts",
        "accounts/new",
        f"accounts/{trust.id}",
        "queries",
        "tariffs",
        "tariffs/imaging-archive",
        "services",
        "services/new",
        "services/1",
        "services/1/posting",
        "services/1/refused",
        "services/1/meters/new",
        "quarantine",
        "reconciliation?month=2026-04",
        "reconciliation/manifests",
        "reconciliation/unpriced",
        "jobs",
        "jobs/roll-up",
        "audit",
        "audit/1",
        "audit/proof",
    ):
        page.goto(f"{site.url}/console/{path}")
        look(page)
    with database.transaction() as session:
        operations.approve_run(session, run_id=run.id, principal="usr_other", now=clock())
    work.issue_run(database, run_id=run.id, principal="usr_other", now=clock())
    with database.transaction() as session:
        (issued,) = invoices.invoices(session, account_id=trust.id)
        query = raise_dispute(
            session,
            account_id=trust.id,
            invoice_id=issued.id,
            reason="quantity",
            text="We used less.",
            principal="usr_trust",
            now=clock(),
        ).id
        bundle = ask_for_bundle(session, run_id=run.id, principal="usr_other", now=clock()).id
    for path in (
        "month-ends/2026-04",
        f"month-ends/2026-04/bundles/{bundle}",
        f"queries/{query}",
        f"accounts/RA1/invoices/{issued.id}/credit",
        "money/balances",
        "money/ledger/codes",
    ):
        page.goto(f"{site.url}/console/{path}")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        look(page)


@pytest.fixture
def app(database: Database, tmp_path: Path, clock: web.Clock) -> Flask:
    """The whole application, at the real time where a program posts to it."""
    clock.now = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)
    return web.make_app(database, tmp_path, clock)


def test_the_examples_work_as_they_are_printed(
    page: Page, site: Site, database: Database, clock: web.Clock, tmp_path: Path
) -> None:
    clock.now = now()
    with database.transaction() as session:
        make.organisation(session)
        make.source(session, now=clock())
        meters.register(
            session,
            source_code="imaging-archive",
            code="studies-archived",
            name="Studies archived",
            event_type="study.archived",
            aggregation="sum",
            quantity_field="studies",
            unit="study",
            dimensions={"modality": {"label": "Modality", "values": ["CT", "MR"]}},
            now=clock(),
        )
        key = sources.issue_key(
            session,
            source_code="imaging-archive",
            label="test",
            created_by="test",
            now=clock(),
        ).text
    enter(page, site, Role.ANALYST, email="a@x.example")
    page.goto(f"{site.url}/console/services/1/posting")
    curl, python, client = (box.text_content() or "" for box in page.locator(".paygo-code").all())
    environment = {**os.environ, "PAYGO_KEY": key, "PYTHONPATH": str(ROOT)}
    for command in (["bash", "-c", curl], [sys.executable, "-c", python]):
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert re.search(r"['\"]accepted['\"]: ?1", done.stdout), done.stdout
    done = subprocess.run(
        [sys.executable, "-c", client],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "delivered" in done.stdout, done.stdout + done.stderr
    assert "accepted=1" in done.stdout
    page.goto(f"{site.url}/console/services/1")
    accepted = page.locator(".paygo-figure").filter(has_text="Accepted in 24 hours")
    expect(accepted.locator(".paygo-figure__value")).to_have_text("3")
