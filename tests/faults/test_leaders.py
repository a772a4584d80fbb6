"""Two schedulers: a leader is killed, cut off, or has its clock set; never do two work at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from metering.kit.db import Database
from tests.faults.proxy import before
from tests.faults.tally import Tally
from tests.processes import wait_for

pytestmark = pytest.mark.faults

TAKEOVER_MAX = 8.0
"""Seconds from the end of a leader until another works; a busy machine needs a few."""

PROGRAM = """
import os, signal, sys, threading, time
from datetime import datetime, timedelta
from pathlib import Path

import apscheduler.executors.base as executors
import apscheduler.schedulers.base as base
import apscheduler.triggers.interval as interval
from sqlalchemy import text

from billing.scheduler import Scheduler
from metering.kit.clock import now
from metering.kit.db import Database
from metering.kit.ids import new_id
from metering.kit.jobruns import Job

set_by = Path(sys.argv[2])

class Clock(datetime):
    '''The machine's clock as somebody set it: so many seconds away, as a file says.'''

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(seconds=float(set_by.read_text()))

base.datetime = interval.datetime = executors.datetime = Clock

def clock():
    return now() + timedelta(seconds=float(set_by.read_text()))

def work(database, *, now):
    run = new_id("run", now=now)
    for _ in range(6):
        with database.transaction() as session:
            session.execute(
                text("INSERT INTO steps (process, run) VALUES (:process, :run)"),
                {"process": os.getpid(), "run": run},
            )
        time.sleep(0.03)
    return {}

stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
job = Job("work", "Works.", work, every=timedelta(seconds=0.5))
print("ready", file=sys.stderr, flush=True)
Scheduler(Database(sys.argv[1]), [job], clock=clock).run(stopping)
"""


@pytest.fixture
def clock_file(tmp_path: Path) -> Path:
    """How many seconds the schedulers' clock is away from the right time."""
    path = tmp_path / "clock"
    path.write_text("0")
    return path


@pytest.fixture
def steps(database: Database) -> Database:
    """A database whose table has each step of each run, in order."""
    with database.transaction() as session:
        session.execute(
            text("CREATE TABLE steps (id bigserial PRIMARY KEY, process int, run text)")
        )
    return database


@contextmanager
def scheduler(url: str, clock_file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(clock_file)], stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        # Loading takes a busy machine longer than taking over does.
        assert process.stderr.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def taken(database: Database) -> list[tuple[int, str]]:
    with database.snapshot() as session:
        return [
            tuple(row)
            for row in session.execute(text("SELECT process, run FROM steps ORDER BY id"))
        ]


def works(database: Database, process: "subprocess.Popen[bytes]") -> int:
    return sum(1 for pid, _ in taken(database) if pid == process.pid)


def interleaved(database: Database) -> int:
    """Return how many runs were gone on with after another had begun."""
    runs = [run for run, _ in groupby(run for _, run in taken(database))]
    return len(runs) - len(set(runs))


def test_another_leads_within_seconds_when_the_leader_is_killed(
    steps: Database, clock_file: Path, tally: Tally
) -> None:
    rng = random.Random(f"{tally.seed} leader")
    with scheduler(steps.url, clock_file) as first, scheduler(steps.url, clock_file) as second:
        wait_for(lambda: works(steps, first) + works(steps, second) > 6)
        leader, other = (first, second) if works(steps, first) else (second, first)
        assert not works(steps, other)
        time.sleep(rng.random())
        os.kill(leader.pid, signal.SIGKILL)
        start = time.monotonic()
        wait_for(lambda: works(steps, other) > 0)
        seconds = time.monotonic() - start
    row = tally.add(
        "kill -9 of the leading scheduler",
        1,
        doubled=interleaved(steps),
        note=f"another works after {seconds:.1f} s",
    )
    assert row.harmless
    assert seconds < TAKEOVER_MAX


def test_a_leader_that_is_cut_off_does_nothing_once_another_leads(
    steps: Database, clock_file: Path, tally: Tally
) -> None:
    with (
        before(steps.url.replace("+psycopg", "")) as (proxy, through),
        scheduler(through, clock_file) as remote,
    ):
        wait_for(lambda: works(steps, remote) > 6)
        with scheduler(steps.url, clock_file) as near:
            # Its connections break, and new ones get no answer.
            proxy.stall()
            proxy.cut()
            start = time.monotonic()
            wait_for(lambda: works(steps, near) > 0)
            seconds = time.monotonic() - start
            proxy.flow()
            # The network is back: whoever led stands by.
            quiet = works(steps, remote)
            seen = works(steps, near)
            wait_for(lambda: works(steps, near) > seen + 12)
            assert works(steps, remote) == quiet
        wait_for(lambda: works(steps, remote) > quiet)
    row = tally.add(
        "the leading scheduler is cut off from the database",
        1,
        doubled=interleaved(steps),
        note=f"another works after {seconds:.1f} s",
    )
    assert row.harmless
    assert seconds < TAKEOVER_MAX


def test_jobs_go_on_whichever_way_the_clock_is_set(
    steps: Database, clock_file: Path, tally: Tally
) -> None:
    offsets = [7_200, 0, -7_200, 0]
    waits = []
    with scheduler(steps.url, clock_file) as only:
        wait_for(lambda: works(steps, only) > 6)
        for before_, after in pairwise([0, *offsets]):
            clock_file.write_text(str(after))
            assert before_ != after
            seen = works(steps, only)
            start = time.monotonic()
            wait_for(lambda seen=seen: works(steps, only) > seen + 12, seconds=30)
            waits.append(time.monotonic() - start)
    row = tally.add(
        "the scheduler's clock is set by two hours",
        len(offsets),
        doubled=interleaved(steps),
        note=f"jobs go on within {max(waits):.1f} s",
    )
    assert row.harmless
