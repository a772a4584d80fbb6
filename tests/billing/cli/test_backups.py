"""A backup comes back whole, is proved, and overwrites nothing."""

import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from metering.kit import dumps
from metering.kit.db import Scope
from metering.kit.roles import PORTAL
from tests import databases, web
from tests.billing.cli.test_commands import paygo
from tests.test_row_level_security import as_role
from tests.trusts import Shown

TABLES = """
SELECT relname FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
"""


@pytest.fixture
def filled(shown: Shown) -> str:
    with shown.app.app_context():
        made = web.edge().database.engine.url
    return made.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def empty(server_url: str) -> Iterator[str]:
    with databases.cloned_database(server_url, "template0") as url:
        yield url


def environment(url: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": url,
        "PAYGO_SECRET_KEY": "k" * 40,
        "PAYGO_DATA_DIR": str(folder),
    }


def counted(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchall()[0][0]
            for (name,) in connection.execute(TABLES).fetchall()
        }


def test_a_backup_comes_back_whole_and_is_proved(filled: str, empty: str, tmp_path: Path) -> None:
    file = tmp_path / "paygo.dump"
    written = paygo("backup", str(file), **environment(filled, tmp_path))
    assert written.returncode == 0, written.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(tmp_path.glob("*.dump*")) == [file]
    again = paygo("backup", str(file), **environment(filled, tmp_path))
    assert (again.returncode, again.stderr) == (1, f"{file} exists already; give another name.\n")

    read = paygo("restore", str(file), **environment(empty, tmp_path))
    assert read.returncode == 0, read.stderr
    assert "documents: numbers, seals, sums and working hold" in read.stdout
    assert "seal " in read.stdout
    assert counted(empty) == counted(filled)
    # Rules and grants came too.
    with as_role(empty, Scope(PORTAL)) as narrowed:
        assert narrowed.execute("SELECT count(*) FROM invoices").fetchone() == (0,)

    refused = paygo("restore", str(file), **environment(empty, tmp_path))
    assert (refused.returncode, refused.stderr) == (
        1,
        "The database has tables; restore into an empty one.\n",
    )


def test_a_backup_that_was_tampered_with_is_told(
    filled: str, server_url: str, empty: str, tmp_path: Path
) -> None:
    file = tmp_path / "paygo.dump"
    dumps.dump(filled, file)
    dumps.restore(empty, file)
    with psycopg.connect(empty) as connection:
        connection.execute("ALTER TABLE audit_entries DISABLE TRIGGER USER")
        connection.execute("UPDATE audit_entries SET principal = 'nobody' WHERE position = 1")
        connection.execute("ALTER TABLE audit_entries ENABLE TRIGGER USER")
    bad = tmp_path / "tampered.dump"
    dumps.dump(empty, bad)
    with databases.cloned_database(server_url, "template0") as another:
        told = paygo("restore", str(bad), **environment(another, tmp_path))
    assert told.returncode == 1
    assert "audit entry 1: its content does not match its seal" in told.stderr


def test_half_a_file_restores_nothing(filled: str, empty: str, tmp_path: Path) -> None:
    file = tmp_path / "paygo.dump"
    dumps.dump(filled, file)
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(dumps.BackupFailed, match="pg_restore failed"):
        dumps.restore(empty, file)
    assert counted(empty) == {}


def test_a_program_older_than_the_server_is_not_used() -> None:
    with pytest.raises(dumps.ProgramsMissing, match="PostgreSQL 99"):
        dumps._program("pg_dump", 99)


def test_a_backup_goes_through_what_encrypts_it(filled: str, empty: str, tmp_path: Path) -> None:
    file = tmp_path / "streamed.dump"
    with file.open("wb") as stream:
        dumps.write_dump(filled, stream)
    dumps.restore(empty, file)
    assert counted(empty) == counted(filled)
    with file.open("wb") as stream, pytest.raises(dumps.BackupFailed, match="pg_dump failed"):
        # A role that may not read every table.
        dumps.write_dump(f"{filled}&options=-c%20role%3D{PORTAL}", stream)
