"""Take the README's pictures from a running demonstration: `make screenshots`.

Start `make demo` first and leave it running; it prints the PAYGO_DATA_DIR to set, in which
its passwords are. Needs Debian's Chromium, and PAYGO_PORT where the demonstration's differs.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from billing.demo import state as states
from metering.kit.config import Settings

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
WIDTH, HEIGHT = 1200, 900
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    """Write one PNG for each main page."""
    settings = Settings.from_environment(os.environ)
    state = states.read(settings.data_dir)
    if state is None:
        sys.exit(
            f"No demonstration in {settings.data_dir}; set the PAYGO_DATA_DIR that it printed."
        )
    month = state.plan.month
    base = f"http://{settings.host}:{settings.port}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    pictures: Mapping[str, Mapping[str, str]] = {
        "finance@demo.example": {
            "overview": "/portal/",
            "invoice": "invoice",
        },
        "analyst@demo.example": {
            "national-overview": f"/console/?month={month}",
            "month-end": f"/console/month-ends/{month}",
        },
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for email, pages in pictures.items():
            _take(browser, base, email, state.passwords[email], pages)
        browser.close()


def _take(browser: Browser, base: str, email: str, password: str, pages: Mapping[str, str]) -> None:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(f"{base}/sign-in")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("main button[type=submit]")
    page.wait_for_load_state()
    for name, path in pages.items():
        if path == "invoice":
            page.goto(f"{base}/portal/")
            page.click("main a[href*='/invoices/inv_']")
            page.wait_for_load_state()
            page.click("main summary >> nth=1")
        else:
            page.goto(base + path)
        page.screenshot(path=FOLDER / f"{name}.png")
        print(f"docs/screenshots/{name}.png")
    page.close()


if __name__ == "__main__":
    main()
