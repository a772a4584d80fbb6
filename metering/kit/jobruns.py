"""Jobs that the scheduler runs, and the record of every run in `job_runs`.

A job is "find due work, do it": what is due lives in our tables, so running a
job twice, late or after a crash is harmless. While a job runs it holds an
advisory lock on a connection of its own, so that two processes never run the
same job at once; a run found `running` whose lock is free belongs to a process
that died, and is marked `abandoned`.

A process may lose that connection and live. So each transaction of a job holds a
second lock, shared, and looks first whether the first connection still lives; and
whoever runs the job next waits until nobody holds the second lock. Nothing of the
former run is committed once the next has begun.
"""

import re
import time as time_module
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol

from sqlalchemy import Connection, and_, cast, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from metering.kit import traces
from metering.kit.clock import Clock
from metering.kit.db import Database, FenceDown
from metering.kit.errors import Conflict, Refusal
from metering.kit.ids import new_id
from metering.kit.logs import get_logger
from metering.kit.tables import JobRunRow

_log = get_logger(__name__)
_NAME = re.compile(r"[a-z]+(-[a-z]+)*")

# First key of the two-key advisory locks; the second is a hash of the job's name.
_LOCK = 7_201_948
_WORK_LOCK = 7_201_954
_LONGEST_ERROR = 2_000
_FORMER_RUN_SECONDS = 10.0


class Work(Protocol):
    """What a job does. It opens its own transactions and returns what it counted."""

    def __call__(self, database: Database, *, now: datetime) -> Mapping[str, int]: ...


class JobAlreadyRunning(Conflict):
    """Another process runs this job now; a second run at once would only wait for it."""

    code = "job-already-running"
    title = "The job is running already"


@dataclass(frozen=True)
class Job:
    """One entry of the jobs table.

    Attributes:
        name: stable kebab-case word.
        summary: one sentence for people.
        work: what it does.
        every: runs this often; or else
        at: runs at this London clock time, each day, or
        day: only on this day of the month.
        grace: how late a run may start before it is left to the next one; a run at a time of
            day is never left out, however late it starts.

    Raises:
        ValueError: the schedule is none, both, or falls where the clock jumps.
    """

    name: str
    summary: str
    work: Work
    every: timedelta | None = None
    at: time | None = None
    day: int | None = None
    grace: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is not a kebab-case word")
        if (self.every is None) == (self.at is None):
            raise ValueError(f"{self.name} runs either every so often or at a time of day")
        if self.at is not None and self.at.hour == 1:
            # From 01:00 to 02:00 an hour is missing in March and comes twice in October.
            raise ValueError(f"{self.name} cannot run from 01:00 to 02:00: the clock changes")
        if self.day is not None and (self.at is None or not 1 <= self.day <= 28):
            raise ValueError(f"{self.name} needs a time and a day from 1 to 28")

    @property
    def schedule(self) -> str:
        """The schedule in words, for example `day 2 of each month at 06:00 London`."""
        if self.at is None:
            assert self.every is not None
            seconds = int(self.every.total_seconds())
            for unit, length in (("hour", 3600), ("minute", 60), ("second", 1)):
                if seconds % length == 0:
                    count = seconds // length
                    return f"every {unit}" if count == 1 else f"every {count} {unit}s"
        assert self.at is not None, "a job without a time runs every so often"
        day = "each day" if self.day is None else f"day {self.day} of each month"
        return f"{day} at {self.at:%H:%M} London"


@dataclass(frozen=True)
class JobRun:
    """One recorded run.

    Attributes:
        outcome: `running`, `succeeded`, `failed` or `abandoned`.
        counts: what the job says it did, by name.
        error: one sentence, where it did not succeed.
        started_by: `scheduler@HOST:PID` or who ran it by hand.
    """

    id: str
    job: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    counts: Mapping[str, int]
    error: str | None
    started_by: str

    @property
    def seconds(self) -> float | None:
        """How long it took, None while it runs."""
        if self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


