"""A database as one file, and back, by PostgreSQL's own `pg_dump` and `pg_restore`."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import create_engine

from metering.kit.db import sqlalchemy_url
from metering.kit.errors import Conflict, Unavailable
from metering.kit.postgres.binaries import PostgresMissing, installation
from metering.kit.roles import make_process_roles, make_roles

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class ProgramsMissing(Unavailable):
    """No `pg_dump` or `pg_restore` is here that is at least as new as the server."""

    code = "postgresql-programs-missing"
    title = "PostgreSQL's programs are missing"


class BackupFailed(Unavailable):
    """`pg_dump` or `pg_restore` ended with an error; the sentence is its last line."""

    code = "backup-failed"
    title = "The backup or restore failed"


class DatabaseNotEmpty(Conflict):
    """A backup is restored into an empty database only, so that nothing is mixed or lost."""

    code = "database-not-empty"
    title = "The database is not empty"


class FileExists(Conflict):
    """There is a file of that name already; no backup is overwritten."""

    code = "backup-file-exists"
    title = "The file exists"


def dump(url: str, file: Path) -> None:
    """Write the whole database to `file`, as of one instant; only its owner may read it.

    Raises:
        FileExists: there is one already.
        ProgramsMissing: see the class.
        BackupFailed: `pg_dump` says why.
    """
    if file.exists():
        raise FileExists(f"{file} exists already; give another name.")
    # Under another name until it is whole: half a backup must not look like one.
    part = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    try:
        _run(url, "pg_dump", ("--format=custom", "--no-owner", f"--file={part}"))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Read `file` into an empty database, all of it or nothing.

    Raises:
        DatabaseNotEmpty: it has tables.
        ProgramsMissing: see the class.
        RolesMissing: the roles that the file's grants name can be neither found nor made.
        BackupFailed: `pg_restore` says why.
    """
    with psycopg.connect(_libpq(url)) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchone()
    if tables != (0,):
        raise DatabaseNotEmpty("The database has tables; restore into an empty one.")
    # Grants name roles, which belong to the server and are in no dump.
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.begin() as begun:
            make_roles(begun)
            make_process_roles(begun)
    finally:
        engine.dispose()
    _run(
        url,
        "pg_restore",
        ("--no-owner", "--no-comments", "--exit-on-error", "--single-transaction", str(file)),
    )


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _run(url: str, program: str, arguments: Sequence[str]) -> None:
    parts = conninfo_to_dict(_libpq(url))
    password = parts.pop("password", None)
    # Arguments are seen by every user of the machine; the environment is not.
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    with psycopg.connect(_libpq(url)) as connection:
        server = connection.info.server_version // 10_000
    ended = subprocess.run(  # noqa: S603 - a program of PostgreSQL, without a shell
        [str(_program(program, server)), f"--dbname={make_conninfo('', **parts)}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["it said nothing"]
        first = next((line for line in said if "error:" in line), said[-1])
        raise BackupFailed(f"{program} failed: {first.partition('error: ')[2] or first}.")


def _program(name: str, server: int) -> Path:
    """Return a program of the server's major version, else the oldest that is newer."""
    found: list[tuple[int, Path]] = []
    with suppress(PostgresMissing):
        found.append(_versioned(installation() / "bin" / name))
    on_path = shutil.which(name)
    if on_path is not None:
        found.append(_versioned(Path(on_path)))
    fit = [each for each in found if each[0] >= server]
    if not fit:
        raise ProgramsMissing(
            f"No {name} of PostgreSQL {server} or later is here; install PostgreSQL's client."
        )
    return min(fit, key=lambda each: each[0])[1]


def _versioned(program: Path) -> tuple[int, Path]:
    said = subprocess.run(  # noqa: S603 - a program of PostgreSQL, without a shell
        [str(program), "--version"], capture_output=True, text=True, check=False
    ).stdout
    match = _VERSION.search(said)
    return (int(match[1]) if match else 0, program)
