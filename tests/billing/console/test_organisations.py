"""Organisations on their pages: registered, renamed, closed, succeeded, imported."""

from datetime import UTC, date, datetime
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from metering.kit.db import Database
from metering.organisations.queries import by_ods_code
from tests import make, web
from tests.billing.console.test_keeping import dates

LIST = "/console/organisations"


@pytest.fixture
def analyst(app: Flask, clock: web.Clock) -> FlaskClient:
    clock.now = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)
    return web.signed_in(app, [Grant(Role.ANALYST)])


def test_a_body_is_registered_renamed_closed_and_succeeded(
    analyst: FlaskClient, app: Flask, database: Database
) -> None:
    assert "Register one, or import an ODS file" in analyst.get(LIST).text
    new = f"{LIST}/new"
    wrong = web.send(analyst, new, {"code": "R!", "name": "Leeds"}, page=new)
    assert wrong.status_code == 422
    assert "Choose what kind of body it is" in wrong.text
    typed = {"code": "rr8", "name": "Leeds", "kind": "acute", **dates("opened_on", "1998-4-1")}
    page = web.send(analyst, new, typed, page=new).location
    assert page == f"{LIST}/RR8"
    assert "RR8 is registered already" in web.send(analyst, new, typed, page=new).text
    edit = f"{page}/edit"
    assert 'value="1998"' in analyst.get(edit).text
    web.send(analyst, edit, {**typed, "name": "Leeds Teaching Hospitals"}, page=edit)
    close = f"{page}/close"
    day = dates("closed_from", "2026-5-1")
    unknown = web.send(analyst, close, {**day, "successor": "RWE"}, page=close)
    assert "No organisation has the ODS code" in unknown.text
    with database.snapshot() as session:
        assert by_ods_code(session, ods_code="RR8").closed_from is None
    with database.transaction() as session:
        make.organisation(session, code="RWE", name="Leicester")
    web.send(analyst, close, {**day, "successor": "rwe"}, page=close)
    shown = analyst.get(page).text
    for words in ("Leeds Teaching Hospitals", "Closed", "1 May 2026", "Leicester took over"):
        assert words in shown
    assert "Leicester" not in analyst.get(f"{LIST}?state=closed").text
    auditor = web.signed_in(app, [Grant(Role.AUDITOR)], email="audit@x.example")
    assert "Register an organisation" not in auditor.get(LIST).text
    assert "Change organisation" in auditor.get("/console/audit?kind=organisation").text
    assert auditor.get(new).status_code == 403


def test_a_file_of_ods_registers_all_or_nothing(analyst: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        make.organisation(session, code="RR8", name="Leeds")
    page = f"{LIST}/import"

    def send(content: str) -> web.TestResponse:
        return analyst.post(
            page,
            data={
                "kind": "community",
                "csrf_token": web.csrf_token(analyst, page),
                "file": (BytesIO(content.encode()), "etr.csv"),
            },
        )

    wrong = send("code,name\nRWE,Leicester\nnonsense,\n")
    assert wrong.status_code == 422
    assert "row 3: " in wrong.text
    assert "Choose the file" in web.send(analyst, page, {"kind": "acute"}, page=page).text
    good = "code,name,postcode,open_date\nRWE,Leicester,LE1 5WW,20000401\nRR8,Leeds NHS Trust,,\n"
    assert send(good).location == LIST
    assert "Registered: 1. Brought up to date: 1." in analyst.get(LIST).text
    send(good)
    assert "Registered: 0. Brought up to date: 0." in analyst.get(LIST).text
    with database.snapshot() as session:
        leeds, leicester = (by_ods_code(session, ods_code=code) for code in ("RR8", "RWE"))
    assert (leeds.name, leeds.kind) == ("Leeds NHS Trust", "acute")
    assert (leicester.kind, leicester.opened_on) == ("community", date(2000, 4, 1))