def run_job(database: Database, job: Job, *, clock: Clock, started_by: str) -> JobRun:
    """Run a job once and record how it went; a failing job is recorded, not raised.

    Raises:
        JobAlreadyRunning: another process runs it now; nothing is recorded.
    """
    with _only_runner(database, job.name) as fenced:
        if fenced is None:
            raise JobAlreadyRunning(f"The job {job.name} is running already; wait until it ends.")
        started_at = clock()
        run_id = new_id("jrn", now=started_at)
        with database.transaction() as session:
            _abandon(session, job=job.name, now=started_at)
            session.add(
                JobRunRow(
                    id=run_id,
                    job=job.name,
                    started_at=started_at,
                    outcome="running",
                    counts={},
                    started_by=started_by,
                )
            )
        outcome, counts = "abandoned", dict[str, int]()
        error: str | None = "It was stopped before it ended."
        try:
            with traces.span(f"job {job.name}") as traced:
                if traced is not None:
                    traced.set_attribute("paygo.job.run", run_id)
                counts = dict(job.work(fenced, now=started_at))
            outcome, error = "succeeded", None
        except Refusal as refusal:
            outcome, error = "failed", refusal.detail
            _log.warning("job refused", job=job.name, detail=refusal.detail)
        except Exception as fault:
            # A job's edge: one failing job must not take the scheduler with it.
            outcome, error = "failed", f"{type(fault).__name__}: {fault}"[:_LONGEST_ERROR]
            _log.exception("job failed", job=job.name)
        finally:
            finished = _finish(
                database, run_id, now=clock(), outcome=outcome, counts=counts, error=error
            )
        if outcome == "succeeded" and any(counts.values()):
            _log.info("job ran", job=job.name, **counts)
        return finished


def _finish(
    database: Database,
    run_id: str,
    *,
    now: datetime,
    outcome: str,
    counts: Mapping[str, int],
    error: str | None,
) -> JobRun:
    def write(session: Session) -> JobRun:
        row = session.get_one(JobRunRow, run_id)
        row.finished_at, row.outcome, row.counts, row.error = now, outcome, dict(counts), error
        session.flush()
        return _job_run(row)

    return database.retrying(write)


def mark_abandoned(database: Database, *, now: datetime) -> int:
    """Mark every `running` run whose process has died; return how many there were."""
    with database.snapshot() as session:
        jobs = session.scalars(
            select(JobRunRow.job).where(JobRunRow.outcome == "running").distinct()
        ).all()
    marked = 0
    for job in jobs:
        with _only_runner(database, job) as fenced:
            if fenced is not None:
                with database.transaction() as session:
                    marked += _abandon(session, job=job, now=now)
    return marked


def _abandon(session: Session, *, job: str, now: datetime) -> int:
    return len(
        session.execute(
            update(JobRunRow)
            .where(JobRunRow.job == job, JobRunRow.outcome == "running")
            .values(
                outcome="abandoned",
                finished_at=now,
                error="The process that ran it ended before the job did.",
            )
            .returning(JobRunRow.id)
        ).all()
    )


@contextmanager
def _only_runner(database: Database, job: str) -> Iterator[Database | None]:
    """Yield the database to do the job on, None where another process runs it."""
    with database.engine.connect() as connection:
        # Session locks outlive transactions, so the connection need not idle in one.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if not _lock(connection, "pg_try_advisory_lock", _LOCK, job):
            yield None
            return
        try:
            fence = _Fence.of(connection, job) if _former_run_ended(connection, job) else None
            yield None if fence is None else database.fenced(fence)
        finally:
            # Where it fails the connection is lost, and the lock with it.
            with suppress(DBAPIError):
                _lock(connection, "pg_advisory_unlock", _LOCK, job)


def _former_run_ended(connection: Connection, job: str) -> bool:
    """Wait until no transaction of a former run goes on; return whether that came soon."""
    deadline = time_module.monotonic() + _FORMER_RUN_SECONDS
    while not _lock(connection, "pg_try_advisory_lock", _WORK_LOCK, job):
        if time_module.monotonic() > deadline:
            return False
        time_module.sleep(0.1)
    _lock(connection, "pg_advisory_unlock", _WORK_LOCK, job)
    return True


