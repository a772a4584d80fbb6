"""A real Chromium against a real server on the loopback, with axe-core on the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, sync_playwright

from tests.processes import listening
from tests.trusts import Shown

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE, DESKTOP = 320, 1280


@dataclass(frozen=True)
class Site:
    """A running application.

    Attributes:
        url: where it answers, without a slash at the end.
        app: the application itself.
    """

    url: str
    app: Flask


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the run."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def served(app: Flask) -> Iterator[Site]:
    """Yield an application behind a real server."""
    with listening(app) as url:
        yield Site(url, app)


@pytest.fixture
def site(app: Flask) -> Iterator[Site]:
    """The whole application behind a real server; faults are answered, as in production."""
    app.testing = False
    with served(app) as found:
        yield found


@pytest.fixture(scope="session")
def stage(shown: Shown) -> Iterator[Site]:
    """The filled application behind one server for the run; only look at it."""
    with served(shown.app) as found:
        yield found


def enter(page: Page, site: Site, client: FlaskClient | None) -> None:
    """Let a browser be signed in as a client is; None is nobody."""
    page.context.clear_cookies()
    cookie = None if client is None else client.get_cookie("paygo_session")
    if cookie is not None:
        page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site.url}])


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; the test fails if a script or a policy complained on it."""
    # axe is put into the page by the test; everything else obeys the page's policy.
    context = browser.new_context(viewport={"width": DESKTOP, "height": 900})
    opened = context.new_page()
    complaints: list[str] = []
    opened.on(
        "console", lambda said: complaints.append(said.text) if said.type == "error" else None
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    # A page that answers 4xx on purpose is reported by Chromium as a failed resource.
    assert [text for text in complaints if "the server responded with a status" not in text] == []


def reach(page: Page, words: str, *, tag: str = "") -> None:
    """Press the Tab key until something with these words, or of this tag in the main part, is
    focused."""
    for _ in range(60):
        page.keyboard.press("Tab")
        # Past the last link nothing is focused, until the next press.
        said, kind = page.evaluate(
            """() => { const at = document.activeElement
                return [at.innerText || '', at.closest('main') ? at.tagName : ''] }"""
        )
        if kind == tag if tag else words in said and kind in {"", "A", "BUTTON", "SUMMARY"}:
            return
    raise AssertionError(f"{words or tag} cannot be reached with the Tab key")


@cache
def _axe() -> str:
    return AXE.read_text()


def looks_of(page: Page) -> list[str]:
    """Return what is wrong with how a page looks, wide and narrow, with everything unfolded."""
    wrong = []
    if page.locator("h1").count() != 1:
        wrong.append("it has not one heading of the first level")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for width in (DESKTOP, PHONE):
        page.set_viewport_size({"width": width, "height": 900})
        # The menu is laid out anew by a script, a moment after the window has changed.
        for _ in range(20):
            if not overflow_of(page):
                break
            page.wait_for_timeout(50)
        else:
            wrong.append(f"at {width} pixels it is wider than the window")
        wrong += [f"at {width} pixels: {fault}" for fault in faults_of(page)]
    return wrong


def faults_of(page: Page) -> list[str]:
    """Return the WCAG 2.2 AA faults that axe-core finds on a page, one line each."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_axe())
    result = page.evaluate(
        """tags => axe.run(document, {
            runOnly: {type: 'tag', values: tags}, resultTypes: ['violations'],
            preload: false, selectors: false
        })""",
        WCAG,
    )
    return [
        f"{fault['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
        for fault in result["violations"]
        for node in fault["nodes"]
    ]


def overflow_of(page: Page) -> int:
    """Return how many pixels a page is wider than its window."""
    page.wait_for_load_state()
    wide: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide
