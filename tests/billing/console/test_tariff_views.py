"""Tariffs on their pages: written, checked, compared, simulated, approved by another."""

import io
from datetime import UTC, date, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.console.tariff_places import place_of, problems
from billing.simulations import work as simulations
from billing.tariffs import queries as tariffs
from metering.kit.db import Database
from metering.kit.errors import FieldError
from tests import make, web
from tests.scenarios.story import service, trusts, uses

DRAFT = "/console/tariffs/imaging-archive/draft"
FILE = """\
tariff: imaging-archive
version: "2026-07"
effective_from: 2026-07-01
vat: standard
prices:
  - meter: studies-archived
    model: graduated
    tiers:
      - {up_to: "100", unit_price: "0.40"}
      - {up_to: null, unit_price: "0.30"}
"""


def version_id(database: Database, version: str = "2026-07") -> str:
    with database.snapshot() as session:
        rows = tariffs.versions(session, tariff_code="imaging-archive")
        return next(row.id for row in rows if row.version == version)


@pytest.fixture
def analyst(app: Flask, database: Database, clock: web.Clock) -> FlaskClient:
    service(database)
    trusts(database, "RA1", "RA2")
    clock.now = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)
    return web.signed_in(app, [Grant(Role.ANALYST), Grant(Role.APPROVER)])


def test_a_version_from_file_to_force(analyst: FlaskClient, app: Flask, database: Database) -> None:
    # The editor starts from what is in force, tells every fault with its line, and loses nothing.
    assert "unit_price: &#39;0.5&#39;" in analyst.get(DRAFT).text
    broken = FILE.replace('unit_price: "0.40"', "unit_price: 0.40").replace(
        "meter: studies-archived", "meter: studies-lost"
    )
    wrong = web.send(analyst, DRAFT, {"content": broken.replace("vat: s", "vat: S")}, page=DRAFT)
    assert wrong.status_code == 422
    for words in (">4<", ">9<", "first price, first tier, unit_price", "studies-lost"):
        assert words in wrong.text
    unknown = web.send(analyst, DRAFT, {"content": broken.replace(": 0.40", ': "1"')}, page=DRAFT)
    assert "first price, meter" in unknown.text
    assert ">6<" in unknown.text
    unreadable = web.send(analyst, DRAFT, {"content": "a: [1"}, page=DRAFT)
    assert "could not be read at line" in unreadable.text

    saved = web.send(analyst, DRAFT, {"content": FILE}, page=DRAFT)
    path = f"/console/tariffs/versions/{version_id(database)}"
    assert saved.location == path
    page = analyst.get(path).text
    assert "What changes from version" in page
    assert "a new price, graduated: up to 100 £0.4" in page
    exported = analyst.get(f"{path}/file")
    assert exported.mimetype == "application/yaml"
    again = analyst.post(
        "/console/tariffs/import",
        data={
            "csrf_token": web.csrf_token(analyst, "/console/tariffs/import"),
            "file": (io.BytesIO(exported.data), "tariff.yaml"),
        },
    )
    assert again.location == path
    assert (
        "Choose a file or paste its text"
        in web.send(
            analyst, "/console/tariffs/import", {"content": ""}, page="/console/tariffs/import"
        ).text
    )

    # What it would have cost, before anybody decides.
    uses(database, "RA1", "50", at=date(2026, 4, 9))
    uses(database, "RA2", "1000", at=date(2026, 4, 9))
    effect = f"{path}/effect"
    late = web.send(analyst, effect, {"first": "2026-04", "last": "2027-01"}, page=effect)
    assert late.status_code == 422
    web.send(analyst, effect, {"first": "2026-04", "last": "2026-04"}, page=effect)
    simulations.do_waiting(database, now=datetime(2026, 5, 20, 9, 5, tzinfo=UTC))
    shown = analyst.get(effect).text
    assert "Gainers and losers" in shown
    assert "£310.00" in shown
    lines = analyst.get(f"{effect}?download=gainers-and-losers").get_data(as_text=True)
    assert "Trust RA2,RA2" in lines

    # Submitted by its author, it waits for somebody else.
    web.send(analyst, f"{path}/submit", {}, page=path)
    page = analyst.get(path).text
    assert "You wrote this version, so somebody else must approve it" in page
    assert "Approve this version" not in page
    own = web.send(analyst, f"{path}/approve", {}, page=path)
    assert own.status_code == 422
    assert "cannot approve it" in own.text
    other = web.signed_in(app, [Grant(Role.APPROVER)], email="second@x.example")
    assert "imaging-archive" in other.get("/console/tariffs?status=submitted").text
    empty = web.send(other, f"{path}/return", {"return_reason": ""}, page=path)
    assert "Enter what must change" in empty.text
    web.send(other, f"{path}/return", {"return_reason": "Too cheap"}, page=path)
    web.send(analyst, f"{path}/submit", {}, page=path)
    assert web.send(other, f"{path}/approve", {}, page=path).status_code == 303
    assert ">Approved<" in other.get(path).text.replace("\n", "").replace(" ", "")
    none = web.send(analyst, f"{path}/withdraw", {"withdraw_reason": ""}, page=path)
    assert "Enter why it is withdrawn" in none.text
    web.send(analyst, f"{path}/withdraw", {"withdraw_reason": "Agreed otherwise"}, page=path)
    assert "Withdrawn" in analyst.get(path).text


