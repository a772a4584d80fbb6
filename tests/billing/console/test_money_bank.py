"""The bank pages: a file is looked at and imported, its lines are matched, shared out, undone."""

import io
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.invoices.queries import invoice_row
from billing.invoices.tables import InvoiceRow
from billing.payments.bank.queries import unmatched
from billing.payments.conservation import check_books
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)
BANK = "/console/money/bank"
HEADER = "Transaction Date,Description,Payment reference,Money In,Money Out"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    return web.make_app(database, tmp_path, web.Clock(NOW))


@pytest.fixture
def clerk(app: Flask) -> FlaskClient:
    return web.signed_in(app, [Grant(Role.ANALYST)])


def issued(database: Database, *nets: str, code: str = "RRK") -> list[InvoiceRow]:
    with database.transaction() as session:
        account = makers.account(session, code)
        return [makers.issue(session, account, net) for net in nets]


def imported(database: Database, *lines: tuple[str, str]) -> tuple[str, ...]:
    with database.transaction() as session:
        return makers.statement(session, *lines)


def statuses(database: Database, *invoices: InvoiceRow) -> list[str]:
    with database.snapshot() as session:
        assert not check_books(session, on=NOW.date())
        return [
            invoice_row(session, account_id=one.account_id, invoice_id=one.id).status
            for one in invoices
        ]


def upload(clerk: FlaskClient, content: str, **fields: str) -> web.TestResponse:
    data = {
        "csrf_token": web.csrf_token(clerk, f"{BANK}/import"),
        "file": (io.BytesIO(content.encode()), "may.csv"),
        "bank_account": "60-70-80 10014069",
        **fields,
    }
    return clerk.post(f"{BANK}/import", data=data)


def kept(page: str) -> dict[str, str]:
    """Return the fields of the form as the page has them, the kept file too."""
    return dict(re.findall(r'name="([\w-]+)"[^>]*? value="([^"]*)"', page))


def test_a_statement_is_looked_at_before_it_is_imported(
    clerk: FlaskClient, database: Database
) -> None:
    (invoice,) = issued(database, "100.00")
    rows = f"{HEADER}\n20/05/2026,UHB,{invoice.number},120.00,\n21/05/2026,Charges,,,1.50\n"

    looked = upload(clerk, rows)

    assert looked.status_code == 200
    for words in ("Is this the statement?", "£120.00", "−£1.50", "Import 2 lines", "may.csv"):
        assert words in looked.text
    with database.snapshot() as session:
        assert not unmatched(session)
    # What was found is filled in, and the file comes along without being chosen again.
    fields = kept(looked.text)
    assert (fields["date"], fields["paid_in"], fields["amount"]) == (
        "Transaction Date",
        "Money In",
        "",
    )
    done = clerk.post(f"{BANK}/import", data={**fields, "step": "import"}, follow_redirects=True)
    assert "2 new lines imported." in done.text
    again = clerk.post(f"{BANK}/import", data={**fields, "step": "import"}, follow_redirects=True)
    assert "0 new lines imported. 2 lines had come before and were left out." in again.text
    listed = clerk.get(f"{BANK}/imports").text
    assert "may.csv" in listed
    assert "2 lines, 2 new" in listed


def test_every_faulty_row_is_told_and_the_rest_of_the_form_is_kept(clerk: FlaskClient) -> None:
    answer = upload(
        clerk,
        f"{HEADER}\n31/02/2026,UHB,x,120.00,\n20/05/2026,UHB,x,twelve,\n20/05/2026,a,b,1.00,\n",
        bank_account="GB33 7788",
    )
    assert answer.status_code == 422
    assert "2 rows cannot be read. Nothing was imported." in answer.text
    assert "Row 2" in answer.text
    assert "Row 3" in answer.text
    assert "&#39;twelve&#39; is not an amount in pounds and pence" in answer.text
    assert kept(answer.text)["bank_account"] == "GB33 7788"
    assert "Row 4" not in answer.text


