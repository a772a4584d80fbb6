"""A query from the line on its page to the decision, as both sides click through it."""

from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.accounts.tables import AccountRow
from billing.disputes import queries
from billing.invoices.model import Invoice
from metering.kit.db import Database
from tests import web
from tests.scenarios import story


@pytest.fixture
def trust(database: Database) -> AccountRow:
    """A trust that used 100 at 50p."""
    story.service(database)
    (found,) = story.trusts(database, "RRK")
    story.uses(database, "RRK", "100")
    return found


@pytest.fixture
def invoice(database: Database, trust: AccountRow, clock: web.Clock) -> Invoice:
    clock.now = story.after(story.APRIL)
    return story.month_end(database, story.APRIL)["RRK"][0]


@pytest.fixture
def editor(app: Flask, trust: AccountRow) -> FlaskClient:
    return web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=trust.id)])


def test_a_line_is_queried_asked_about_and_credited(
    app: Flask,
    database: Database,
    invoice: Invoice,
    editor: FlaskClient,
) -> None:
    page = f"/portal/RRK/invoices/{invoice.id}"
    assert f"{page}/query?line=1" in editor.get(page).text
    form = f"{page}/query?line=1"
    short = web.send(editor, f"{page}/query", {"line": "1", "quantity": "x"}, page=form)
    assert short.status_code == 422
    assert "Choose what is wrong." in short.text
    sent = web.send(
        editor,
        f"{page}/query",
        {"line": "1", "reason": "quantity", "quantity": "20", "text": "Ward <b>4</b> closed"},
        page=form,
    )
    assert sent.status_code == 303
    thread = editor.get(sent.location).text
    assert "Ward &lt;b&gt;4&lt;/b&gt; closed" in thread
    assert "£12.00" in thread
    assert "line 1: Studies archived" in editor.get("/portal/RRK/queries").text
    with database.snapshot() as session:
        (found,) = queries.disputes(session)
    path = f"/console/queries/{found.id}"
    analyst = web.signed_in(app, [Grant(Role.ANALYST)], email="ann@example.nhs.uk")
    assert "Trust RRK" in analyst.get("/console/queries").text
    asked = web.send(analyst, f"{path}/ask", {"text": "Since when?"}, page=path)
    assert asked.status_code == 303
    assert web.send(analyst, f"{path}/credit", {"text": "Yes"}, page=path).status_code == 403
    assert "Waiting for the trust" in editor.get(sent.location).text
    web.send(editor, f"{sent.location}/messages", {"text": "Since May."}, page=sent.location)
    approver = web.signed_in(app, [Grant(Role.APPROVER)], email="bob@example.nhs.uk")
    done = web.send(
        approver, f"{path}/credit", {"text": "Agreed", "basis": "concession"}, page=path
    )
    assert done.status_code == 303
    assert "PC-2627-000001" in editor.get(sent.location).text
    assert "Agreed" in analyst.get(path).text
    assert "PG-2627-000001, line 1" in analyst.get("/console/queries?state=closed").text


def test_a_viewer_reads_and_another_trust_finds_nothing(
    app: Flask, database: Database, trust: AccountRow, invoice: Invoice, editor: FlaskClient
) -> None:
    page = f"/portal/RRK/invoices/{invoice.id}"
    sent = web.send(
        editor,
        f"{page}/query",
        {"line": "", "reason": "duplicate", "text": "Twice"},
        page=f"{page}/query",
    )
    viewer = web.signed_in(
        app, [Grant(Role.FINANCE_VIEWER, account_id=trust.id)], email="v@example.nhs.uk"
    )
    assert "The whole invoice" in viewer.get(sent.location).text
    assert "Withdraw" not in viewer.get(sent.location).text
    assert viewer.get(f"{page}/query").status_code == 403
    (other,) = story.trusts(database, "RA7", starts_on=date(2026, 5, 1))
    stranger = web.signed_in(
        app, [Grant(Role.FINANCE_EDITOR, account_id=other.id)], email="s@example.nhs.uk"
    )
    assert stranger.get(sent.location).status_code == 404
    assert stranger.get(sent.location.replace("RRK", "RA7")).status_code == 404
    gone = web.send(editor, f"{sent.location}/withdraw", {}, page=sent.location)
    assert gone.status_code == 303
    assert "Withdrawn" in editor.get(sent.location).text
