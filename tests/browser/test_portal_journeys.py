"""What trust finance does, in a real browser: with and without JavaScript, wide and narrow."""

from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from billing.access.model import Role
from tests.browser.conftest import DESKTOP, PHONE, Site, enter, reach
from tests.trusts import ODS, THIRD_ODS, Shown

pytestmark = pytest.mark.browser

ROOT = f"/portal/{ODS}/"


@dataclass(frozen=True)
class Portal:
    """The portal behind a real server."""

    url: str
    shown: Shown

    def open(
        self,
        browser: Browser,
        *,
        code: str = ODS,
        scripts: bool = True,
        width: int = DESKTOP,
    ) -> Page:
        """Return a page signed in as a trust's finance editor."""
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        page = context.new_page()
        enter(page, Site(self.url, self.shown.app), self.shown.finance(code, Role.FINANCE_EDITOR))
        return page


@pytest.fixture
def portal(shown: Shown, stage: Site) -> Portal:
    """The application with three trusts behind a real server."""
    return Portal(stage.url, shown)


@pytest.mark.parametrize(("scripts", "width"), [(True, DESKTOP), (False, PHONE)])
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


@pytest.mark.parametrize(("scripts", "width"), [(True, DESKTOP), (False, PHONE)])
def test_a_line_is_queried_and_followed(
    browser: Browser, portal: Portal, scripts: bool, width: int
) -> None:
    page = portal.open(browser, code=THIRD_ODS, scripts=scripts, width=width)
    page.goto(f"{portal.url}/portal/{THIRD_ODS}/invoices")
    page.get_by_role("link", name=portal.shown.numbers[THIRD_ODS]).click()
    line = page.locator("details.paygo-working").nth(1)
    line.locator("summary").click()
    line.get_by_role("link", name="Query this line").click()
    page.get_by_role("button", name="Send query").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose what is wrong.")
    expect(page.get_by_label("What is it about?")).to_have_value("2")
    page.get_by_label("What is wrong?").select_option("price")
    page.get_by_label("What is wrong, and what shows it?").fill("The price in our contract.")
    page.get_by_role("button", name="Send query").click()
    expect(page.get_by_role("alert")).to_contain_text("Your query is sent.")
    page.get_by_label("Write to the central team").fill("We found it in an annex.")
    page.get_by_role("button", name="Send message").click()
    expect(page.locator("main")).to_contain_text("We found it in an annex.")
    page.goto(f"{portal.url}/portal/{THIRD_ODS}/queries")
    page.get_by_role("link", name="line 2").first.click()
    page.get_by_role("button", name="Withdraw query").click()
    expect(page.locator("main .nhsuk-tag").first).to_have_text("Withdrawn")
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

    reach(page, "was worked out")
    reach(page, "was worked out")
    page.keyboard.press("Enter")
    expect(page.locator("details.paygo-working").nth(1)).to_have_attribute("open", "")
    reach(page, "See the usage and events behind this line")
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
