"""Invoices in the portal: the list, one with its workings, its documents."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.invoices import queries as invoices
from metering.kit.db import Database
from tests import make, web
from tests.scenarios import story
from tests.trusts import NAMES, ODS, OTHER_ODS, Shown

LIST = f"/portal/{ODS}/invoices"
CREDIT_NOTE = "PC-2627-000001"


@pytest.fixture
def finance(shown: Shown) -> FlaskClient:
    """A browser of the first trust's finance viewer."""
    return shown.finance()


def test_the_list_shows_what_is_owed_and_every_document(shown: Shown, finance: FlaskClient) -> None:
    page = finance.get(LIST).text
    for words in (
        shown.numbers[ODS],
        CREDIT_NOTE,
        "1 invoice, next by 4 June 2026",
        "Nothing overdue",
        "Credit to use",
    ):
        assert words in page
    assert shown.numbers[OTHER_ODS] not in page


def test_an_invoice_past_its_day_is_overdue(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    story.service(database)
    (trust,) = story.trusts(database, "RRK")
    story.uses(database, "RRK", "10")
    story.month_end(database, story.APRIL)
    for days, standing in ((64, "nhsuk-tag--blue"), (1, "nhsuk-tag--red")):
        clock.move(days=days)
        grants = [Grant(Role.FINANCE_VIEWER, account_id=trust.id)]
        browser = web.signed_in(app, grants, email=f"ada{days}@example.nhs.uk")
        page = browser.get("/portal/RRK/invoices").text
        assert f"nhsuk-tag {standing}" in page
    (row,) = browser.get("/portal/RRK/invoices.csv?status=overdue").text.splitlines()[1:]
    assert "Overdue" in row
    with database.snapshot() as session:
        (invoice,) = invoices.invoices(session, account_id=trust.id)
    path = f"/portal/RRK/invoices/{invoice.id}"
    assert "The documents are being made." in browser.get(path).text
    assert browser.get(f"{path}/documents/pdf").status_code == 404


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("", ["Credit note", "Invoice"]),
        ("status=credit", ["Credit note"]),
        ("status=to-pay", ["Invoice"]),
        ("status=paid", []),
        ("status=overdue", []),
        ("year=2026&sort=number", ["Credit note", "Invoice"]),
        ("year=2025", []),
        ("search=PG-2627", ["Invoice"]),
        ("sort=total&direction=descending", ["Invoice", "Credit note"]),
        ("search=%25", []),
        ("sort=nonsense&year=nonsense&direction=up", ["Credit note", "Invoice"]),
    ],
)
def test_the_list_filters_and_sorts_on_page_and_in_the_download(
    finance: FlaskClient, query: str, kinds: list[str]
) -> None:
    rows = [row.split(",") for row in finance.get(f"{LIST}.csv?{query}").text.splitlines()[1:]]
    assert [row[1] for row in rows] == kinds
    page = finance.get(f"{LIST}?{query}").text
    assert all(row[0] in page for row in rows)
    assert ("No invoice matches" in page) == (not kinds)


def test_an_invoice_unfolds_to_its_workings_in_words(shown: Shown, finance: FlaskClient) -> None:
    page = finance.get(f"{LIST}/{shown.invoice_ids[ODS]}").text
    for words in (
        shown.numbers[ODS],
        "By 4 June 2026",
        "£250.00 a month = £250.00.",
        "Together 3 accounts of the national pool used",
        "The first 100 at £0.50 = £50.00; the next 1,900 at £0.40",
        "The national pool saved you",
        "500 are included each month",
        "See the usage and events behind this line",
        "60-70-80",
        f"credited by credit note {CREDIT_NOTE}",
    ):
        assert words in page
    assert f"/portal/{ODS}/usage?meter=studies-archived&amp;month=2026-04" in page


def test_a_credit_note_names_its_invoice_and_reason(shown: Shown, finance: FlaskClient) -> None:
    page = finance.get(f"{LIST}/{shown.credit_note_id}").text
    assert f"Credits invoice {shown.numbers[ODS]}" in page
    assert "Some studies were reported twice" in page
    assert "How to pay" not in page


@pytest.mark.parametrize("name", ["pdf", "lines", "usage", "ubl", "focus", "journal"])
def test_every_document_is_downloaded_under_its_name(
    shown: Shown, finance: FlaskClient, name: str
) -> None:
    answer = finance.get(f"{LIST}/{shown.invoice_ids[ODS]}/documents/{name}")
    assert answer.status_code == 200
    named = f"attachment; filename={shown.numbers[ODS]}"
    assert answer.headers["Content-Disposition"].startswith(named)
    assert len(answer.data) > 100


def test_a_trust_without_anything_is_told_when_it_comes(app: Flask, database: Database) -> None:
    with database.transaction() as session:
        account = make.account(session)
    client = web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=account.id)])
    assert "There are no invoices yet" in client.get("/portal/RRK/invoices").text
    assert "Nothing has been used yet" in client.get("/portal/RRK/usage").text


def test_another_trusts_things_are_not_found(shown: Shown, finance: FlaskClient) -> None:
    theirs = shown.invoice_ids[OTHER_ODS]
    for path in (
        f"/portal/{OTHER_ODS}/invoices",
        f"/portal/{OTHER_ODS}/invoices.csv",
        f"/portal/{OTHER_ODS}/invoices/{theirs}",
        f"/portal/{OTHER_ODS}/usage",
        f"{LIST}/{theirs}",
        f"{LIST}/{theirs}/documents/pdf",
        f"{LIST}/{shown.invoice_ids[ODS]}/documents/nonsense",
        "/portal/NOBODY/invoices",
    ):
        answer = finance.get(path)
        assert answer.status_code == 404, path
        assert NAMES[OTHER_ODS] not in answer.text


def test_who_has_several_accounts_may_choose(shown: Shown) -> None:
    client = shown.browser(
        Grant(Role.FINANCE_VIEWER, account_id=shown.account_ids[ODS]),
        Grant(Role.FINANCE_EDITOR, account_id=shown.account_ids[OTHER_ODS]),
    )
    page = client.get("/portal/").text
    assert NAMES[ODS] in page
    assert NAMES[OTHER_ODS] in page
    assert NAMES[OTHER_ODS] not in client.get("/portal/?search=leicester").text
    assert "No account has that name" in client.get("/portal/?search=nobody").text
    assert "Change account" in client.get(LIST).text


@pytest.mark.parametrize("role", [Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR])
def test_the_central_team_may_look_at_any_account(shown: Shown, role: Role) -> None:
    client = shown.browser(Grant(role))
    assert NAMES[OTHER_ODS] in client.get("/portal/?search=RR").text
    page = client.get(f"{LIST}/{shown.invoice_ids[ODS]}")
    assert page.status_code == 200
    assert "View only" in page.text
