"""The agreement of balances in the console, for the trust itself, and from the terminal."""

from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from billing.access.model import Grant, Role
from billing.cli.balances import balances
from billing.cli.documents import documents
from metering.kit.db import Database
from metering.periods import Month
from tests import web
from tests.scenarios import story
from tests.scenarios.story import month_end, service, trusts, uses

FEBRUARY, MARCH = Month(2026, 2), Month(2026, 3)


@pytest.fixture
def account_ids(database: Database) -> list[str]:
    """RA1 was invoiced for February; RA2 used nothing."""
    service(database, effective_from=date(2025, 4, 1))
    found = trusts(database, "RA1", "RA2", starts_on=date(2025, 4, 1))
    uses(database, "RA1", "100", at=date(2026, 2, 10))
    month_end(database, FEBRUARY)
    return [trust.id for trust in found]


def test_both_sides_see_the_same_statement(
    database: Database, account_ids: list[str], tmp_path: Path
) -> None:
    app = web.make_app(database, tmp_path, web.Clock(story.after(MARCH)))
    auditor = web.signed_in(app, [Grant(Role.AUDITOR)], email="a@x.example")
    listed = auditor.get("/console/money/balances").text
    assert "M12, March 2026" in listed
    assert "Trust RA1 (RA1)" in listed
    assert "Trust RA2" not in listed
    assert "£60.00" in listed
    sheet = auditor.get("/console/money/balances?month=2026-03&download=balances-2026-03").text
    assert "RA1,Trust RA1,2026-03,60.00,0.00,0.00,60.00,0.00,50.00,PG-2526-000001" in sheet
    one = auditor.get("/console/money/balances/2026-03/RA1").text
    mine, other = (
        web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=one_id)], email=f"{n}@x.example")
        for n, one_id in enumerate(account_ids)
    )
    own = mine.get("/portal/RA1/balances").text
    for words in ("M12, March 2026", "PG-2526-000001", "£60.00", "Invoiced in 2025/26", "£50.00"):
        assert words in one
        assert words in own
    paper = auditor.get("/console/money/balances/2026-03/RA1.pdf")
    assert paper.data.startswith(b"%PDF-")
    assert "RA1-balances-2026-03.pdf" in paper.headers["Content-Disposition"]
    assert mine.get("/portal/RA1/balances.pdf?month=2026-03").data == paper.data
    assert "There was nothing to agree" in mine.get("/portal/RA1/balances?month=2025-12").text
    assert "There was nothing to agree" in other.get("/portal/RA2/balances").text
    for browser, path in (
        (other, "/portal/RA1/balances"),
        (other, "/portal/RA2/balances.pdf"),
        (auditor, "/console/money/balances/2026-03/RA2"),
        (auditor, "/console/money/balances/2026-02/RA1"),
        (auditor, "/console/money/balances/x/RA1"),
    ):
        assert browser.get(path).status_code == 404, path


def test_balances_and_documents_from_the_terminal(
    database_url: str,
    database: Database,
    account_ids: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(command: object, *words: str) -> str:
        done = CliRunner().invoke(command, words, catch_exceptions=False)  # type: ignore[arg-type]  # a command of either kind
        assert done.exit_code == 0, done.output
        return done.output

    shown = run(balances, "2026-03")
    assert "M12, March 2026: 1 counterparty" in shown
    assert "£60.00" in shown
    assert '"receivable": "60.00"' in run(balances, "2026-03", "--account", "RA1", "--json")
    run(balances, "2026-03", "--csv", str(tmp_path / "m12.csv"), "--pdf", str(tmp_path / "out"))
    assert (tmp_path / "m12.csv").read_text(encoding="utf-8-sig").count("RA1") == 2
    assert (tmp_path / "out" / "RA1-balances-2026-03.pdf").read_bytes().startswith(b"%PDF-")
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    said = run(documents, "bundle", "2026-02", "--output", str(one))
    assert "1 invoice" in said
    run(documents, "bundle", "2026-01", "--to", "2026-03", "--account", "RA1", "--output", str(two))
    assert one.read_bytes() == two.read_bytes()