@pytest.mark.parametrize(
    ("content", "fields", "words"),
    [
        ("When,How much\n20/05/2026,1.00\n", {}, "names a date and an amount in a way"),
        ("<Document/>", {}, "holds no CAMT.053 statement"),
        ("Date,Amount\n20/05/2026,1.00\n", {"bank_account": ""}, "which of our bank accounts"),
        ("Date,Amount\n", {}, "no booked movement"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_why(
    clerk: FlaskClient, content: str, fields: dict[str, str], words: str
) -> None:
    answer = upload(clerk, content, **fields)
    assert answer.status_code == 422
    assert words in answer.text


def test_columns_of_any_name_are_told_by_hand(clerk: FlaskClient, database: Database) -> None:
    columns = {"date": "When", "amount": "How much", "date_format": "%Y-%m-%d", "delimiter": ";"}
    answer = upload(clerk, "When;How much\n2026-05-20;1.00\n", **columns, step="import")
    assert answer.status_code == 303
    with database.snapshot() as session:
        assert [line.amount for line in unmatched(session)] == [Decimal("1.00")]


def test_a_camt_file_says_by_itself_which_account_it_is_of(
    clerk: FlaskClient, database: Database
) -> None:
    entry = (
        '<Ntry><Amt Ccy="GBP">12.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
        "<BookgDt><Dt>2026-05-20</Dt></BookgDt></Ntry>"
    )
    content = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt><Stmt>'
        f"<Acct><Id><IBAN>GB33BUKB20201555555555</IBAN></Id></Acct>{entry}"
        "</Stmt></BkToCstmrStmt></Document>"
    )
    assert upload(clerk, content, bank_account="", step="import").status_code == 303
    with database.snapshot() as session:
        assert [line.amount for line in unmatched(session)] == [Decimal("12.00")]


def test_a_remittance_advice_helps_to_match(clerk: FlaskClient, database: Database) -> None:
    invoices = issued(database, "100.00", "50.00")
    (line,) = imported(database, ("180.00", "SBS 4711"))

    def send(content: str, **fields: str) -> web.TestResponse:
        data = {
            "csrf_token": web.csrf_token(clerk, f"{BANK}/advice"),
            "file": (io.BytesIO(content.encode()), "advice.csv"),
            "payer": "NHS SBS",
            "reference": "SBS 4711",
            "paid_on-day": "19",
            "paid_on-month": "5",
            "paid_on-year": "2026",
            **fields,
        }
        return clerk.post(f"{BANK}/advice", data=data, follow_redirects=True)

    rows = "".join(f"{one.number},{one.total}\n" for one in invoices)
    faulty = send("Invoice,Amount\nPG-1,many\n")
    assert faulty.status_code == 422
    assert "Row 2" in faulty.text
    assert "advice.csv" in faulty.text
    assert send("Invoice,Amount\n" + rows, payer="").status_code == 422
    assert "2 invoices, £180.00" in send("Invoice,Amount\n" + rows).text
    page = clerk.get(f"{BANK}/lines/{line}").text
    assert "The remittance advice of NHS SBS comes to exactly this amount" in page


def test_a_suggestion_is_confirmed_and_undone_with_its_trail(
    clerk: FlaskClient, database: Database
) -> None:
    (invoice,) = issued(database, "100.00")
    (line,) = imported(database, ("120.00", f"{invoice.number} thanks"))
    page = f"{BANK}/lines/{line}"
    queue = clerk.get(BANK).text
    assert "Certain" in queue
    assert f"The reference names {invoice.number}, open by exactly this amount" in queue
    shown = clerk.get(page).text
    share = re.search(r'name="share" value="([^"]+)"', shown)
    assert share is not None

    sent = {"share": share[1], "why": "named"}
    done = web.send(clerk, f"{page}/confirm", sent, page=page)

    assert done.status_code == 303
    assert "The whole line is matched" in clerk.get(page).text
    assert statuses(database, invoice) == ["settled"]
    assert "Every bank line is matched" in clerk.get(BANK).text
    twice = web.send(clerk, f"{page}/confirm", sent, page=f"{BANK}/import")
    assert twice.status_code == 422
    undo = re.search(rf'href="({page}/uses/\w+/undo)"', clerk.get(page).text)
    assert undo is not None
    assert web.send(clerk, undo[1], {"reason": ""}, page=undo[1]).status_code == 422
    assert web.send(clerk, undo[1], {"reason": "wrong trust"}, page=undo[1]).status_code == 303
    trail = clerk.get(page).text
    assert "Undone by Ada Lovelace" in trail
    assert "wrong trust" in trail
    assert statuses(database, invoice) == ["issued"]


def test_money_is_shared_out_over_invoices_in_part_and_beyond(
    clerk: FlaskClient, database: Database
) -> None:
    first, second = issued(database, "100.00", "50.00")
    (line,) = imported(database, ("200.00", "hospital"))
    page = f"{BANK}/lines/{line}"
    choose = f"{page}?account={first.account_id}"
    # Filled in, oldest first; what is left over stays on the account.
    filled = kept(clerk.get(choose).text)
    assert [filled[f"pay-{one.id}"] for one in (first, second)] == ["120.00", "60.00"]
    assert filled["rest"] == "20.00"

    def split(**fields: str) -> web.TestResponse:
        said = {"account": first.account_id, **fields}
        return web.send(clerk, f"{page}/confirm", said, page=choose)

    wrong = split(**{f"pay-{first.id}": "ten", f"pay-{second.id}": "60.00"})
    assert wrong.status_code == 422
    assert "Enter an amount in pounds and pence" in wrong.text
    assert kept(wrong.text)[f"pay-{second.id}"] == "60.00"
    assert "how much of the money pays what" in split().text
    assert "leaves £120.00 open" in split(**{f"pay-{first.id}": "120.01"}).text
    assert "is not identified yet" in split(rest="200.01").text

    assert split(**{f"pay-{first.id}": "100.00", f"pay-{second.id}": "£60"}).status_code == 303
    assert statuses(database, first, second) == ["issued", "settled"]
    assert "£40.00 of this line is still to match" in clerk.get(page).text
    assert split(rest="40.00").status_code == 303
    assert "On the account" in clerk.get("/console/money/payments").text
    assert statuses(database, first, second) == ["issued", "settled"]


def test_what_is_about_no_account_is_set_aside_or_a_payout(
    clerk: FlaskClient, database: Database
) -> None:
    charge, payout = imported(database, ("-1.50", "charges"), ("100.00", "STRIPE"))
    page = f"{BANK}/lines/{charge}"
    assert web.send(clerk, f"{page}/set-aside", {"reason": ""}, page=page).status_code == 422
    assert web.send(clerk, f"{page}/set-aside", {"reason": "fee"}, page=page).status_code == 303
    other = f"{BANK}/lines/{payout}"
    assert web.send(clerk, f"{other}/payout", {}, page=other).status_code == 303
    assert "Payout by Stripe" in clerk.get(other).text
    assert statuses(database) == []


def test_the_bank_takes_a_payment_back_and_the_debt_is_open_again(
    clerk: FlaskClient, database: Database
) -> None:
    (invoice,) = issued(database, "100.00")
    came, went = imported(database, ("120.00", invoice.number or ""), ("-120.00", "unpaid"))
    page = f"{BANK}/lines/{came}"
    share = f"{invoice.account_id}|{invoice.id}|120.00"
    web.send(clerk, f"{page}/confirm", {"share": share}, page=page)
    assert statuses(database, invoice) == ["settled"]
    page = f"{BANK}/lines/{went}"
    shown = clerk.get(page).text
    assert "A payment that the bank took back" in shown
    subject = re.search(r'<option value="([^"|]+\|pay_[^"]+)"', shown)
    assert subject is not None

    def taken_back(reason: str) -> web.TestResponse:
        said = {"kind": "return", "subject": subject[1], "reason": reason}
        return web.send(clerk, f"{page}/out", said, page=page)

    assert taken_back("").status_code == 422
    assert taken_back("refer to payer").status_code == 303
    assert statuses(database, invoice) == ["issued"]
    assert "Came and went back" in clerk.get(page).text


def test_auditors_look_and_change_nothing(app: Flask, database: Database) -> None:
    issued(database, "100.00")
    (line,) = imported(database, ("120.00", "x"))
    auditor = web.signed_in(app, [Grant(Role.AUDITOR)])
    page = auditor.get(f"{BANK}/lines/{line}")
    assert page.status_code == 200
    assert "Share it out" not in page.text
    assert auditor.get(f"{BANK}/import").status_code == 403