@dataclass(frozen=True)
class _Fence:
    """Lets a job's transaction go on while the connection with its lock lives.

    Attributes:
        backend, since: the server's process for that connection, and when it began.
    """

    job: str
    backend: int
    since: datetime

    @classmethod
    def of(cls, connection: Connection, job: str) -> "_Fence":
        backend, since = connection.execute(
            text("SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())")
        ).one()
        return cls(job, backend, since)

    def __call__(self, session: Session) -> None:
        # In this order: whoever sees that the connection lives is waited for.
        _lock(session.connection(), "pg_advisory_xact_lock_shared", _WORK_LOCK, self.job)
        lives = session.scalar(
            text("SELECT backend_start FROM pg_stat_get_activity(:backend)"),
            {"backend": self.backend},
        )
        if lives != self.since:
            raise FenceDown(
                f"The connection that held the right to run {self.job} was lost; "
                "what is left is the next run's."
            )


def _lock(connection: Connection, function: str, lock: int, job: str) -> bool:
    return bool(
        connection.scalar(
            text(f"SELECT {function}(:lock, hashtext(:job))"),
            {"lock": lock, "job": job},
        )
    )


# One look into the index for each job there is, however many runs are kept of it; a DISTINCT
# would read them all.
_LAST_RUNS = text(
    """
    WITH RECURSIVE names (job) AS (
        SELECT min(job) FROM job_runs
        UNION ALL SELECT (SELECT min(job) FROM job_runs WHERE job > names.job) FROM names
        WHERE names.job IS NOT NULL
    )
    SELECT run.* FROM names CROSS JOIN LATERAL (
        SELECT * FROM job_runs
        WHERE job_runs.job = names.job AND (NOT :succeeded OR outcome = 'succeeded')
        ORDER BY started_at DESC, id DESC LIMIT 1
    ) AS run
    """
).columns(*JobRunRow.__table__.columns)


def _last_runs(session: Session, *, succeeded: bool) -> Iterator[JobRunRow]:
    statement = select(JobRunRow).from_statement(_LAST_RUNS)
    yield from session.scalars(statement, {"succeeded": succeeded})


def last_runs(session: Session) -> dict[str, JobRun]:
    """Return the latest run of each job that ever ran, by job."""
    return {row.job: _job_run(row) for row in _last_runs(session, succeeded=False)}


def last_successes(session: Session) -> dict[str, datetime]:
    """Return when each job last began a run that succeeded, by job."""
    return {row.job: row.started_at for row in _last_runs(session, succeeded=True)}


def recent_runs(session: Session, *, job: str | None = None, limit: int = 50) -> Sequence[JobRun]:
    """Return the latest runs, newest first, of one job or of all."""
    statement = select(JobRunRow).order_by(JobRunRow.started_at.desc()).limit(limit)
    if job is not None:
        statement = statement.where(JobRunRow.job == job)
    return [_job_run(row) for row in session.scalars(statement)]


def forget(session: Session, *, before: datetime, idle_before: datetime) -> int:
    """Delete runs begun before `before`, and successes that counted nothing before `idle_before`.

    The latest success of each job stays: a new leader asks when that was.

    Returns:
        How many were deleted.
    """
    idle = ~func.jsonb_path_exists(JobRunRow.counts, cast("$.* ? (@ != 0)", JSONPATH))
    latest = (
        select(func.max(JobRunRow.id))
        .where(JobRunRow.outcome == "succeeded")
        .group_by(JobRunRow.job)
        .scalar_subquery()
    )
    return len(
        session.execute(
            delete(JobRunRow)
            .where(
                or_(
                    JobRunRow.started_at < before,
                    and_(
                        JobRunRow.started_at < idle_before,
                        JobRunRow.outcome == "succeeded",
                        idle,
                    ),
                ),
                JobRunRow.outcome != "running",
                JobRunRow.id.not_in(latest),
            )
            .returning(JobRunRow.id)
            .execution_options(synchronize_session=False)
        ).all()
    )


def _job_run(row: JobRunRow) -> JobRun:
    return JobRun(
        id=row.id,
        job=row.job,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
        counts=row.counts,
        error=row.error,
        started_by=row.started_by,
    )


def check_names(jobs: Sequence[Job]) -> Mapping[str, Job]:
    """Return the jobs by name.

    Raises:
        ValueError: two have the same name.
    """
    by_name = {job.name: job for job in jobs}
    if len(by_name) != len(jobs):
        raise ValueError("two jobs have the same name")
    return by_name
