"""What trust finance does, in a real browser: with and without JavaScript, wide and narrow."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from billing.access.model import Role
from tests.browser.conftest import DESKTOP, PHONE, faults_of, overflow_of
from tests.trusts import ODS, Shown

pytestmark = pytest.mark.browser

ROOT = f"/portal/{ODS}/"


@dataclass(frozen=True)
class Portal:
    """The portal behind a real server, and the cookie of a finance editor."""

    url: str
    token: str
    shown: Shown

    def open(self, browser: Browser, *, scripts: bool = True, width: int = DESKTOP) -> Page:
        """Return a page signed in as the first trust's finance editor."""
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        context.add_cookies([{"name": "paygo_session", "value": self.token, "url": self.url}])
        return context.new_page()


@pytest.fixture(scope="module")
def portal(shown: Shown) -> Iterator[Portal]:
    """The application with three trusts behind a real server."""
    cookie = shown.finance(ODS, Role.FINANCE_EDITOR).get_cookie("paygo_session")
    assert cookie is not None
    server = make_server("127.0.0.1", 0, shown.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield Portal(f"http://127.0.0.1:{server.server_port}", cookie.value, shown)
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_every_page_meets_wcag_and_fits(browser: Browser, portal: Portal, width: int) -> None:
    page = portal.open(browser, width=width)
    invoice = f"invoices/{portal.shown.invoice_ids[ODS]}"
    for path in (
        "",
        "usage",
        "usage?meter=studies-archived&month=2026-04&split=modality",
        "usage?meter=studies-archived&view=month",
        "usage?meter=studies-archived&view=hour&day=2026-04-01",
        "usage/events?meter=studies-archived&day=2026-04-01",
        "invoices",
        "invoices?status=overdue",
        invoice,
        f"invoices/{portal.shown.credit_note_id}",
        "statement",
        "balances",
        "prices",
        "prices/imaging-archive?q0=1000",
        "prices/imaging-archive?q0=many",
        "budgets",
        "budgets/new",
        "cost-centres",
    ):
        page.goto(f"{portal.url}{ROOT}{path}")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert faults_of(page) == [], path
        assert overflow_of(page) == 0, path
        assert page.locator("h1").count() == 1, path
    page.context.close()


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scripts", [True, False])
def test_from_the_overview_to_a_single_event(
    browser: Browser, portal: Portal, scripts: bool, width: int
) -> None:
    page = portal.open(browser, scripts=scripts, width=width)
    page.goto(f"{portal.url}/portal/{ODS}/")
    number = portal.shown.numbers[ODS]
    page.get_by_role("link", name=number).click()
    expect(page.locator("h1")).to_contain_text(number)
    line = page.locator("details.paygo-working").nth(1)
    step = line.locator("li").first
    expect(step).not_to_be_visible()
    line.locator("summary").click()
    expect(step).to_be_visible()
    expect(step).to_contain_text("Together 3 accounts of the national pool used")
    line.get_by_role("link", name="See the usage and events behind this line").click()
    expect(page.locator("h1")).to_contain_text("Studies archived")
    page.get_by_role("link", name="1 April 2026", exact=True).click()
    page.get_by_role("link", name="9am").click()
    page.locator("td a").first.click()
    expect(page.locator("h1")).to_have_text("Usage event")
    expect(page.get_by_text("1 April 2026, 9:01:00am").first).to_be_visible()
    page.context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_document_is_downloaded(browser: Browser, portal: Portal, scripts: bool) -> None:
    page = portal.open(browser, scripts=scripts)
    page.goto(f"{portal.url}{ROOT}invoices/{portal.shown.invoice_ids[ODS]}")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Invoice (PDF)").click()
    assert waiting.value.suggested_filename == f"{portal.shown.numbers[ODS]}.pdf"
    page.context.close()


def test_filters_and_order_work_without_javascript(browser: Browser, portal: Portal) -> None:
    page = portal.open(browser, scripts=False)
    page.goto(f"{portal.url}{ROOT}invoices")
    page.get_by_label("Status").select_option("credit")
    page.get_by_role("button", name="Apply").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("PC-2627-000001")
    page.get_by_role("link", name="Clear filters").click()
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Total with VAT").click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Total with VAT")
    expect(rows.first).to_contain_text("PC-2627-000001")
    page.context.close()


def test_the_keyboard_alone_opens_a_working_and_follows_it(
    browser: Browser, portal: Portal
) -> None:
    page = portal.open(browser)
    page.goto(f"{portal.url}{ROOT}invoices/{portal.shown.invoice_ids[ODS]}")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to main content"
    page.keyboard.press("Enter")

    def reach(words: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if words in page.locator(":focus").inner_text():
                return
        raise AssertionError(f"{words} cannot be reached with the Tab key")

    reach("was worked out")
    reach("was worked out")
    page.keyboard.press("Enter")
    expect(page.locator("details.paygo-working").nth(1)).to_have_attribute("open", "")
    reach("See the usage and events behind this line")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Studies archived")
    page.context.close()


def test_on_paper_every_working_is_unfolded(browser: Browser, portal: Portal) -> None:
    page = portal.open(browser)
    page.goto(f"{portal.url}{ROOT}invoices/{portal.shown.invoice_ids[ODS]}")
    page.emulate_media(media="print")
    expect(page.locator("details.paygo-working li").first).to_be_visible()
    expect(page.get_by_role("navigation", name="Menu")).not_to_be_visible()
    page.context.close()
