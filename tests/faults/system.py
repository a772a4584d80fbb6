"""A whole paygo as an operator runs it, and ways to do it harm."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
import requests
from sqlalchemy import func, select

from metering import jobs
from metering.events.tables import IngestBatchRow, usage_events
from metering.kit import clock
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.readings.tables import ReadingRow
from tests.billing.cli.test_serve import SECRET, free_port
from tests.faults.dying import postmaster
from tests.metering import make
from tests.processes import alive, command_of, descendants, wait_for

_PATIENCE_SECONDS = 120


@dataclass
class Paygo:
    """A whole paygo under load.

    Attributes:
        key: of the imaging archive, which may post events.
        folder: where its database server keeps its files.
        log: what its processes wrote.
    """

    url: str
    key: str
    database: Database
    folder: Path
    log: Path
    process: "subprocess.Popen[bytes]"

    def answers(self) -> bool:
        """Say whether it answers a request that needs the database."""
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def part(self, name: str) -> list[int]:
        """Return the processes of `web` or `scheduler`, the one that leads the others first."""
        return sorted(
            pid for pid in descendants(self.process.pid) if f"billing.cli {name}" in command_of(pid)
        )

    def workers(self) -> list[int]:
        """Return the processes that answer requests: children of the web server."""
        web = self.part("web")
        return [pid for pid in web if any(pid in descendants(other) for other in web)]

    def database_answers(self) -> bool:
        """Say whether the database takes connections."""
        try:
            with psycopg.connect(_libpq(self.database.url), connect_timeout=2):
                return True
        except psycopg.Error:
            return False

    def backends(self) -> list[int]:
        """Return the database's processes that serve paygo's connections."""
        with psycopg.connect(_libpq(self.database.url)) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchall()
        return sorted(row[0] for row in rows)

    def stored(self) -> dict[str, int]:
        """Return how often each event is stored, by its id; once for each meter is right."""
        query = select(usage_events.c.event_key, func.count()).group_by(usage_events.c.event_key)
        with self.database.snapshot() as session:
            return {str(key): count for key, count in session.execute(query)}

    def counted(self) -> int:
        """Roll up what is left and return how many events the readings count."""
        unclaimed = select(IngestBatchRow.id).where(IngestBatchRow.claimed_at.is_(None)).limit(1)

        def is_done() -> bool:
            jobs.roll_up(self.database, now=clock.now())
            with self.database.snapshot() as session:
                return session.scalar(unclaimed) is None

        # What a scheduler is claiming at this moment is passed over.
        wait_for(is_done, seconds=_PATIENCE_SECONDS)
        with self.database.snapshot() as session:
            return int(session.scalar(select(func.sum(ReadingRow.event_count))) or 0)

    # --- harm

    def kill_worker(self, rng: random.Random) -> None:
        """Kill a process that answers requests; another takes its place."""
        os.kill(rng.choice(_once_there(self.workers)), signal.SIGKILL)
        wait_for(self.answers, seconds=_PATIENCE_SECONDS)

    def kill_scheduler(self, _rng: random.Random) -> None:
        """Kill the scheduler in the middle of whatever it does; it is started again."""
        gone = _once_there(lambda: self.part("scheduler"))
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: bool(set(self.part("scheduler")) - set(gone)), seconds=_PATIENCE_SECONDS)

    def cut_connections(self, _rng: random.Random) -> None:
        """End every connection to the database."""
        with psycopg.connect(_libpq(self.database.url), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def kill_backend(self, rng: random.Random) -> None:
        """Kill one process of the database; the server then ends them all and recovers."""
        wait_for(self.database_answers)
        os.kill(rng.choice(_once_there(self.backends)), signal.SIGKILL)
        wait_for(self.database_answers, seconds=_PATIENCE_SECONDS)

    def kill_database(self, _rng: random.Random) -> None:
        """Kill the database's server; its supervisor starts another."""
        before = postmaster(self.folder)
        os.kill(before, signal.SIGKILL)
        wait_for(
            lambda: (
                not alive(before) and postmaster(self.folder) != before and self.database_answers()
            ),
            seconds=_PATIENCE_SECONDS,
        )


@contextmanager
def running(
    folder: Path,
    *words: str,
    environment: Mapping[str, str] | None = None,
    way: Callable[[str], AbstractContextManager[str]] = nullcontext,
) -> Iterator[Paygo]:
    """Run a whole paygo with the metering tests' catalogue, until leaving.

    Args:
        words: after `paygo serve`.
        way: gives the URL by which paygo reaches its database, for the one it really has.
    """
    server = EmbeddedPostgres(folder / "data", settings=("fsync=off",))
    with server as url:
        upgrade(url)
        database = Database(url)
        make.catalogue(database, now=clock.now())
        key = make.key(database, now=clock.now())
        with (
            way(url) as through,
            serving(folder, through, *words, environment=environment) as (process, address),
        ):
            running = Paygo(address, key, database, folder / "data", folder / "log", process)
            try:
                wait_for(running.answers, seconds=_PATIENCE_SECONDS)
                yield running
            finally:
                database.dispose()


@contextmanager
def serving(
    folder: Path, url: str, *words: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run `paygo serve` on a database until leaving; yield it and its address."""
    port = free_port()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "billing.cli", "serve", "--port", str(port), *words],
            env={
                **os.environ,
                "DATABASE_URL": url,
                "PAYGO_SECRET_KEY": SECRET,
                "PAYGO_REQUESTS_PER_MINUTE": "0",
                **(environment or {}),
            },
            stdout=log,
            stderr=log,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _once_there(find: Callable[[], list[int]]) -> list[int]:
    """Return what is found once there is any; a second look might find the last one ended."""
    found: list[int] = []

    def look() -> bool:
        found[:] = find()
        return bool(found)

    wait_for(look, seconds=_PATIENCE_SECONDS)
    return found


def _libpq(url: str) -> str:
    return url.replace("+psycopg", "")
