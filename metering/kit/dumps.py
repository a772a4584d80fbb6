"""A database as one file, and back, by PostgreSQL's own `pg_dump` and `pg_restore`."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

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
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be written: {error.strerror}.") from error
    os.close(descriptor)
    try:
        _run(url, "pg_dump", ("--format=custom", "--no-owner", f"--file={part}"))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def write_dump(url: str, stream: BinaryIO) -> None:
    """Write the whole database to a stream, as of one instant, for whatever encrypts it.

    Raises:
        ProgramsMissing: see the class.
        BackupFailed: `pg_dump` says why; what was written so far is no backup.
    """
    command, environment = _command(url, "pg_dump", ("--format=custom", "--no-owner"))
    # Its words go to a file: a pipe that nobody reads could fill and stop it.
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen(  # noqa: S603 - a program of PostgreSQL, without a shell
            command, env=environment, stdout=subprocess.PIPE, stderr=said
        )
        assert running.stdout is not None
        with running.stdout as output:
            shutil.copyfileobj(output, stream)
        if running.wait():
            said.seek(0)
            raise _failed("pg_dump", said.read().decode(errors="replace"))


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
    command, environment = _command(url, program, arguments)
    ended = subprocess.run(  # noqa: S603 - a program of PostgreSQL, without a shell
        command, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise _failed(program, ended.stderr)


def _command(
    url: str, program: str, arguments: Sequence[str]
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Return how a program of the server's version is called on a database, and with what."""
    parts = conninfo_to_dict(_libpq(url))
    password = parts.pop("password", None)
    # Arguments are seen by every user of the machine; the environment is not.
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    with psycopg.connect(_libpq(url)) as connection:
        server = connection.info.server_version // 10_000
    found = str(_program(program, server))
    return (found, f"--dbname={make_conninfo('', **parts)}", *arguments), environment


def _failed(program: str, said: str) -> BackupFailed:
    lines = said.strip().splitlines() or ["it said nothing"]
    first = next((line for line in lines if "error:" in line), lines[-1])
    return BackupFailed(f"{program} failed: {first.partition('error: ')[2] or first}.")


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
