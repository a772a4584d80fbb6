"""What stands behind an invoice is fixed: documents made again are the same to the byte."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing import jobs
from billing.documents.render import render_all
from billing.invoices import queries
from billing.invoices.backing import CAME_LATER, TAKEN_BACK_LATER, UsageRow, usage_rows
from billing.invoices.catalogue import load_catalogue
from billing.invoices.model import Invoice
from billing.invoices.verifying import verify_invoices
from billing.runs import operations
from billing.runs.drafting import draft_account
from metering.kit.db import Database
from tests import make
from tests.scenarios import story
from tests.scenarios.story import APRIL, MAY, month_end, service, trusts, uses


def behind(database: Database, invoice: Invoice) -> list[UsageRow]:
    with database.snapshot() as session:
        return usage_rows(session, invoice=invoice)


@pytest.fixture
def invoice(database: Database) -> Invoice:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10", at=date(2026, 4, 10))
    uses(database, "RRK", "7.5", at=date(2026, 4, 20))
    return month_end(database, APRIL)["RRK"][0]


def test_usage_that_comes_or_goes_after_issue_changes_no_document(
    database: Database, invoice: Invoice
) -> None:
    made = render_all(invoice, behind(database, invoice))
    assert b"2026-04-20" in made["usage"]
    uses(database, "RRK", "400", at=date(2026, 4, 11))
    uses(database, "RRK", "-10", at=date(2026, 4, 10))
    # The job comes late: what it keeps is what was issued, and making it again gives the same.
    jobs.make_documents(database, now=story.after(APRIL))
    with database.snapshot() as session:
        for name, content in made.items():
            kept = queries.kept_document(
                session, account_id=invoice.account_id, invoice_id=invoice.id, name=name
            )
            assert kept is not None
            assert kept[2] == content, name
    month_end(database, MAY)
    assert render_all(invoice, behind(database, invoice)) == made


def test_readings_that_moved_on_before_the_draft_are_told_apart(database: Database) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    uses(database, "RRK", "10", at=date(2026, 4, 10))
    run_id = story.draft(database, APRIL)
    for quantity, words in (("3", CAME_LATER), ("-5", TAKEN_BACK_LATER)):
        # Drafted again from the charges as they were, while readings have moved on.
        uses(database, "RRK", quantity, at=date(2026, 4, 12))
        with database.transaction() as session:
            operations.release_account(
                session,
                run_id=run_id,
                account_id=trust.id,
                principal=story.STARTER,
                now=story.after(APRIL),
            )
            draft_account(
                session,
                run_id=run_id,
                account_id=trust.id,
                catalogue=load_catalogue(session),
                now=story.after(APRIL),
            )
        with database.snapshot() as session:
            (row,) = queries.invoices(
                session, account_id=trust.id, run_id=run_id, statuses=("draft",)
            )
            draft = queries.read(row)
        rows = behind(database, draft)
        assert sum(row.quantity for row in rows) == draft.lines[0].quantity == Decimal(10)
        assert rows[-1].dimensions == words
        assert {row.line_number for row in rows} == {1}


def test_the_usage_of_an_issued_invoice_cannot_be_changed(
    database: Database, invoice: Invoice
) -> None:
    for statement in (
        "UPDATE invoice_usage SET sha256 = 'x'",
        "DELETE FROM invoice_usage",
        "INSERT INTO invoice_usage SELECT account_id, id, 'x', 'x' FROM invoices",
    ):
        with pytest.raises(IntegrityError), database.transaction() as session:
            session.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM invoice_usage", "the usage behind it is gone"),
        (
            "UPDATE invoice_usage SET content = '\\x789c8b8e0500011500b9'::bytea",
            "the usage behind it is not what was sealed",
        ),
    ],
)
def test_usage_that_was_tampered_with_is_found(
    database: Database, invoice: Invoice, statement: str, what: str
) -> None:
    with database.transaction() as session:
        session.execute(text("ALTER TABLE invoice_usage DISABLE TRIGGER USER"))
        session.execute(text(statement))
    with database.snapshot() as session:
        assert [fault.what for fault in verify_invoices(session).faults] == [what]


def test_an_invoice_of_before_usage_was_kept_shows_the_readings(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        for table in ("invoice_usage", "invoices"):
            session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        session.execute(text("DELETE FROM invoice_usage"))
        session.execute(text("UPDATE invoices SET content = content - 'usage_sha256'"))
    with database.snapshot() as session:
        (row,) = queries.invoices(session, account_id=invoice.account_id)
        old = queries.read(row)
    uses(database, "RRK", "2", at=date(2026, 4, 11))
    rows = behind(database, old)
    assert [row.quantity for row in rows] == [10, 2, Decimal("7.5"), -2]
    assert sum(row.quantity for row in rows) == Decimal("17.5")
    assert rows[-1].dimensions == CAME_LATER


def test_readings_of_hours_are_kept_by_hour(database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, resolution="hour")
        make.tariff(session, make.price())
    trusts(database, "RRK")
    uses(database, "RRK", "10", at=date(2026, 4, 10))
    (invoice,) = month_end(database, APRIL)["RRK"]
    assert invoice.usage_sha256 is not None
    assert [(row.hour, row.quantity) for row in behind(database, invoice)] == [(12, Decimal(10))]
