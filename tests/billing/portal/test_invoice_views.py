"""Invoices in the portal: the list, one with its workings, its documents."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from metering.kit.db import Database
from tests import make, web
from tests.billing.portal import invoicing
from tests.billing.portal.conftest import ODS, OTHER_ODS, Trusts

LIST = f"/portal/{ODS}/invoices"


def test_a_finance_officer_of_one_trust_is_led_to_its_pages(finance: FlaskClient) -> None:
    assert finance.get("/portal/").location == LIST


def test_the_list_shows_what_is_owed_and_every_document(finance: FlaskClient) -> None:
    page = finance.get(LIST).text
    for words in (
        "PG-2627-000123",
        "PC-2627-000004",
        "£4,759.55",
        "−£144.00",
        "1 invoice, next by 4 June 2026",
        "Nothing overdue",
    ):
        assert words in page
    assert "PG-2627-000777" not in page


def test_an_invoice_past_its_day_is_overdue(app: Flask, trusts: Trusts, clock: web.Clock) -> None:
    clock.move(days=64)
    due_today = web.signed_in(app, [Grant(Role.AUDITOR)])
    assert "nhsuk-tag--red" not in due_today.get(LIST).text
    clock.move(days=1)
    overdue = web.signed_in(app, [Grant(Role.AUDITOR)], email="grace@example.nhs.uk")
    assert "nhsuk-tag--red" in overdue.get(LIST).text
    assert "PG-2627-000123" in overdue.get(f"{LIST}?status=overdue").text


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("status=credit", ["PC-2627-000004"]),
        ("status=to-pay", ["PG-2627-000123"]),
        ("status=paid", []),
        ("status=overdue", []),
        ("year=2026&sort=number", ["PC-2627-000004", "PG-2627-000123"]),
        ("year=2025", []),
        ("search=000123", ["PG-2627-000123"]),
        ("search=PO-774120&sort=total&direction=descending", ["PG-2627-000123", "PC-2627-000004"]),
        ("search=%25", []),
        ("sort=nonsense&page=99999999", ["PG-2627-000123", "PC-2627-000004"]),
    ],
)
def test_the_list_filters_and_sorts_on_page_and_in_the_download(
    finance: FlaskClient, query: str, numbers: list[str]
) -> None:
    rows = finance.get(f"{LIST}.csv?{query}").text.splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == numbers
    page = finance.get(f"{LIST}?{query}").text
    assert all(number in page for number in numbers)
    assert ("No invoice matches" in page) == (not numbers)


def test_an_invoice_unfolds_to_its_workings_in_words(finance: FlaskClient, trusts: Trusts) -> None:
    page = finance.get(f"{LIST}/{trusts.invoice_id}").text
    for words in (
        "PG-2627-000123",
        "£4,759.55",
        "By 4 June 2026",
        "How £2,475.79 was worked out",
        "Together 3 accounts of the national pool used 95",
        "The first 1 at £100.00 = £100.00",
        "Rounded half up to the penny: £2,475.79.",
        "The national pool saved you £344.21 on this line.",
        "See the usage and events behind this line",
        "PO-774120",
        "60-70-80",
        "£144.00 credited by credit note PC-2627-000004",
    ):
        assert words in page
    assert f"/portal/{ODS}/usage?meter=studies-archived&amp;month=2026-04" in page


def test_a_credit_note_names_its_invoice_and_reason(finance: FlaskClient) -> None:
    page = finance.get(f"{LIST}/inv_PC2627000004").text
    assert "Credits invoice PG-2627-000123" in page
    assert "240 studies were reported twice" in page
    assert "How to pay" not in page


@pytest.mark.parametrize("name", ["pdf", "lines", "usage", "ubl", "focus", "journal"])
def test_every_document_is_downloaded_under_its_name(
    finance: FlaskClient, trusts: Trusts, name: str
) -> None:
    answer = finance.get(f"{LIST}/{trusts.invoice_id}/documents/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=PG-2627-000123")
    assert len(answer.data) > 100


def test_an_invoice_whose_documents_are_not_made_yet_says_so(
    app: Flask, database: Database
) -> None:
    with database.transaction() as session:
        account = make.account(session)
        invoice_id = invoicing.issue(session, account=account, documents=False)
    client = web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=account.id)])
    path = f"/portal/RRK/invoices/{invoice_id}"
    assert "The documents are being made." in client.get(path).text
    assert client.get(f"{path}/documents/pdf").status_code == 404


def test_a_trust_without_invoices_is_told_when_they_come(app: Flask, database: Database) -> None:
    with database.transaction() as session:
        account = make.account(session)
    client = web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=account.id)])
    assert "There are no invoices yet" in client.get("/portal/RRK/invoices").text


def test_another_trusts_things_are_not_found(finance: FlaskClient, trusts: Trusts) -> None:
    for path in (
        f"/portal/{OTHER_ODS}/invoices",
        f"/portal/{OTHER_ODS}/invoices.csv",
        f"/portal/{OTHER_ODS}/invoices/{trusts.other_invoice_id}",
        f"{LIST}/{trusts.other_invoice_id}",
        f"{LIST}/{trusts.other_invoice_id}/documents/pdf",
        f"{LIST}/{trusts.invoice_id}/documents/nonsense",
        "/portal/NOBODY/invoices",
    ):
        answer = finance.get(path)
        assert answer.status_code == 404, path
        assert "Leeds Teaching" not in answer.text


def test_who_has_several_accounts_may_choose(app: Flask, trusts: Trusts) -> None:
    client = web.signed_in(
        app,
        [
            Grant(Role.FINANCE_VIEWER, account_id=trusts.account_id),
            Grant(Role.FINANCE_EDITOR, account_id=trusts.other_account_id),
        ],
    )
    page = client.get("/portal/").text
    assert f'href="{LIST}"' in page
    assert f'href="/portal/{OTHER_ODS}/invoices"' in page
    assert "Leeds Teaching" not in client.get("/portal/?search=leicester").text
    assert "Change account" in client.get(LIST).text


@pytest.mark.parametrize("role", [Role.ANALYST, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR])
def test_the_central_team_may_look_at_any_account(app: Flask, trusts: Trusts, role: Role) -> None:
    client = web.signed_in(app, [Grant(role)])
    assert "Leeds Teaching" in client.get("/portal/?search=RR").text
    page = client.get(f"{LIST}/{trusts.invoice_id}")
    assert page.status_code == 200
    assert "View only" in page.text
