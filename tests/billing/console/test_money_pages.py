"""Payments, refunds, debt, reminders, ledger and Stripe: what the pages show and do."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.invoices.queries import invoice_row
from billing.invoices.tables import InvoiceRow
from billing.jobs import ALL_JOBS
from billing.ledger import operations as ledger
from billing.ledger.model import EntryKind, LedgerAccount, move
from billing.payments import calls, mirror
from billing.payments.bank import operations as bank
from billing.payments.bank.matching import Share
from billing.payments.conservation import check_books
from billing.payments.gateway import GatewayEvent, RemoteInvoice
from billing.payments.tables import PaymentRow
from metering.kit.db import Database
from metering.kit.jobruns import check_names, run_job
from tests import web
from tests.billing.payments import makers

NOW = datetime(2026, 7, 6, 9, 0, tzinfo=UTC)
MONEY = "/console/money"
PATIENT = "943 476 5919"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    return web.make_app(database, tmp_path, web.Clock(NOW))


def as_(app: Flask, *roles: Role) -> FlaskClient:
    email = f"{'-'.join(roles)}@example.nhs.uk"
    return web.signed_in(app, [Grant(role) for role in roles], email=email)


def owed(database: Database, net: str = "100.00") -> InvoiceRow:
    with database.transaction() as session:
        return makers.issue(session, makers.account(session), net)


def paid(database: Database, invoice: InvoiceRow, amount: str, *, for_invoice: str) -> PaymentRow:
    """A bank line is confirmed: a part for the invoice, the rest for the account."""
    with database.transaction() as session:
        (line,) = makers.statement(session, (amount, "x"))
        parts = [(invoice.id, Decimal(for_invoice)), (None, Decimal(amount) - Decimal(for_invoice))]
        (payment,) = bank.confirm(
            session,
            bank_line_id=line,
            shares=[
                Share(account_id=invoice.account_id, invoice_id=one, amount=part)
                for one, part in parts
                if part
            ],
            principal="usr_clerk",
            now=NOW,
        )
        return payment


def status(database: Database, invoice: InvoiceRow) -> str:
    with database.snapshot() as session:
        assert not check_books(session, on=NOW.date())
        row = invoice_row(session, account_id=invoice.account_id, invoice_id=invoice.id)
        return row.status


def lines_of(answer: web.TestResponse) -> list[str]:
    assert answer.mimetype == "text/csv"
    return answer.get_data().decode("utf-8-sig").splitlines()


def test_a_payment_is_set_against_an_invoice_and_taken_off(app: Flask, database: Database) -> None:
    invoice = owed(database)
    payment = paid(database, invoice, "120.00", for_invoice="0.00")
    clerk = as_(app, Role.ANALYST)
    page = f"{MONEY}/payments/{payment.account_id}/{payment.id}"
    assert "On the account" in clerk.get(page).text

    def allocate(amount: str) -> web.TestResponse:
        said = {"invoice": invoice.id, "amount": amount}
        return web.send(clerk, f"{page}/allocate", said, page=page)

    for wrong in ("", "many", "-1", "120.01"):
        assert allocate(wrong).status_code == 422
    assert allocate("120").status_code == 303
    assert status(database, invoice) == "settled"
    shown = clerk.get(page).text
    assert invoice.number is not None
    assert invoice.number in shown
    undo = shown.partition("/allocations/")[2].partition("/undo")[0]
    address = f"{MONEY}/accounts/{payment.account_id}/allocations/{undo}/undo"
    assert web.send(clerk, address, {"reason": " "}, page=address).status_code == 422
    assert web.send(clerk, address, {"reason": "other invoice"}, page=address).status_code == 303
    assert "other invoice" in clerk.get(page).text
    assert status(database, invoice) == "issued"
    assert lines_of(clerk.get(f"{MONEY}/payments?state=left&download=payments"))[1].endswith(
        "120,120,On the account"
    )


def test_a_payment_is_taken_back_with_all_it_paid(app: Flask, database: Database) -> None:
    invoice = owed(database)
    payment = paid(database, invoice, "120.00", for_invoice="120.00")
    clerk = as_(app, Role.ANALYST)
    page = f"{MONEY}/payments/{payment.account_id}/{payment.id}"
    address = f"{page}/take-back"
    assert web.send(clerk, address, {"reason": ""}, page=address).status_code == 422
    assert web.send(clerk, address, {"reason": "wrong trust"}, page=address).status_code == 303
    assert "Taken back" in clerk.get(page).text
    assert status(database, invoice) == "issued"
    assert "1 bank line to match" in clerk.get(MONEY).text


def test_a_refund_is_asked_for_paid_by_bank_and_comes_back(app: Flask, database: Database) -> None:
    invoice = owed(database)
    payment = paid(database, invoice, "150.00", for_invoice="120.00")
    clerk = as_(app, Role.ANALYST)
    address = f"{MONEY}/payments/{payment.account_id}/{payment.id}/refund"

    def ask(amount: str, reason: str = "paid too much") -> web.TestResponse:
        return web.send(clerk, address, {"amount": amount, "reason": reason}, page=address)

    for wrong in (
        ("30.01", "x"),
        ("30.00", ""),
        ("", "x"),
        ("a lot", "x"),
        ("30.00", f"asked for by {PATIENT}"),
    ):
        assert ask(*wrong).status_code == 422
    assert ask("30.00").status_code == 303
    listed = clerk.get(f"{MONEY}/refunds?state=requested").text
    refund = listed.partition("/refunds/rfd_")[2].partition("/cancel")[0]
    cancel = f"{MONEY}/accounts/{payment.account_id}/refunds/rfd_{refund}/cancel"
    assert web.send(clerk, cancel, {}, page=cancel).status_code == 303
    assert web.send(clerk, cancel, {}, page=cancel).status_code == 422
    assert ask("30.00").status_code == 303

    # It leaves the bank, and the bank sends it back.
    for amount, kind, words in (
        ("-30.00", "refund", "Refund sent"),
        ("30.00", "refund-returned", "Came and went back"),
    ):
        with database.transaction() as session:
            (line,) = makers.statement(session, (amount, "refund"))
        page = f"{MONEY}/bank/lines/{line}"
        shown = clerk.get(page).text
        subject = shown.partition(f'id="{kind}-subject"')[2].partition('value="')[2]
        said = {"kind": kind, "subject": subject.partition('"')[0], "reason": "account closed"}
        assert web.send(clerk, f"{page}/out", said, page=page).status_code == 303
        assert words in clerk.get(page).text
        assert status(database, invoice) == "settled"
    assert "£30.00" in clerk.get(f"{MONEY}/debt/accounts/{payment.account_id}").text


def test_a_credit_note_is_paid_out(app: Flask, database: Database) -> None:
    invoice = owed(database)
    with database.transaction() as session:
        note = makers.issue(
            session,
            makers.account_of(session, invoice),
            "10.00",
            credits_invoice=invoice,
        )
    clerk = as_(app, Role.ANALYST)
    page = clerk.get(f"{MONEY}/debt/accounts/{invoice.account_id}").text
    assert f"Credit note {note.number}" in page
    address = f"{MONEY}/accounts/{invoice.account_id}/credit-notes/{note.id}/refund"
    said = {"amount": "12.00", "reason": "the trust closed"}
    assert web.send(clerk, address, said, page=address).status_code == 303
    assert (
        clerk.get(f"{MONEY}/accounts/{invoice.account_id}/credit-notes/x/refund").status_code == 404
    )
    assert status(database, invoice) == "issued"


def test_debt_by_age_and_a_write_off_by_an_approver(app: Flask, database: Database) -> None:
    invoice = owed(database)
    clerk, approver = as_(app, Role.ANALYST), as_(app, Role.APPROVER)
    aged = clerk.get(f"{MONEY}/debt").text
    assert "31 to 60 days" in aged
    assert "£120.00" in aged
    assert (
        "Nobody owes anything" in clerk.get(f"{MONEY}/debt?on-day=1&on-month=5&on-year=2026").text
    )
    assert clerk.get(f"{MONEY}/debt?on-day=31&on-month=2&on-year=2026").status_code == 422
    header, row = lines_of(clerk.get(f"{MONEY}/debt?download=aged-debt-2026-07-06"))
    assert header.startswith("Account,ODS code,Not due,1 to 30 days,31 to 60 days")
    assert row.endswith(",RRK,0,0,120,0,0,120,0")

    page = f"{MONEY}/debt/accounts/{invoice.account_id}"
    address = f"{page}/invoices/{invoice.id}/write-off"
    assert clerk.get(address).status_code == 403
    assert "Write off" not in clerk.get(page).text
    assert address in approver.get(page).text
    for wrong in (
        {"amount": "120.01", "reason": "x"},
        {"amount": "120", "reason": ""},
        {"amount": "120", "reason": PATIENT},
    ):
        assert web.send(approver, address, wrong, page=address).status_code == 422
    said = {"amount": "120", "reason": "dissolved"}
    assert web.send(approver, address, said, page=address).status_code == 303
    assert status(database, invoice) == "settled"
    shown = approver.get(page).text
    undo = shown.partition("/write-offs/")[2].partition("/undo")[0]
    address = f"{page}/write-offs/{undo}/undo"
    assert clerk.get(address).status_code == 403
    assert web.send(approver, address, {"reason": "it will pay"}, page=address).status_code == 303
    assert status(database, invoice) == "issued"


def test_a_statement_of_account_with_its_file(app: Flask, database: Database) -> None:
    invoice = owed(database)
    paid(database, invoice, "50.00", for_invoice="50.00")
    clerk = as_(app, Role.AUDITOR)
    page = f"{MONEY}/debt/accounts/{invoice.account_id}"
    shown = clerk.get(page).text
    assert "Balance at the end: <strong>£70.00</strong>" in shown
    rows = lines_of(clerk.get(f"{page}?download=statement-RRK-2026"))
    assert [row.rpartition(",")[2] for row in rows] == ["Balance", "120", "70"]
    assert "Nothing was invoiced or paid" in clerk.get(f"{page}?year=2024").text
    assert clerk.get(f"{MONEY}/debt/accounts/acc_none").status_code == 404


def test_reminders_due_and_an_account_with_days_of_its_own(app: Flask, database: Database) -> None:
    invoice = owed(database)
    clerk = as_(app, Role.ANALYST)
    assert invoice.number is not None
    assert "30 days after it was due" in clerk.get(f"{MONEY}/reminders").text
    address = f"{MONEY}/reminders/accounts/{invoice.account_id}"
    for wrong in ("soon", "1, 1", "400"):
        assert web.send(clerk, address, {"days": wrong}, page=address).status_code == 422
    assert web.send(clerk, address, {"days": "-3, 7"}, page=address).status_code == 303
    statement = clerk.get(f"{MONEY}/debt/accounts/{invoice.account_id}").text
    assert "3 days before; 7 days after" in statement
    assert "7 days after it was due" in clerk.get(f"{MONEY}/reminders").text
    assert web.send(clerk, address, {"days": ""}, page=address).status_code == 303
    assert "No reminder is due today" in clerk.get(f"{MONEY}/reminders").text
    assert as_(app, Role.AUDITOR).get(address).status_code == 403


def test_the_trial_balance_agrees_with_bank_and_documents(app: Flask, database: Database) -> None:
    invoice = owed(database)
    paid(database, invoice, "50.00", for_invoice="50.00")
    auditor = as_(app, Role.AUDITOR)
    shown = auditor.get(f"{MONEY}/ledger?check=now").text
    for words in ("Agree", "Statements say £50.00", "Revenue, imaging-archive", "£120.00"):
        assert words in shown
    rows = lines_of(auditor.get(f"{MONEY}/ledger?download=trial-balance-2026-07-06"))
    assert rows[0] == "Ledger account,Code,Debit,Credit"
    assert rows[-1] == "Total,,120,120"
    assert "£0.00" in auditor.get(f"{MONEY}/ledger?on-day=1&on-month=1&on-year=2026").text


def test_a_tampered_ledger_is_told(app: Flask, database: Database) -> None:
    owed(database)
    with database.transaction() as session:
        ledger.post(
            session,
            kind=EntryKind.SET_ASIDE,
            subject_id="use_none",
            description="nobody said so",
            postings=move(Decimal("9.00"), debit=LedgerAccount.CASH, credit=LedgerAccount.OTHER),
            principal="usr_clerk",
            now=NOW,
        )
    auditor = as_(app, Role.AUDITOR)
    assert "Not compared yet" in auditor.get(f"{MONEY}/ledger").text
    shown = auditor.get(f"{MONEY}/ledger?check=now").text
    assert "2 differ" in shown
    assert "ledger account cash" in shown
    run_job(database, check_names(ALL_JOBS)["check-books"], clock=lambda: NOW, started_by="test")
    assert "The books differ" in as_(app, Role.ANALYST).get(MONEY).text
    assert "Differ" in auditor.get(f"{MONEY}/ledger").text


def test_the_journal_of_some_days_with_cost_codes(app: Flask, database: Database) -> None:
    owed(database)
    with database.transaction() as session:
        ledger.set_codes(session, codes={(LedgerAccount.RECEIVABLE, ""): ("C100", "5000")})
    auditor = as_(app, Role.AUDITOR)
    days = "first-day=1&first-month=5&first-year=2026&last-day=31&last-month=5&last-year=2026"
    page = auditor.get(f"{MONEY}/ledger/journal?{days}").text
    assert "C100 / 5000" in page
    assert "2 ledger accounts have no cost codes" in page
    rows = lines_of(
        auditor.get(f"{MONEY}/ledger/journal?{days}&download=journal-2026-05-01-to-2026-05-31")
    )
    assert rows[0].startswith("Entry,Posted on,Kind,Description,Ledger account")
    assert len(rows) == 4
    assert sum(Decimal(row.split(",")[-2]) for row in rows[1:]) == Decimal("120.00")
    assert "Nothing was posted" in auditor.get(f"{MONEY}/ledger/journal").text
    for wrong in (
        days.replace("first-day=1", "first-day=99"),
        days.replace("last-year=2026", "last-year=2020"),
    ):
        assert auditor.get(f"{MONEY}/ledger/journal?{wrong}").status_code == 422


def test_what_services_are_owed_and_how_promptly_trusts_pay(app: Flask, database: Database) -> None:
    invoice = owed(database)
    paid(database, invoice, "120.00", for_invoice="120.00")
    auditor = as_(app, Role.AUDITOR)
    rows = lines_of(
        auditor.get(f"{MONEY}/ledger/settlement?month=2026-05&download=settlement-2026-05")
    )
    assert rows[1] == "imaging-archive,imaging-archive,100,0,100,100,0"
    prompt = auditor.get(f"{MONEY}/ledger/prompt-payment?month=2026-05").text
    assert "100.0%" in prompt
    assert "1 of 1" in prompt
    assert "Nothing was paid in this month" in (
        auditor.get(f"{MONEY}/ledger/prompt-payment?month=2026-04").text
    )


def test_stripe_shows_what_it_has_refused_and_told(app: Flask, database: Database) -> None:
    invoice = owed(database)
    remote = RemoteInvoice(
        id="in_1",
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        number=invoice.number or "",
        status="open",
        total=invoice.total,
        vat=invoice.vat,
        amount_remaining=Decimal("20.00"),
        hosted_url="https://pay.example/in_1",
    )
    call = calls.Call(
        account_id=invoice.account_id,
        action="lines-0",
        subject_id=invoice.id,
        find=lambda: None,
        do=lambda key: key,
    )
    told = GatewayEvent(
        id="evt_1", type="invoice.paid", object_kind="invoice", object_id="in_1", content={}
    )
    with database.transaction() as session:
        mirror.keep_mirror(
            session,
            remote=remote,
            account_id=invoice.account_id,
            invoice_id=invoice.id,
            now=NOW,
        )
        calls.refuse(session, call, reason="No such tax rate", now=NOW)
        mirror.store_event(session, event=told, now=NOW)
    clerk = as_(app, Role.ANALYST)
    page = clerk.get(f"{MONEY}/stripe").text
    for words in ("No key of Stripe is set", "in_1", "£20.00", "No such tax rate", "Add lines to"):
        assert words in page
    webhooks = clerk.get(f"{MONEY}/stripe?show=webhooks").text
    assert "invoice.paid" in webhooks
    assert len(lines_of(clerk.get(f"{MONEY}/stripe?show=webhooks&download=stripe-webhooks"))) == 2
    assert "1 call that Stripe refused" in clerk.get(MONEY).text
    address = f"{MONEY}/stripe/" + page.partition("/console/money/stripe/")[2].partition('"')[0]
    assert "Allow again" not in as_(app, Role.AUDITOR).get(f"{MONEY}/stripe").text
    assert web.send(clerk, address, {}, page=f"{MONEY}/bank/import").status_code == 303
    assert "No such tax rate" not in clerk.get(f"{MONEY}/stripe").text
    assert web.send(clerk, address, {}, page=f"{MONEY}/bank/import").status_code == 404


def test_empty_pages_say_what_to_do(app: Flask) -> None:
    clerk = as_(app, Role.ANALYST)
    for path, words in (
        ("", "Nothing waits"),
        ("/bank", "Every bank line is matched"),
        ("/bank?state=all", "Import a bank statement"),
        ("/bank?search=x", "No line fits"),
        ("/bank/imports", "Nothing was imported yet"),
        ("/payments", "No payment was received yet"),
        ("/payments?state=back", "No payment fits"),
        ("/refunds", "No refund was asked for"),
        ("/debt", "Nobody owes anything"),
        ("/reminders", "No reminder is due today"),
        ("/ledger/settlement", "Nothing was invoiced in this month"),
        ("/stripe", "No invoice was pushed"),
    ):
        assert words in clerk.get(f"{MONEY}{path}").text, path
