"""The API's description in a browser: everything from ourselves, under the strict policy."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


def test_the_description_loads_under_the_strict_policy(browser: Browser, site: Site) -> None:
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.url}/api/docs")
    page.get_by_text("Take usage events, exactly once").wait_for(timeout=30_000)
    page.get_by_text("Take usage events, exactly once").click()
    page.locator("option", has_text="cloudevents-batch").first.wait_for(state="attached")
    assert [text for text in said if "Refused" in text or "Content Security" in text] == []
    assert [url for url in asked if not url.startswith((site.url, "data:"))] == []
    page.close()
