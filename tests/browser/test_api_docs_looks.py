"""How the API's description looks: WCAG 2.2 AA by axe-core, and nothing wider than its window."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import DESKTOP, Site, looks_of

pytestmark = pytest.mark.browser


def test_the_description_and_its_parts(browser: Browser, stage: Site) -> None:
    page = browser.new_page(viewport={"width": DESKTOP, "height": 900})
    page.goto(f"{stage.url}/api/docs")
    page.get_by_text("Take usage events, exactly once").wait_for(timeout=30_000)
    faults = looks_of(page)
    # One of each kind, unfolded: what is sent, what comes back, their models.
    page.get_by_text("Take usage events, exactly once").click()
    page.locator("option", has_text="cloudevents-batch").first.wait_for(state="attached")
    faults += looks_of(page)
    assert not faults, "\n" + "\n".join(dict.fromkeys(faults))
    page.close()
