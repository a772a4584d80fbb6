"""What the scheduler may ask of billing: each job finds due work and does it."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from billing.access import operations as access
from metering.kit.db import Database
from metering.kit.jobruns import Job

KEEP_SIGN_INS = timedelta(days=90)


def forget_sign_ins(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Forget tries to sign in, and sessions, that are older than the privacy page says."""
    with database.transaction() as session:
        return access.forget_old(session, before=now - KEEP_SIGN_INS)


JOBS: tuple[Job, ...] = (
    Job(
        "forget-sign-ins",
        "Forgets tries to sign in and sessions after 90 days.",
        forget_sign_ins,
        at=time(3, 20),
    ),
)
