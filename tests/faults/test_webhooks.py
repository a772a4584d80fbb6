"""Whatever point a webhook's sender is killed at, its receiver hears of it, under one id."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from billing.notifications import dispatch
from billing.notifications.jobs import deliver
from metering.kit.db import Database
from tests import make
from tests.billing.notifications import makers
from tests.billing.notifications.makers import NOW, outlets
from tests.billing.notifications.receivers import Hook, web_server
from tests.faults.dying import Ended, Fault, attempt
from tests.faults.tally import Tally

pytestmark = pytest.mark.faults

EACH = 3
"""Every third of the points at which the sender speaks to the database."""
LATER = dispatch.LEASE + timedelta(seconds=1)


@dataclass(frozen=True)
class Deliver:
    """The job that sends what waits, so that another process can do it."""

    now: datetime

    def __call__(self, database: Database) -> object:
        return deliver(database, now=self.now, outlets=outlets())


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook receiver on this machine."""
    with web_server() as running:
        yield running


def test_a_webhook_keeps_its_id_wherever_its_sender_is_killed(
    database: Database, database_url: str, hook: Hook, tally: Tally
) -> None:
    with database.transaction() as session:
        account_id = make.account(session).id
        makers.endpoint(session, account_id=account_id, url=hook.url)
    tried = lost = doubled = again = 0
    now, ended = NOW, Ended.KILLED
    while ended is Ended.KILLED:
        with database.transaction() as session:
            makers.paid(session, account_id=account_id, invoice_id=f"inv_{tried}", now=now)
        heard = len(hook.taken)
        ended, _ = attempt(Deliver(now), database_url, fault=Fault.PROCESS, at=1 + tried * EACH)
        now += LATER
        deliver(database, now=now, outlets=outlets())
        ids = [taken.headers["webhook-id"] for taken in hook.taken[heard:]]
        lost += not ids
        doubled += len(set(ids) - {ids[0]}) if ids else 0
        again += len(ids) > 1
        tried += ended is Ended.KILLED
    row = tally.add(
        "kill -9 of the sender of webhooks",
        tried,
        lost=lost,
        doubled=doubled,
        note=f"heard twice under one id: {again} times",
    )
    assert row.harmless
    assert ended is Ended.WHOLE
    assert tried > 5
    assert again, "some kill came between the answer and its being noted"
