"""`paygo tariff simulate`: past usage under a draft, from a terminal."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing.cli.tariffs import tariff
from billing.runs.work import rate_open_months
from billing.simulations import queries
from metering.kit.db import Database
from tests.billing.simulations.test_simulation import NOW, POOLED, draft
from tests.scenarios.story import APRIL, service, trusts, uses

DRAFT = """
tariff: imaging-archive
version: next
effective_from: 2026-07-01
vat: standard
prices:
  - {meter: studies-archived, model: per-unit, unit_price: "2.00"}
"""
SPAN = ("--from", "2026-04", "--to", "2026-04")


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(tariff, ["simulate", *arguments])


@pytest.fixture
def april(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database in which two trusts used 30 and 5 studies, charged at 0.50 each."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    service(database)
    trusts(database, "RA1", "RA2")
    uses(database, "RA1", "30")
    uses(database, "RA2", "5")
    rate_open_months(database, last=APRIL, now=NOW)
    return database


@pytest.mark.usefixtures("april")
def test_a_file_is_priced_beside_what_was_charged(tmp_path: Path) -> None:
    file, sheet = tmp_path / "draft.yaml", tmp_path / "compared.csv"
    file.write_text(DRAFT)
    shown = simulate(str(file), *SPAN, "--csv", str(sheet))
    assert shown.exit_code == 0, shown.output
    for said in ("£17.50", "£70.00", "£52.50", "0 accounts would have paid less, 2 more"):
        assert said in shown.output
    rows = list(csv.DictReader(sheet.read_text(encoding="utf-8-sig").splitlines()))
    assert {row["Organisation"] for row in rows} == {"RA1", "RA2"}
    found = json.loads(simulate(str(file), *SPAN, "--json").stdout)
    assert (found["charged"], found["simulated"], found["losers"]) == ("17.50", "70.00", 2)


def test_a_version_keeps_its_result_for_the_approver(april: Database) -> None:
    with april.transaction() as session:
        version = draft(session, POOLED).id
    answer = simulate(version, *SPAN, "--as", "ann@nhs.example", "--json")
    assert answer.exit_code == 0, answer.output
    # 35 together: 100.00 for the first and 80.00 for each of 34.
    assert json.loads(answer.stdout)["simulated"] == "2820.00"
    with april.snapshot() as session:
        [kept] = queries.simulations(session, version_id=version)
        assert kept.asked_by.endswith(":ann@nhs.example")
    with april.snapshot() as session:
        whole = queries.simulation(session, simulation_id=kept.id)
        assert str(queries.result(whole).simulated) == "2820.00"


def test_what_it_needs_is_asked_for(tmp_path: Path) -> None:
    who = simulate("tv_01J8ZQ0Q6W", *SPAN)
    assert (who.exit_code, "Say who asks with --as" in who.output) == (2, True)
    month = simulate(str(tmp_path), "--from", "April", "--to", "2026-04")
    assert (month.exit_code, "April" in month.output) == (2, True)
