"""Stories of money in, from the invoice that a run issues to the ledger, in pounds and pence."""

from datetime import date, datetime
from decimal import Decimal

from billing.invoices import credit_notes
from billing.invoices.model import Invoice
from billing.invoices.queries import invoice_row
from billing.ledger import queries as ledger
from billing.ledger.model import LedgerAccount
from billing.payments import jobs, statements
from billing.payments.bank import imports
from billing.payments.bank.csv_file import PLAIN, read_csv_statement
from billing.payments.conservation import check_books
from billing.payments.debt import prompt_payment
from metering.kit.db import Database
from metering.periods import Month
from tests.scenarios import story
from tests.scenarios.story import APRIL, MAY


def bank_says(database: Database, *rows: str, at: datetime) -> int:
    """The bank's statement is imported: Date, Amount, Reference, Name, Account, Id."""
    content = "\n".join(("Date,Amount,Reference,Name,Account,Id", *rows)).encode()
    with database.transaction() as session:
        return imports.import_statement(
            session,
            statement=read_csv_statement(content, bank_account="60-70-80 10014069", mapping=PLAIN),
            content=content,
            file_name="bank.csv",
            principal="usr_clerk",
            now=at,
        ).added


def status_of(database: Database, document: Invoice) -> str:
    with database.snapshot() as session:
        return invoice_row(session, account_id=document.account_id, invoice_id=document.id).status


def books(database: Database, on: date) -> dict[str, str]:
    """The trial balance without its noughts; it agrees with documents and payments."""
    with database.snapshot() as session:
        assert not check_books(session, on=on)
        balances = ledger.trial_balance(session, on=on).balances
    return {name.value: str(amount) for name, amount in balances.items() if amount}


def issue_two_months(database: Database) -> tuple[Invoice, Invoice]:
    story.service(database)
    story.trusts(database, "RRK", "RWE")
    story.uses(database, "RRK", "200", at=datetime.fromisoformat("2026-04-10T12:00:00+01:00"))
    story.uses(database, "RWE", "100", at=datetime.fromisoformat("2026-04-11T12:00:00+01:00"))
    issued = story.month_end(database, APRIL)
    return issued["RRK"][0], issued["RWE"][0]


def test_a_trust_pays_by_bacs_and_the_month_is_settled_to_the_penny(database: Database) -> None:
    # 200 studies at 50p and 100 at 50p, with VAT.
    birmingham, leicester = issue_two_months(database)
    assert [story.amounts(one) for one in (birmingham, leicester)] == [
        ("100.00", "20.00", "120.00"),
        ("50.00", "10.00", "60.00"),
    ]
    issued_on = story.after(APRIL)
    assert books(database, issued_on.date()) == {
        "receivable": "180.00",
        "revenue": "-150.00",
        "vat": "-30.00",
    }

    # Birmingham quotes its number and pays in full; Leicester pays half and says nothing useful.
    later = story.after(MAY)
    rows = (
        f"20/05/2026,120.00,{birmingham.number},UHB NHS FT,203040 11112222,A1",
        "21/05/2026,30.00,hospital,,,A2",
    )
    assert bank_says(database, *rows, at=later) == 2
    assert bank_says(database, *rows, "22/05/2026,-1.50,charges,,,A3", at=later) == 1
    assert dict(jobs.clear(database, now=later)) == {
        "posted": 0,
        "credits": 0,
        "prepaid": 0,
        "matched": 1,
    }

    assert status_of(database, birmingham) == "settled"
    assert status_of(database, leicester) == "issued"
    assert books(database, later.date()) == {
        "receivable": "60.00",
        "unallocated": "-28.50",
        "cash": "148.50",
        "revenue": "-150.00",
        "vat": "-30.00",
    }
    # The books of the day of issue are as they were.
    assert books(database, issued_on.date())["receivable"] == "180.00"
    with database.snapshot() as session:
        (paid,) = [
            one
            for one in prompt_payment(session, first_day=date(2026, 5, 1), end_day=MAY.end_day)
            if one.paid_count
        ]
        assert (paid.prompt_count, paid.paid_value) == (1, Decimal("120.00"))


def test_a_credit_note_takes_its_part_off_what_is_owed_and_what_was_earned(
    database: Database,
) -> None:
    birmingham, _ = issue_two_months(database)
    later = story.after(MAY)
    with database.transaction() as session:
        credit_notes.credit_invoice(
            session,
            account_id=birmingham.account_id,
            invoice_id=birmingham.id,
            basis="concession",
            reason="the archive was down",
            principal="usr_clerk",
            now=later,
        )

    jobs.clear(database, now=later)

    assert status_of(database, birmingham) == "settled"
    assert books(database, later.date()) == {
        "receivable": "60.00",
        "revenue": "-50.00",
        "vat": "-10.00",
    }
    with database.snapshot() as session:
        statement = statements.statement_of_account(
            session,
            account_id=birmingham.account_id,
            first_day=Month(2026, 5).first_day,
            end_day=Month(2026, 7).first_day,
        )
        earned = ledger.revenue_by_service(
            session, first_day=date(2026, 5, 1), end_day=date(2026, 7, 1)
        )
    assert [str(row.movement.amount) for row in statement.movements] == ["120.00", "-120.00"]
    assert statement.closing == 0
    assert earned == {"imaging-archive": (Decimal("150.00"), Decimal("100.00"))}
    assert LedgerAccount.CREDIT.value not in books(database, later.date())
