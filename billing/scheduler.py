"""The scheduler: one leader among any number of processes, elected by PostgreSQL.

The leader is whoever holds an advisory lock on a connection of its own. When
that connection is lost the leader stops starting jobs and stands for election
again; another takes over within `ELECTION_SECONDS`. A job's own lock (see
`metering.kit.jobruns`) keeps a run that is still going from being doubled.

Schedules live in memory and truth about what is due in our tables, so at the
start of each lead a job whose time passed while nobody led runs at once.
APScheduler runs in the background: the main thread watches the leader's
connection, which a scheduler that blocks it could not.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from metering.kit import jobruns
from metering.kit.clock import Clock
from metering.kit.db import Database
from metering.kit.jobruns import Job, JobAlreadyRunning
from metering.kit.logs import get_logger
from metering.periods import LONDON

_log = get_logger(__name__)

ELECTION_SECONDS = 2.0
"""How often a process without the lead asks for it."""

_WATCH_SECONDS = 1.0
_JUMP_SECONDS = 5.0
_AGAIN_FIRST = timedelta(minutes=5)
_AGAIN_MAX = timedelta(hours=1)
_OFTEN_MAX = timedelta(minutes=1)
_DOUBLINGS_MAX = 10
_THREADS = 4
_LOCK = 7_201_949
_STILL_LEADS = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.classid = 0"
    " AND l.objid = :lock AND l.objsubid = 1 AND l.pid = :backend AND l.granted)"
)


class Scheduler:
    """Runs jobs while it leads, and stands for election while it does not.

    Args:
        database: where jobs work and where their runs are recorded.
        jobs: the jobs table.
        clock: the present instant.
    """

    def __init__(self, database: Database, jobs: Sequence[Job], *, clock: Clock) -> None:
        jobruns.check_names(jobs)
        self._database = database
        self._jobs = jobs
        self._clock = clock
        # Of the jobs that fail, how often in a row in this lead.
        self._failures: dict[str, int] = {}
        self.name = f"scheduler@{socket.gethostname()}:{os.getpid()}"

    def run(self, stopping: threading.Event) -> None:
        """Lead or wait for the lead until `stopping` is set; then let running jobs end."""
        # "Maximum number of running instances reached" is how a long job looks; it is no news.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        while not stopping.is_set():
            try:
                with self._candidacy() as connection:
                    if _leads(connection):
                        self._lead(connection, stopping)
                        continue
            except DBAPIError as error:
                _log.warning("scheduler cannot reach the database", reason=str(error.orig))
            stopping.wait(ELECTION_SECONDS)

    @contextmanager
    def _candidacy(self) -> Iterator[Connection]:
        engine = create_engine(
            self._database.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "application_name": "paygo scheduler",
                "connect_timeout": 5,
                # A peer that vanished without a word is noticed in seconds, by both sides.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
                "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2"
                " -c tcp_keepalives_count=3",
            },
        )
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def _lead(self, connection: Connection, stopping: threading.Event) -> None:
        abandoned = jobruns.mark_abandoned(self._database, now=self._clock())
        _log.info("scheduler leads", name=self.name, jobs=len(self._jobs), abandoned=abandoned)
        backend = int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)
        running = self._started(backend)
        offset = self._offset()
        lost = True
        try:
            while not stopping.wait(_WATCH_SECONDS):
                connection.execute(text("SELECT 1"))
                jumped = self._offset() - offset
                if abs(jumped) > _JUMP_SECONDS:
                    # Put back, it would leave every job waiting for a time that has passed.
                    _log.warning("the clock jumped; planning anew", seconds=round(jumped))
                    running.shutdown(wait=False)
                    running, offset = self._started(backend), offset + jumped
            lost = False
        finally:
            if lost:
                _log.warning("scheduler lost the lead", name=self.name)
            # Not waiting when the lead is lost: a job that is still going holds its own lock.
            running.shutdown(wait=not lost)

    def _offset(self) -> float:
        """Return what changes only when somebody sets the clock, in seconds."""
        return self._clock().timestamp() - time.monotonic()

    def _started(self, backend: int) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            timezone=UTC, executors={"default": ThreadPoolExecutor(_THREADS)}
        )
        now = self._clock()
        self._failures.clear()
        with self._database.snapshot() as session:
            successes = jobruns.last_successes(session)
        for job in self._jobs:
            trigger = _trigger(job)
            scheduler.add_job(
                self._run,
                trigger,
                args=(job, scheduler, backend),
                id=job.name,
                name=job.name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=late_at_most(job),
                next_run_time=first_run(job, last_success=successes.get(job.name), now=now),
            )
        scheduler.start()
        return scheduler

    def _run(self, job: Job, scheduler: BackgroundScheduler, backend: int) -> None:
        try:
            # Where the network was cut, the watch may learn of it later than a job falls due.
            with self._database.snapshot() as session:
                if not session.scalar(_STILL_LEADS, {"lock": _LOCK, "backend": backend}):
                    _log.warning("job not begun: the lead is lost", job=job.name)
                    return
            made = jobruns.run_job(self._database, job, clock=self._clock, started_by=self.name)
            done = made.outcome == "succeeded"
        except JobAlreadyRunning:
            _log.debug("job runs elsewhere", job=job.name)
            # Whoever runs it may fail; a job of each day is looked at again, not tomorrow.
            done = job.at is None
        except DBAPIError as error:
            # Nothing could be recorded; the watch on the leader's connection decides the rest.
            _log.warning("job could not be recorded", job=job.name, reason=str(error.orig))
            done = False
        if done:
            self._failures.pop(job.name, None)
        else:
            self._plan_again(job, scheduler)

    def _plan_again(self, job: Job, scheduler: BackgroundScheduler) -> None:
        failures = self._failures[job.name] = self._failures.get(job.name, 0) + 1
        again = self._clock() + pause_after(job, failures=failures)
        planned = scheduler.get_job(job.name) if scheduler.running else None
        if planned is None:
            return
        if job.at is not None:
            again = min(again, planned.next_run_time)
        scheduler.modify_job(job.name, next_run_time=again)


def pause_after(job: Job, *, failures: int) -> timedelta:
    """Return how long a job waits that failed so many times in a row.

    A job of each day or month waits 5 minutes, then twice as long each time, an hour at
    most. One that runs often waits twice its interval, then twice as long each time, a
    minute at most; a longer interval stays as it is.
    """
    times = 1 << min(failures, _DOUBLINGS_MAX)
    if job.every is None:
        return min(_AGAIN_FIRST * (times // 2), _AGAIN_MAX)
    return max(job.every, min(job.every * times, _OFTEN_MAX))


def late_at_most(job: Job) -> int | None:
    """Return after how many seconds a run is left to the next one; None where it never is.

    A run that waits for others to end is late; the next one of a daily job is tomorrow.
    """
    return None if job.every is None else int(job.grace.total_seconds())


def first_run(job: Job, *, last_success: datetime | None, now: datetime) -> datetime:
    """Return when a new leader first runs a job: at once where a run is owed.

    Args:
        last_success: when the last run that succeeded began, None if none did.
    """
    if job.at is None or last_success is None:
        return now
    # The trigger includes its second argument, so begin just after the last run; a success
    # that is still to come was recorded by a clock that was wrong.
    owed: datetime = _trigger(job).get_next_fire_time(
        None, min(last_success, now) + timedelta(microseconds=1)
    )
    return max(owed.astimezone(UTC), now)


def _trigger(job: Job) -> Any:
    if job.every is not None:
        return IntervalTrigger(seconds=job.every.total_seconds(), timezone=UTC)
    assert job.at is not None
    return CronTrigger(
        day="*" if job.day is None else job.day,
        hour=job.at.hour,
        minute=job.at.minute,
        timezone=LONDON,
    )


def _leads(connection: Connection) -> bool:
    return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}))
