"""Asking for many documents at once, in the console and by a trust; never another trust's."""

import io
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from billing import jobs
from billing.access.model import Grant, Role
from billing.bundles import operations, work
from billing.bundles.operations import KEPT, Selection
from billing.documents.render import DOCUMENTS
from metering.kit.db import Database
from metering.periods import Month
from tests import web
from tests.scenarios import story
from tests.scenarios.story import APRIL, MAY, month_end, service, trusts, uses

NOW = story.after(MAY)
BOARD = "/console/month-ends/2026-04"
INVOICES = "/portal/RA1/invoices"


class Office:
    """Two trusts invoiced for April and May, and who looks at it."""

    def __init__(self, database: Database, folder: Path) -> None:
        service(database)
        self.database = database
        self.accounts = [found.id for found in trusts(database, "RA1", "RA2")]
        for month in (APRIL, MAY):
            for code in ("RA1", "RA2"):
                uses(database, code, "10", at=month.first_day)
            month_end(database, month)
        self.app = web.make_app(database, folder, web.Clock(NOW))
        self.people = 0

    def browser(self, *grants: Grant) -> FlaskClient:
        self.people += 1
        return web.signed_in(self.app, grants, email=f"person{self.people}@x.example")

    def trust(self, number: int) -> FlaskClient:
        return self.browser(Grant(Role.FINANCE_VIEWER, account_id=self.accounts[number]))


@pytest.fixture
def office(database: Database, tmp_path: Path) -> Office:
    return Office(database, tmp_path)


def test_the_central_team_fetches_a_month(office: Office) -> None:
    auditor = office.browser(Grant(Role.AUDITOR))
    asked = web.send(auditor, f"{BOARD}/bundles", {}, page=BOARD)
    page = auditor.get(asked.location).text
    assert "2 invoices and credit notes to pack" in page
    assert "data-paygo-again" in page
    assert "See how far it is" in page
    assert auditor.get(f"{asked.location}/file").status_code == 409
    # Asked again while it is under way: the same one.
    assert web.send(auditor, f"{BOARD}/bundles", {}, page=BOARD).location == asked.location
    assert jobs.make_bundles(office.database, now=NOW) == {"bundles": 1, "failed": 0}
    page = auditor.get(asked.location).text
    assert "data-paygo-again" not in page
    assert "2 invoices and credit notes, " in page
    assert asked.location in auditor.get(BOARD).text
    answer = auditor.get(f"{asked.location}/file")
    assert answer.headers["Content-Disposition"] == "attachment; filename=documents-2026-04.zip"
    assert answer.content_length == len(answer.data)
    assert len(zipfile.ZipFile(io.BytesIO(answer.data)).namelist()) == 2 * len(DOCUMENTS)


def test_a_trust_fetches_its_own_months_and_nobody_elses(office: Office) -> None:
    mine, other = office.trust(0), office.trust(1)
    span = {"first": "2026-04", "last": "2026-05"}
    assert "Many documents at once" in mine.get(INVOICES).text
    asked = web.send(mine, "/portal/RA1/bundles", span, page=INVOICES)
    assert "April 2026 to May 2026" in mine.get(asked.location).text
    jobs.make_bundles(office.database, now=NOW)
    answer = mine.get(f"{asked.location}/file")
    assert "RA1-documents-2026-04-to-2026-05.zip" in answer.headers["Content-Disposition"]
    names = zipfile.ZipFile(io.BytesIO(answer.data)).namelist()
    assert len(names) == 2 * len(DOCUMENTS)
    assert {name.partition("/")[0] for name in names} == {"RA1"}
    assert asked.location in mine.get(INVOICES).text
    bundle = asked.location.rpartition("/")[2]
    for path in (asked.location, f"/portal/RA2/bundles/{bundle}"):
        assert other.get(path).status_code == 404
        assert other.get(f"{path}/file").status_code == 404
    assert office.browser(Grant(Role.ANALYST)).get(f"{BOARD}/bundles/{bundle}").status_code == 404


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"first": "2026-05", "last": "2026-04"}, "The last month is before the first."),
        ({"first": "2020-05", "last": "2020-06"}, "Nothing of that is issued yet."),
        ({"first": "x", "last": ""}, "Choose the first and the last month."),
    ],
)
def test_months_that_make_no_file_are_said(
    office: Office, span: dict[str, str], words: str
) -> None:
    mine = office.trust(0)
    sent = web.send(mine, "/portal/RA1/bundles", span, page=INVOICES)
    assert words in mine.get(sent.location).text


def test_a_file_is_kept_for_a_week_and_made_again_the_same(office: Office) -> None:
    def asked() -> str:
        with office.database.transaction() as session:
            return operations.ask_for_account_bundle(
                session,
                account_id=office.accounts[0],
                first=Month(2026, 4),
                last=Month(2026, 4),
                principal="usr_a",
                now=NOW,
            ).id

    bundle = asked()
    work.make_bundles(office.database, now=NOW)
    first = b"".join(work.content(office.database, bundle_id=bundle))
    work.make_bundles(office.database, now=NOW + KEPT + timedelta(seconds=1))
    with office.database.snapshot() as session:
        assert operations.bundles(session, selection=Selection(account_id=office.accounts[0])) == []
    again = asked()
    work.make_bundles(office.database, now=NOW)
    assert b"".join(work.content(office.database, bundle_id=again)) == first
