"""`paygo readings rebuild` proves readings, or puts them right."""

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from billing.cli.readings import readings
from metering import jobs
from metering.kit.db import Database
from tests.metering import make
from tests.metering.make import event


def rebuild(monkeypatch: pytest.MonkeyPatch, url: str, *words: str) -> Result:
    monkeypatch.setenv("DATABASE_URL", url)
    return CliRunner().invoke(readings, ["rebuild", *words])


def test_right_readings_stay_and_wrong_ones_are_mended(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.catalogue(database)
    make.service(database).post(event(1), event(2, time="2026-06-30T10:00:00Z"))
    jobs.roll_up(database, now=datetime(2026, 7, 15, 10, tzinfo=UTC))
    said = rebuild(monkeypatch, database_url, "2026-06", "2026-07")
    assert said.output == "2 months; 0 readings differed.\n"
    with database.transaction() as session:
        session.execute(text("UPDATE readings SET quantity = quantity + 1 WHERE meter_id = 1"))

    def differed(*months: str) -> str:
        return rebuild(monkeypatch, database_url, *months).output.partition("; ")[2]

    assert differed("2026-07") == "1 reading differed.\n"
    assert differed("2026-06") == "1 reading differed.\n"
    assert differed("2026-06", "2026-07") == "0 readings differed.\n"
    assert rebuild(monkeypatch, database_url, "2026-07", "2026-06").exit_code == 2
