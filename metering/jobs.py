"""What the scheduler may ask of metering: each job finds due work and does it."""

import os
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from functools import partial

from sqlalchemy.orm import Session

from metering.events import partitions
from metering.kit import idempotency, jobruns
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.jobruns import Job
from metering.periods import Month
from metering.readings import operations as readings
from metering.readings.operations import RollUp

KEEP_IDLE_RUNS = timedelta(days=2)
ROUNDS_MAX = 200
"""Transactions of one run; what is left is the next run's."""


def roll_up(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Add everything that was ingested to the readings, a bounded transaction at a time."""
    batches = events = changed = anew = 0
    for _ in range(ROUNDS_MAX):
        database.retrying(partial(partitions.summarise, now=now))
        done: RollUp = database.retrying(partial(readings.roll_up, now=now))
        if not done.batches:
            break
        batches += done.batches
        events += done.events
        changed += done.readings
        anew += done.anew
    return {"batches": batches, "events": events, "readings": changed, "anew": anew}


def carry_levels(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Carry levels (`latest`, `time-weighted`) on to today, one subject and meter at a time."""
    with database.snapshot() as session:
        pairs = readings.level_pairs(session)
    changed = 0
    for subject_id, meter_id, aggregation, since in pairs:
        changed += database.retrying(
            partial(
                readings.carry_level,
                subject_id=subject_id,
                meter_id=meter_id,
                aggregation=aggregation,
                since=since,
                now=now,
            )
        )
    return {"levels": len(pairs), "readings": changed}


def make_partitions(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Make the month partitions of this month and the next three."""
    return {"made": partitions.ensure_ahead(database, now=now)}


def rebuild(database: Database, *, first: Month, last: Month, now: datetime) -> Mapping[str, int]:
    """Work out the readings of some months anew from raw events, one transaction a month.

    Returns:
        `months`, and how many `readings` differed (0 proves that they were right).
    """
    months = differed = 0
    month = first
    while month <= last:
        work = partial(_rebuild_month, month=month, now=now)
        differed += database.retrying(work)
        months, month = months + 1, month.next
    return {"months": months, "readings": differed}


def _rebuild_month(session: Session, *, month: Month, now: datetime) -> int:
    return readings.rebuild(session, month=month, now=now)


def prune_job_runs(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Forget old runs, and sooner those that found nothing to do."""
    keep = timedelta(days=Settings.from_environment(os.environ).keep_job_runs_days)
    with database.transaction() as session:
        return {
            "forgotten": jobruns.forget(
                session, before=now - keep, idle_before=now - KEEP_IDLE_RUNS
            )
        }


def forget_answers(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Forget answers that were kept for an `Idempotency-Key`."""
    keep = timedelta(days=Settings.from_environment(os.environ).keep_answers_days)
    with database.transaction() as session:
        return {"forgotten": idempotency.forget(session, before=now - keep)}


JOBS: tuple[Job, ...] = (
    Job(
        name="roll-up",
        summary="Adds newly received usage to the daily readings.",
        work=roll_up,
        every=timedelta(seconds=5),
        grace=timedelta(minutes=1),
    ),
    Job(
        name="carry-levels",
        summary="Carries measured levels on to the new day.",
        work=carry_levels,
        at=time(0, 10),
    ),
    Job(
        name="make-partitions",
        summary="Makes the month partitions of usage events ahead of time.",
        work=make_partitions,
        at=time(2, 10),
    ),
    Job(
        name="forget-answers",
        summary="Forgets answers kept for idempotency keys.",
        work=forget_answers,
        at=time(3, 20),
    ),
    Job("prune-job-runs", "Forgets old runs of jobs.", prune_job_runs, at=time(3, 10)),
)
