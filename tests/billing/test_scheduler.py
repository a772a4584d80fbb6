"""The scheduler: one leader, takeover in seconds, catch-up after downtime."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from typing import Any

import pytest
from sqlalchemy import text

from billing import scheduler as schedulers
from billing.jobs import ALL_JOBS
from billing.scheduler import Scheduler, first_run, late_at_most, pause_after
from metering.kit import jobruns
from metering.kit.clock import now
from metering.kit.db import Database
from metering.kit.jobruns import Job, JobAlreadyRunning
from metering.periods import LONDON, london_midnight
from tests.processes import wait_for

PROGRAM = """
import signal, sys, threading, time
from datetime import timedelta
from billing.jobs import ALL_JOBS
from billing.scheduler import Scheduler
from metering.kit.clock import now
from metering.kit.db import Database
from metering.kit.jobruns import Job, JobAlreadyRunning

def tick(database, *, now):
    return {"ticks": 1}

def linger(database, *, now):
    time.sleep(60)
    return {}

stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
jobs = [Job("tick", "Ticks.", tick, every=timedelta(seconds=0.5))]
if "linger" in sys.argv:
    jobs.append(Job("linger", "Takes long.", linger, every=timedelta(hours=1)))
print("ready", file=sys.stderr, flush=True)
Scheduler(Database(sys.argv[1]), jobs, clock=now).run(stopping)
"""


def tick(database: Database, *, now: datetime) -> Mapping[str, int]:
    return {"ticks": 1}


@contextmanager
def scheduler_process(url: str, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, *words], cwd=os.getcwd(), stderr=subprocess.PIPE
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


def runners(database: Database) -> list[str]:
    with database.snapshot() as session:
        return [made.started_by for made in jobruns.recent_runs(session, job="tick")]


def runs_by(database: Database, process: "subprocess.Popen[bytes]") -> int:
    return sum(1 for name in runners(database) if name.endswith(f":{process.pid}"))


def test_only_one_of_two_leads_and_the_other_takes_over_when_it_is_killed(
    database: Database,
) -> None:
    with scheduler_process(database.url) as leader:
        wait_for(lambda: runs_by(database, leader) > 1)
        with scheduler_process(database.url) as follower:
            seen = runs_by(database, leader)
            wait_for(lambda: runs_by(database, leader) > seen + 3)
            assert runs_by(database, follower) == 0
            os.kill(leader.pid, signal.SIGKILL)
            wait_for(lambda: runs_by(database, follower) > 1, seconds=8)


def test_the_run_of_a_killed_leader_is_marked_abandoned(database: Database) -> None:
    def outcome() -> str | None:
        with database.snapshot() as session:
            last = jobruns.last_runs(session).get("linger")
        return None if last is None else last.outcome

    with scheduler_process(database.url, "linger") as leader:
        wait_for(lambda: outcome() == "running")
        os.kill(leader.pid, signal.SIGKILL)
        leader.wait()
        with scheduler_process(database.url) as successor:
            wait_for(lambda: outcome() == "abandoned")
            wait_for(lambda: runs_by(database, successor) > 0)


def test_a_leader_that_loses_its_connection_stops_and_stands_again(database: Database) -> None:
    with scheduler_process(database.url) as leader:
        wait_for(lambda: runs_by(database, leader) > 1)
        with database.transaction() as session:
            ended = session.scalars(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'paygo scheduler'"
                )
            ).all()
        assert ended == [True]
        seen = runs_by(database, leader)
        wait_for(lambda: runs_by(database, leader) > seen + 3)
        assert leader.poll() is None


def test_stopping_ends_a_scheduler_within_moments(database: Database) -> None:
    with scheduler_process(database.url) as leader:
        wait_for(lambda: runs_by(database, leader) > 0)
        leader.terminate()
        assert leader.wait(timeout=10) == 0


@contextmanager
def leading(database: Database, *jobs: Job) -> Iterator[None]:
    stopping = threading.Event()
    thread = threading.Thread(
        target=Scheduler(database, jobs, clock=now).run, args=(stopping,), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(10)


def test_a_failing_job_does_not_stop_the_others(database: Database) -> None:
    def fail(database: Database, *, now: datetime) -> Mapping[str, int]:
        raise RuntimeError("broken")

    with leading(
        database,
        Job("fail", "Fails.", fail, every=timedelta(seconds=0.3)),
        Job("tick", "Ticks.", tick, every=timedelta(seconds=0.3)),
    ):
        wait_for(lambda: len(runners(database)) > 2)
    with database.snapshot() as session:
        last = jobruns.last_runs(session)
    assert last["fail"].error == "RuntimeError: broken"
    assert last["tick"].outcome == "succeeded"


def daily(work: jobruns.Work) -> Job:
    """A job whose own time does not come during a test."""
    hour = (now().astimezone(LONDON).hour + 12) % 24
    return Job("daily", "Each day.", work, at=clock_time(2 if hour == 1 else hour))


def outcomes_of_daily(database: Database) -> list[str]:
    with database.snapshot() as session:
        return [made.outcome for made in jobruns.recent_runs(session, job="daily")]


def test_a_daily_job_that_fails_is_tried_again_until_it_succeeds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedulers, "_AGAIN_FIRST", timedelta(seconds=0.02))
    tries = []

    def third_time(database: Database, *, now: datetime) -> Mapping[str, int]:
        tries.append(now)
        if len(tries) < 3:
            raise RuntimeError("not yet")
        return {"done": 1}

    with leading(database, daily(third_time)):
        wait_for(lambda: outcomes_of_daily(database)[:1] == ["succeeded"])
    assert outcomes_of_daily(database) == ["succeeded", "failed", "failed"]


def test_a_daily_job_that_runs_elsewhere_and_fails_there_is_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedulers, "_AGAIN_FIRST", timedelta(seconds=0.02))
    inside, refused = threading.Event(), threading.Event()
    run = jobruns.run_job

    def elsewhere(database: Database, *, now: datetime) -> Mapping[str, int]:
        inside.set()
        assert refused.wait(30)
        raise RuntimeError("broken")

    def noting(*args: Any, **named: Any) -> jobruns.JobRun:
        try:
            return run(*args, **named)
        except JobAlreadyRunning:
            refused.set()
            raise

    by_hand = threading.Thread(
        target=run, args=(database, daily(elsewhere)), kwargs={"clock": now, "started_by": "cli"}
    )
    by_hand.start()
    assert inside.wait(30)
    monkeypatch.setattr(jobruns, "run_job", noting)
    with leading(database, daily(tick)):
        wait_for(lambda: outcomes_of_daily(database)[:1] == ["succeeded"])
    by_hand.join(30)
    assert outcomes_of_daily(database) == ["succeeded", "failed"]


@pytest.mark.parametrize(
    ("job", "pauses"),
    [
        ({"at": clock_time(5, 30)}, [300, 600, 1200, 2400, 3600, 3600]),
        ({"at": clock_time(5, 30), "day": 2}, [300, 600, 1200, 2400, 3600, 3600]),
        ({"every": timedelta(seconds=5)}, [10, 20, 40, 60, 60, 60]),
        ({"every": timedelta(minutes=5)}, [300, 300, 300, 300, 300, 300]),
    ],
)
def test_what_fails_again_waits_longer(job: dict[str, Any], pauses: list[int]) -> None:
    one = Job("one", "Fails.", tick, **job)
    found = [pause_after(one, failures=number).total_seconds() for number in range(1, 7)]
    assert found == pauses
    assert pause_after(one, failures=100_000).total_seconds() == pauses[-1]


def test_a_daily_run_is_never_left_out_for_being_late() -> None:
    for job in ALL_JOBS:
        assert (late_at_most(job) is None) == (job.at is not None), job.name


DAILY = Job("daily", "Each day.", tick, at=clock_time(5, 30))
MONTHLY = Job("monthly", "Each month.", tick, at=clock_time(6, 0), day=2)
OFTEN = Job("often", "Often.", tick, every=timedelta(seconds=5))


@pytest.mark.parametrize(
    ("job", "last_success", "at", "expected"),
    [
        # Never ran, or runs often: at once.
        (DAILY, None, "2026-11-24T12:00Z", "2026-11-24T12:00Z"),
        (OFTEN, "2026-11-24T11:59Z", "2026-11-24T12:00Z", "2026-11-24T12:00Z"),
        # Ran today: tomorrow at half past five.
        (DAILY, "2026-11-24T05:30Z", "2026-11-24T12:00Z", "2026-11-25T05:30Z"),
        # Nobody led at half past five: at once.
        (DAILY, "2026-11-23T05:30Z", "2026-11-24T12:00Z", "2026-11-24T12:00Z"),
        # Half past five in summer is 04:30 UTC.
        (DAILY, "2026-07-01T04:30Z", "2026-07-01T05:00Z", "2026-07-02T04:30Z"),
        # The day of the clock change in October.
        (DAILY, "2026-10-24T04:30Z", "2026-10-25T00:00Z", "2026-10-25T05:30Z"),
        # A clock that was a day ahead, and put right: neither at once nor a day late.
        (DAILY, "2026-11-25T05:30Z", "2026-11-24T04:00Z", "2026-11-24T05:30Z"),
        (MONTHLY, "2026-10-02T05:00Z", "2026-11-02T05:59Z", "2026-11-02T06:00Z"),
        (MONTHLY, "2026-10-02T05:00Z", "2026-11-09T10:00Z", "2026-11-09T10:00Z"),
    ],
)
def test_a_new_leader_runs_what_is_owed(
    job: Job, last_success: str | None, at: str, expected: str
) -> None:
    first = first_run(
        job,
        last_success=None if last_success is None else datetime.fromisoformat(last_success),
        now=datetime.fromisoformat(at),
    )
    assert first == datetime.fromisoformat(expected)
    assert first.tzinfo == UTC or first.utcoffset() == timedelta(0)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)], ids=["spring", "autumn"])
def test_each_daily_job_runs_once_on_a_day_that_has_not_24_hours(day: date) -> None:
    days = [day - timedelta(days=1), day, day + timedelta(days=1)]
    for job in ALL_JOBS:
        if job.at is None or job.day is not None:
            continue
        fired = []
        last = london_midnight(days[0]) - timedelta(seconds=1)
        while last < london_midnight(days[-1] + timedelta(days=1)):
            last = first_run(job, last_success=last, now=last)
            fired.append(last.astimezone(LONDON))
        assert [one.date() for one in fired[:-1]] == days, job.name
        assert {one.time() for one in fired} == {job.at}, job.name
