"""The probe holds, tells a wrong penny, and leaves nothing behind."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text

from billing.cli import probe, probing_live
from metering.kit.config import Settings
from metering.kit.db import Database
from tests import web
from tests.billing.cli.test_commands import paygo
from tests.metering import make as usage
from tests.processes import listening


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


@pytest.fixture
def live(app: Flask) -> Iterator[str]:
    """The address of a running paygo."""
    with listening(app) as url:
        yield url


@pytest.fixture
def key(database: Database) -> str:
    usage.catalogue(database, now=web.START)
    return usage.key(database, now=web.START)


def test_a_running_paygo_is_ready_refuses_strangers_and_takes_usage(live: str, key: str) -> None:
    assert list(probing_live.faults(live, key=None)) == []
    assert list(probing_live.faults(f"{live}/", key=key)) == []


def test_nothing_is_counted_by_asking(live: str, key: str, database: Database) -> None:
    list(probing_live.faults(live, key=key))
    with database.snapshot() as session:
        assert session.scalar(text("SELECT count(*) FROM usage_events")) == 0


def test_a_running_paygo_that_is_behind_or_knows_no_such_key_is_told(
    live: str, database: Database
) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert list(probing_live.faults(live, key="pgk_nobody")) == [
        f"{live} is not ready: it answers 503 schema-not-current",
        f"{live} answers an empty list of events with 401 key-refused",
    ]


def test_what_is_no_paygo_or_not_there_is_told(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    found = list(probing_live.faults(url, key=None))
    server.shutdown()
    server.server_close()
    assert found == [
        f"{url} is not ready: it answers 404",
        f"{url} answers usage without a key with 501, not with 401",
    ]
    (gone,) = probing_live.faults(url, key=None)
    assert gone == f"{url} does not answer: ConnectionError"
