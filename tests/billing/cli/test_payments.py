"""`paygo payments` from a statement to a balanced ledger, as a finance clerk types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from billing.cli.payments import payments
from billing.payments.bank.csv_file import StatementUnreadable
from billing.payments.jobs import BooksDiffer
from metering.kit.db import Database
from tests.billing.payments import makers


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return CliRunner()


def _paygo(run: CliRunner, *arguments: str) -> str:
    made = run.invoke(payments, arguments, catch_exceptions=False)
    assert made.exit_code == 0, made.output
    return made.output


def test_a_statement_is_imported_once_and_the_books_balance(
    run: CliRunner, database: Database, tmp_path: Path
) -> None:
    with database.transaction() as session:
        invoice = makers.issue(session, makers.account(session), "100.00")
    file = tmp_path / "may.csv"
    file.write_text(f"When,Value,Text\n2026-05-20,120.00,{invoice.number}\n")
    order = (
        "import-statement",
        str(file),
        "--bank-account",
        "GB33",
        *("--column", "date=When", "--column", "amount=Value"),
        *("--column", "reference=Text", "--column", "date_format=%Y-%m-%d"),
    )

    assert _paygo(run, *order) == "GB33: 1 new lines, 0 known.\n"
    assert _paygo(run, *order) == "GB33: 0 new lines, 1 known.\n"

    (waiting,) = json.loads(_paygo(run, "unmatched", "--json"))
    assert waiting["left"] == "120.00"
    assert waiting["suggestions"][0]["score"] == 100
    assert "100: The reference names" in _paygo(run, "unmatched")
    balance = json.loads(_paygo(run, "trial-balance", "--json"))
    assert balance["balances"]["receivable"] == "120.00"
    assert balance["balances"]["cash"] == "120.00"
    assert balance["revenue_by_service"] == {"imaging-archive": "100.00"}
    assert "£240.00" in _paygo(run, "trial-balance")
    (debt,) = json.loads(_paygo(run, "aged-debt", "--json"))
    assert (debt["trust"], debt["total"]) == ("RRK", "120.00")
    assert "RRK" in _paygo(run, "aged-debt")
    told = json.loads(_paygo(run, "statement", "RRK", "--from", "2026-05", "--json"))
    assert (told["opening"], told["closing"]) == ("0.00", "120.00")
    assert "Closing balance" in _paygo(run, "statement", "RRK", "--from", "2026-05")
    assert (
        _paygo(run, "journal", "2026-05").splitlines()[1].endswith(",UNCODED,UNCODED,120.00,0.00")
    )


def test_a_remittance_advice_is_imported_once(run: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "advice.csv"
    file.write_text("Invoice,Amount\nPG-2627-000001,100.00\nPG-2627-000002,20.50\n")
    order = ("import-remittance", str(file), "--payer", "SBS", "--paid-on", "2026-05-19")

    assert _paygo(run, *order) == "Imported: 2 invoices, £120.50.\n"
    assert _paygo(run, *order) == "Imported before: 2 invoices, £120.50.\n"


def test_what_cannot_be_read_is_refused_with_a_sentence(run: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "x.xml"
    file.write_text("<a/>")
    with pytest.raises(StatementUnreadable, match="no CAMT"):
        run.invoke(payments, ["import-statement", str(file)], catch_exceptions=False)
    csv = tmp_path / "x.csv"
    csv.write_text("a\n")
    assert run.invoke(payments, ["import-statement", str(csv)]).exit_code == 2


def test_books_that_differ_are_said_aloud(run: CliRunner, database: Database) -> None:
    with database.transaction() as session:
        makers.issue(session, makers.account(session), "100.00", post=False)

    with pytest.raises(BooksDiffer, match="receivable"):
        run.invoke(payments, ["trial-balance"], catch_exceptions=False)
