"""The console in a real browser: on a phone and a desktop, with and without JavaScript."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from billing import jobs
from billing.access.model import Grant, Role
from metering.kit.clock import now
from metering.kit.db import Database
from metering.meters import operations as meters
from metering.sources import operations as sources
from tests import make, web
from tests.browser.conftest import DESKTOP, PHONE, Site, enter, faults_of, overflow_of, reach
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


# With scripts on a desktop, and without any on a phone.
WAYS = pytest.mark.parametrize("way", [(True, DESKTOP), (False, PHONE)], ids=["wide", "plain"])


@dataclass(frozen=True)
class Office:
    """The console of one empty application, and a browser that is signed in as anybody."""

    page: Page
    site: Site
    scripts: bool

    def enter(self, *grants: Grant, email: str) -> None:
        """Sign in as somebody new with these roles."""
        enter(self.page, self.site, web.signed_in(self.site.app, grants, email=email))

    def go(self, path: str) -> None:
        self.page.goto(f"{self.site.url}/console/{path}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name).first.click()

    def look(self) -> None:
        """Check that what is on the screen fits its window, and with scripts WCAG."""
        assert overflow_of(self.page) == 0, self.page.url
        if self.scripts:
            assert faults_of(self.page) == [], self.page.url


@pytest.fixture
def office(browser: Browser, site: Site, way: tuple[bool, int]) -> Iterator[Office]:
    """The console, in a browser with or without scripts."""
    scripts, width = way
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts
    )
    yield Office(context.new_page(), site, scripts)
    context.close()


@WAYS
def test_a_month_end(office: Office, database: Database, clock: web.Clock) -> None:
    page = office.page
    service(database)
    trusts(database, "RA1")
    uses(database, "RA1", "1000")
    clock.now = after(APRIL)
    office.enter(Grant(Role.ANALYST), email="a@x.example")
    office.go("month-ends")
    office.press("Start the month end of April 2026")
    office.press("Draft the invoices")
    jobs.work_bill_runs(database, now=clock())
    office.follow("See how far it is")
    expect(page.locator("main")).to_contain_text("£600.00")
    expect(page.locator("main")).to_contain_text("somebody else must approve it")
    expect(page.get_by_role("button", name="Approve these drafts")).to_have_count(0)
    office.follow("Trust RA1")
    office.press("Hold the account")
    expect(page.get_by_role("alert")).to_contain_text("Enter why the account is held")
    office.look()
    office.enter(Grant(Role.APPROVER), email="b@x.example")
    office.go("month-ends/2026-04")
    office.press("Approve these drafts")
    expect(page.locator("h1")).to_contain_text("April 2026")
    expect(page.locator(".paygo-heading .nhsuk-tag")).to_have_text("Approved")


@WAYS
def test_a_tariff_is_edited_simulated_submitted_and_approved(
    office: Office, database: Database, clock: web.Clock
) -> None:
    page = office.page
    service(database)
    trusts(database, "RA1")
    uses(database, "RA1", "1000")
    clock.now = after(APRIL)
    jobs.rate_month_to_date(database, now=clock())
    office.enter(Grant(Role.ANALYST), email="a@x.example")
    office.go("tariffs/import")
    page.get_by_label("Text of the tariff").fill(TARIFF.replace('"0.30"', "0.30"))
    office.press("Check and save the draft")
    expect(page.get_by_role("alert")).to_contain_text("The tariff is not saved")
    expect(page.get_by_label("Text of the tariff")).to_have_value(re.compile("unit_price: 0.30"))
    office.look()
    page.get_by_label("Text of the tariff").fill(TARIFF)
    office.press("Check and save the draft")
    expect(page.locator("h1")).to_contain_text("Version 2026-07")
    office.look()
    office.follow("Edit Studies archived")
    page.get_by_label("Tier 2, price of a unit").fill("0.50")
    office.press("Save the price")
    page.get_by_role("alert").get_by_role("link").first.click()
    expect(page.get_by_label("Tier 2, price of a unit")).to_be_focused()
    office.look()
    page.get_by_label("Tier 2, price of a unit").fill("0.25")
    office.press("Save the price")
    expect(page.get_by_role("cell", name="£0.25")).to_be_visible()
    office.follow("What it would have cost")
    page.get_by_label("First month").select_option("2026-04")
    page.get_by_label("Last month").select_option("2026-04")
    office.press("Simulate")
    jobs.simulate(database, now=clock())
    page.locator(".paygo-checks").get_by_role("link", name="April 2026").first.click()
    expect(page.get_by_role("heading", name="Gainers and losers")).to_be_visible()
    office.look()
    office.follow("Version 2026-07")
    office.press("Submit for approval")
    expect(page.get_by_role("button", name="Approve this version")).to_have_count(0)
    office.enter(Grant(Role.APPROVER), email="b@x.example")
    page.reload()
    office.press("Approve this version")
    expect(page.locator(".paygo-heading .nhsuk-tag")).to_have_text("Approved")
    office.look()


@WAYS
def test_what_is_refused_is_mended_and_replayed_and_a_key_rotated(
    office: Office, database: Database, clock: web.Clock
) -> None:
    page, site = office.page, office.site
    clock.now = after(APRIL)
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        key = sources.issue_key(
            session,
            source_code="imaging-archive",
            label="Production",
            created_by="test",
            now=clock(),
        ).text
    event = {
        "specversion": "1.0",
        "id": "first",
        "source": "imaging-archive",
        "type": "uk.nhs.studies-archived",
        "subject": "RA1",
        "time": clock().isoformat(),
        "data": {"quantity": "2"},
    }
    headers = {"Authorization": f"Bearer {key}"}
    site.app.test_client().post("/api/v1/events", json=event, headers=headers)
    owner = Grant(Role.SERVICE_OWNER, source_id=1)
    office.enter(owner, email="o@x.example")
    office.go("services/1")
    office.follow("Subject unknown")
    page.locator("tbody a").first.click()
    expect(page.locator("main")).to_contain_text("RA1")
    expect(page.get_by_role("button", name="Replay this event")).to_have_count(0)
    office.look()
    # The central team registers what is missing, and replays it.
    office.enter(Grant(Role.ANALYST), email="a@x.example")
    office.go("quarantine")
    office.follow("register an organisation")
    office.press("Register an organisation")
    page.get_by_label("ODS code").fill("ra1")
    page.get_by_label("Name").fill("Airedale NHS Foundation Trust")
    page.get_by_label("Kind").select_option("acute")
    office.press("Register it")
    expect(page.get_by_role("alert")).to_contain_text("is registered")
    office.look()
    office.go("quarantine")
    office.press("Replay all")
    expect(page.get_by_role("alert")).to_contain_text("1 event was accepted")
    # The owner changes the key without a gap.
    office.enter(owner, email="p@x.example")
    office.go("services/1")
    expect(page.locator("main")).to_contain_text("No event is in quarantine")
    office.follow("Rotate")
    page.get_by_label("How long the old key still works").select_option("day")
    office.look()
    office.press("Issue the new key")
    expect(page.locator(".paygo-code")).to_contain_text("pgk_")
    expect(page.locator("main")).to_contain_text("6 May 2026")
    office.look()
    office.follow("I have copied the key")
    expect(page.get_by_text("Ends on 6 May 2026")).to_be_visible()


@pytest.mark.parametrize("way", [(True, DESKTOP)], ids=["wide"])
def test_the_keyboard_alone_finds_and_dismisses_a_refused_event(
    office: Office, database: Database, clock: web.Clock
) -> None:
    page = office.page
    clock.now = after(APRIL)
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        key = sources.issue_key(
            session, source_code="imaging-archive", label="x", created_by="test", now=clock()
        ).text
    headers = {"Authorization": f"Bearer {key}"}
    event = {
        "specversion": "1.0",
        "id": "first",
        "source": "imaging-archive",
        "type": "uk.nhs.studies-archived",
        "subject": "RA1",
        "time": clock().isoformat(),
        "data": {"quantity": "2"},
    }
    office.site.app.test_client().post("/api/v1/events", json=event, headers=headers)
    office.enter(Grant(Role.ANALYST), email="a@x.example")
    office.go("")
    reach(page, "Quarantine")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    reach(page, "5 May 2026")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    reach(page, "", tag="INPUT")
    page.keyboard.type("The trust does not exist")
    reach(page, "Dismiss this event")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_be_visible()
    office.go("quarantine?state=dismissed")
    expect(page.locator("tbody").last).to_contain_text("Dismissed")


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
    enter(page, site, web.signed_in(site.app, [Grant(Role.ANALYST)]))
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
