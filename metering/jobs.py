"""What the scheduler may ask of metering: each job finds due work and does it."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from metering.kit import jobruns
from metering.kit.db import Database
from metering.kit.jobruns import Job

KEEP_RUNS = timedelta(days=90)
KEEP_IDLE_RUNS = timedelta(days=2)


def prune_job_runs(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Forget old runs, and sooner those that found nothing to do."""
    with database.transaction() as session:
        return {
            "forgotten": jobruns.forget(
                session, before=now - KEEP_RUNS, idle_before=now - KEEP_IDLE_RUNS
            )
        }


JOBS: tuple[Job, ...] = (
    Job("prune-job-runs", "Forgets old runs of jobs.", prune_job_runs, at=time(3, 10)),
)