def test_prices_are_edited_as_forms(analyst: FlaskClient, database: Database) -> None:
    web.send(analyst, DRAFT, {"content": FILE}, page=DRAFT)
    path = f"/console/tariffs/versions/{version_id(database)}"
    price = f"{path}/prices/0"
    page = analyst.get(price).text
    assert 'value="0.3"' in page
    typed = {
        "label": "Studies",
        "meter": "studies-archived",
        "model": "graduated",
        "scope": "pool",
        "tier-0-up_to": "1,000",
        "tier-0-unit_price": "£0.50",
        "tier-2-unit_price": "0.60",
        "resets": "month",
    }
    rising = web.send(analyst, price, typed, page=price)
    assert rising.status_code == 422
    assert 'href="#tier-2-unit_price"' in rising.text
    assert "never rises from tier to tier" in rising.text
    assert 'value="1,000"' in rising.text
    assert web.send(analyst, price, {**typed, "tier-2-unit_price": "0.4"}, page=price).location
    assert "Up to 1,000" in analyst.get(path).text
    add = f"{path}/prices/new"
    flat = {"model": "flat", "label": "Standing charge", "amount": "25", "unit_price": "9"}
    web.send(analyst, add, flat, page=add)
    assert "Standing charge" in analyst.get(path).text
    web.send(analyst, f"{path}/prices/1/remove", {}, page=f"{path}/prices/1")
    assert "Standing charge" not in analyst.get(path).text
    assert analyst.get(f"{path}/prices/7").status_code == 404
    terms = f"{path}/terms"
    wrong = {"version": "2026-08", "vat": "standard", "effective_from-day": "31"}
    assert "Enter a real date" in web.send(analyst, terms, wrong, page=terms).text
    right = {**wrong, "effective_from-day": "1", "effective_from-month": "8"}
    right["effective_from-year"] = "2026"
    assert web.send(analyst, terms, right, page=terms).status_code == 303
    assert version_id(database, "2026-08")


def test_a_new_tariff_begins_with_a_service(analyst: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        make.source(session, code="pathology", name="Pathology")
    new = "/console/tariffs/new"
    wrong = web.send(analyst, new, {"name": "Pathology"}, page=new)
    assert wrong.status_code == 422
    assert "Choose a service" in wrong.text
    assert 'value="Pathology"' in wrong.text
    typed = {"source": "pathology", "name": "Pathology", "code": "imaging-archive"}
    assert "has a tariff already" in web.send(analyst, new, typed, page=new).text
    made = web.send(analyst, new, {**typed, "code": "pathology"}, page=new)
    assert made.location == "/console/tariffs/pathology/draft"
    assert "code-of-a-meter" in analyst.get(made.location).text


def test_faults_are_placed_in_words_and_lines() -> None:
    faults = (
        FieldError("/prices/0/tiers/1/unit_price", "x", "Wrong."),
        FieldError("/nothing", "x", "Missing."),
    )
    assert [(one.line, one.place) for one in problems(FILE, faults)] == [
        (1, "nothing"),
        (10, "first price, second tier, unit_price"),
    ]
    assert place_of("") == "the whole file"
    assert place_of("/prices/12") == "number 13 price"
    (unread,) = problems("a: [", (FieldError("/a", "x", "Wrong."),))
    assert unread.line is None
