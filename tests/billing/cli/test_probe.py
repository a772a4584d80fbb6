"""The probe holds, tells a wrong penny, and leaves nothing behind."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from billing.cli import probe
from metering.kit.config import Settings
from metering.kit.db import Database
from tests.billing.cli.test_commands import paygo


def rows_and_databases(url: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone()
            for name in ("organisations", "usage_events", "invoices", "audit_entries", "tariffs")
        ]
        databases = connection.execute(
            "SELECT count(*) FROM pg_database WHERE datname LIKE 'paygo_probe%'"
        ).fetchone()
    return (*counts, databases)


def test_the_probe_holds_and_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    before = rows_and_databases(database_url)
    done = paygo(
        "probe",
        "--json",
        DATABASE_URL=database_url,
        PAYGO_SECRET_KEY="k" * 40,
        PAYGO_DATA_DIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["holds"] is True
    assert answer["invoices"]["PROBEA"]["total"] == "2546.53"
    assert rows_and_databases(database_url) == before
    assert before[-1] == (0,)


@pytest.mark.parametrize("day", [1, 31])
def test_a_wrong_penny_is_told_on_whatever_day(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, day: int
) -> None:
    wrong = probe.EXPECTED["PROBEC"]._replace(net=Decimal("2122.11"))
    monkeypatch.setattr(probe, "EXPECTED", {**probe.EXPECTED, "PROBEC": wrong})
    found, differences = probe.run_probe(
        database,
        settings=Settings.from_environment({"PAYGO_DATA_DIR": str(tmp_path)}),
        now=datetime(2026, 5, day, 0, 30, tzinfo=UTC),
    )
    assert found["PROBEA"].total == Decimal("2546.53")
    assert len(differences) == 1
    assert differences[0].startswith("PROBEC would be invoiced Amounts(net=Decimal('2122.10')")
