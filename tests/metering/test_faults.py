"""Processes are killed under load, and no event is lost or counted twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import requests
from sqlalchemy import func, select

from metering import jobs
from metering.client import Meter
from metering.client.model import Options
from metering.events.tables import usage_events
from metering.kit import clock
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.readings.tables import ReadingRow
from tests.billing.cli.test_serve import SECRET, free_port
from tests.conftest import FAULTS
from tests.metering import make
from tests.processes import alive, command_of, descendants, wait_for

pytestmark = pytest.mark.faults

EVENTS = 4_000
HOST = """
import sys, time
from metering.client import Meter
from metering.client.model import Options
options = Options(
    batch_events=40, batch_seconds=0.02, backoff_seconds=0.1, longest_backoff_seconds=1,
    exit_seconds=120,
)
meter = Meter(
    sys.argv[1], sys.argv[2], "imaging-archive", spool_dir=sys.argv[3], options=options,
    quantity_field="studies",
)
for _ in range(int(sys.argv[4])):
    sys.stdout.write(meter.record("study.archived", "RRK", 1, {"modality": "CT"}) + "\\n")
    sys.stdout.flush()
    time.sleep(0.001)
assert meter.close(120)
"""


@dataclass
class Paygo:
    """A whole paygo under load.

    Attributes:
        postgres: where its server keeps its files.
    """

    url: str
    key: str
    database: Database
    postgres: Path
    process: "subprocess.Popen[bytes]"

    def answers(self) -> bool:
        try:
            requests.get(f"{self.url}/api/openapi.json", timeout=5)
        except requests.RequestException:
            return False
        return True

    def workers(self) -> list[int]:
        """Return the processes that answer requests: children of the web server."""
        web = [pid for pid in descendants(self.process.pid) if "billing.cli web" in command_of(pid)]
        return [pid for pid in web if any(pid in descendants(other) for other in web)]

    def postmaster(self) -> int:
        return int((self.postgres / "pgdata" / "postmaster.pid").read_text().split()[0])

    def database_answers(self) -> bool:
        try:
            with psycopg.connect(self.database.url.replace("+psycopg", ""), connect_timeout=2):
                return True
        except psycopg.Error:
            return False


@pytest.fixture(scope="module")
def paygo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paygo]:
    folder = tmp_path_factory.mktemp("faults")
    with EmbeddedPostgres(folder / "data") as url:
        upgrade(url)
        database = Database(url)
        make.catalogue(database, now=clock.now())
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "billing.cli", "serve", "--port", str(port)],
            env={
                **os.environ,
                "DATABASE_URL": url,
                "PAYGO_SECRET_KEY": SECRET,
                "PAYGO_REQUESTS_PER_MINUTE": "0",
            },
            stderr=(folder / "log").open("wb"),
        )
        running = Paygo(
            f"http://127.0.0.1:{port}",
            make.key(database, now=clock.now()),
            database,
            folder / "data",
            process,
        )
        try:
            wait_for(running.answers, seconds=120)
            yield running
        finally:
            process.terminate()
            process.wait(60)
            database.dispose()


def kill_worker(paygo: Paygo, _host: "subprocess.Popen[str]") -> None:
    wait_for(lambda: bool(paygo.workers()), seconds=120)
    os.kill(paygo.workers()[0], signal.SIGKILL)
    wait_for(paygo.answers, seconds=120)


def kill_database(paygo: Paygo, _host: "subprocess.Popen[str]") -> None:
    before = paygo.postmaster()
    os.kill(before, signal.SIGKILL)
    wait_for(
        lambda: not alive(before) and paygo.postmaster() != before and paygo.database_answers(),
        seconds=120,
    )


def kill_client(_paygo: Paygo, host: "subprocess.Popen[str]") -> None:
    host.kill()
    host.wait()


@pytest.mark.parametrize(
    ("fault", "kill", "times"),
    [
        ("a worker of the web server", kill_worker, 3),
        ("the database", kill_database, 3),
        ("the service that records", kill_client, 4),
    ],
    ids=["worker", "database", "client"],
)
def test_whatever_is_killed_nothing_is_lost_and_nothing_counts_twice(
    paygo: Paygo,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    fault: str,
    kill: Callable[[Paygo, "subprocess.Popen[str]"], None],
    times: int,
) -> None:
    before = _stored(paygo.database)
    recorded: list[str] = []
    hosts = 1 if kill is not kill_client else times
    for _ in range(hosts):
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, paygo.url, paygo.key, str(tmp_path), str(EVENTS // hosts)],
            stdout=subprocess.PIPE,
            text=True,
        )
        reader = threading.Thread(target=_read_into, args=(recorded, host), daemon=True)
        start = len(recorded)
        reader.start()
        for number in range(times // hosts):
            wait_for(lambda at=start + 300 * (number + 1): len(recorded) >= at, seconds=120)
            kill(paygo, host)
        reader.join(240)
        assert host.wait(240) == (0 if hosts == 1 else -signal.SIGKILL)
    # What a killed service left in its spool, the next one delivers.
    with Meter(
        paygo.url,
        paygo.key,
        make.ARCHIVE,
        spool_dir=tmp_path,
        options=Options(adopt_seconds=0.1, backoff_seconds=0.1),
    ) as heir:
        wait_for(lambda: heir.flush(5), seconds=120)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            rows = _stored(paygo.database)
            if set(recorded) <= rows.keys():
                break
            time.sleep(0.5)
    lost = len(set(recorded) - rows.keys())
    # An event feeds two meters, each once.
    doubled = sum(1 for key, count in rows.items() if key not in before and count != 2)
    request.config.stash.setdefault(FAULTS, []).append((fault, times, len(recorded), lost, doubled))
    assert (lost, doubled) == (0, 0)
    jobs.roll_up(paygo.database, now=clock.now())
    with paygo.database.snapshot() as session:
        counted = session.scalar(select(func.sum(ReadingRow.event_count)))
    assert counted == sum(rows.values()), "readings count every event once"


def _read_into(recorded: list[str], host: "subprocess.Popen[str]") -> None:
    assert host.stdout is not None
    with host.stdout:
        for line in host.stdout:
            if line.endswith("\n"):
                recorded.append(line.strip())


def _stored(database: Database) -> dict[str, int]:
    query = select(usage_events.c.event_key, func.count()).group_by(usage_events.c.event_key)
    with database.snapshot() as session:
        return {str(key): count for key, count in session.execute(query)}
