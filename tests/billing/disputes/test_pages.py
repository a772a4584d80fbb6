"""A query from the line on its page to the decision, as both sides click through it."""

from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from billing.access.model import Grant, Role
from billing.accounts.tables import AccountRow
from billing.disputes import operations, queries
from billing.invoices import queries as invoices
from billing.invoices.model import Invoice
from billing.notifications import dispatch
from billing.notifications import queries as notifications
from billing.notifications.messages import write
from billing.notifications.model import EMAIL_KINDS, Owner
from billing.notifications.tables import AnnouncementRow, DeliveryRow
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
    assert "£60.00" in viewer.get("/portal/RRK/statement").text.partition("You dispute")[2]
    marked = "Of it disputed: invoice PG-2627-000001,,,60"
    assert marked in viewer.get("/portal/RRK/statement.csv").text
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


def raised(database: Database, invoice: Invoice) -> str:
    with database.transaction() as session:
        return operations.raise_dispute(
            session,
            account_id=invoice.account_id,
            invoice_id=invoice.id,
            reason="quantity",
            text="We used less.",
            principal="usr_trust",
            now=story.after(story.APRIL),
        ).id


def test_a_query_is_decided_by_chosen_lines_and_quantities(
    app: Flask, database: Database, invoice: Invoice
) -> None:
    path = f"/console/queries/{raised(database, invoice)}"
    approver = web.signed_in(app, [Grant(Role.APPROVER)], email="bob@example.nhs.uk")
    both = web.signed_in(
        app, [Grant(Role.APPROVER), Grant(Role.ANALYST)], email="cat@example.nhs.uk"
    )
    page = approver.get(path).text
    assert "Credit chosen lines or quantities instead" in page
    assert "100 studies" in page
    chosen = {"text": "You are right", "basis": "concession", "chosen": "yes"}
    for typed, said in (
        ({}, "Say what to credit of which line."),
        ({"credit-1": "many"}, "Line 1: enter a quantity, for example 1,250, or all."),
        ({"credit-1": "101"}, "100 is left of line 1 to credit."),
    ):
        wrong = web.send(approver, f"{path}/credit", chosen | typed, page=path)
        assert wrong.status_code == 422
        assert said in wrong.text
        assert "You are right" in wrong.text
        for value in typed.values():
            assert f'value="{value}"' in wrong.text
    for button in ("ask", "explain", "credit"):
        other = {"text": "You are right", "basis": "concession", "credit-1": "10"}
        stopped = web.send(both, f"{path}/{button}", other, page=path)
        assert "choose Credit these lines, or empty them" in stopped.text
    done = web.send(approver, f"{path}/credit", chosen | {"credit-1": "10"}, page=path)
    assert done.status_code == 303
    with database.snapshot() as session:
        found = invoices.invoices(session, account_id=invoice.account_id)
        (note,) = [row for row in found if row.kind == "credit-note"]
        assert (str(note.net), str(note.total)) == ("5.00", "6.00")


def test_an_approver_credits_lines_without_a_query(
    app: Flask, database: Database, invoice: Invoice
) -> None:
    shown = f"/portal/RRK/invoices/{invoice.id}"
    path = f"/console/accounts/RRK/invoices/{invoice.id}/credit"
    analyst = web.signed_in(app, [Grant(Role.ANALYST)], email="ann@example.nhs.uk")
    assert path not in analyst.get(shown).text
    assert analyst.get(path).status_code == 403
    approver = web.signed_in(app, [Grant(Role.APPROVER)], email="bob@example.nhs.uk")
    assert path in approver.get(shown).text
    typed = {"reason": "Agreed by telephone", "basis": "concession"}
    for missing, said in (
        ({"reason": "", "credit-1": "1"}, "Say why; it is printed on the credit note."),
        ({}, "Say what to credit of which line, or credit all that is left."),
    ):
        wrong = web.send(approver, path, typed | missing, page=path)
        assert wrong.status_code == 422
        assert said in wrong.text
    sent = web.send(approver, path, typed | {"credit-1": "1,0"}, page=path)
    assert "Credit note PC-2627-000001 is issued." in approver.get(sent.location).text
    assert "90 studies" in approver.get(path).text
    web.send(approver, path, typed | {"whole": "yes"}, page=path)
    assert "Nothing left" in approver.get(path).text
    again = web.send(approver, path, typed | {"whole": "yes"}, page=path)
    assert "Nothing is left of this to credit." in again.text
    assert approver.get("/console/accounts/RRK/invoices/inv_none/credit").status_code == 404


def test_the_central_team_is_told_of_queries_and_messages(
    database: Database, invoice: Invoice, editor: FlaskClient
) -> None:
    dispute_id = raised(database, invoice)
    thread = f"/portal/RRK/queries/{dispute_id}"
    web.send(editor, f"{thread}/messages", {"text": "See also May."}, page=thread)
    with database.snapshot() as session:
        told = session.scalars(
            select(AnnouncementRow)
            .where(AnnouncementRow.kind == "dispute.raised")
            .order_by(AnnouncementRow.announced_at)
        ).all()
        assert [row.facts["what"] for row in told] == ["raised", "replied"]
        ids = [row.id for row in told]
    with database.transaction() as session:
        for one in ids:
            found = dispatch.address(
                session, announcement_id=one, now=story.after(story.APRIL), central="team@x.example"
            )
            assert found == 1
    with database.snapshot() as session:
        receivers = set(session.scalars(select(DeliveryRow.receiver)))
        # Neither is it offered to trusts, nor are these among their deliveries.
        owner = Owner(account_id=invoice.account_id)
        assert notifications.deliveries(session, owner=owner).total == 0
    assert receivers == {"team@x.example"}
    assert "dispute.raised" not in EMAIL_KINDS
    letter = write("dispute.raised", told[0].facts, owner_name="Trust RRK", public_url=None)
    assert letter.subject == "Invoice PG-2627-000001 is queried"
    assert "To the central team" in letter.text
    assert "From: Trust RRK" in letter.text
    assert "Answer by: 12 May 2026" in letter.text
