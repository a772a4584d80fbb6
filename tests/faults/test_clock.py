"""The server's clock is wrong for hours, and put right: usage and people come to no harm."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from billing.access.model import Grant, Role
from metering import jobs
from metering.events.replay import replay
from metering.events.tables import usage_events
from metering.kit.db import Database
from metering.kit.ids import new_id, uuid7
from metering.readings.tables import ReadingRow
from tests import web
from tests.faults.tally import Tally
from tests.metering import make

pytestmark = pytest.mark.faults

HOURS = timedelta(hours=5)


def test_usage_that_a_wrong_clock_refuses_is_kept_and_counts_once_in_the_end(
    database: Database, tally: Tally
) -> None:
    make.catalogue(database)
    service = make.service(database)
    right = make.NOW
    numbers = iter(range(1, 1_000))
    sent = 0
    for clock in (right, right + HOURS, right, right - HOURS, right):
        # The services' own clocks are right throughout; what is refused they do not send again.
        time = (right - timedelta(minutes=1)).isoformat()
        service.post(*(make.event(next(numbers), time=time) for _ in range(10)), now=clock)
        sent += 10
        jobs.roll_up(database, now=clock)
    done = replay(database, service.ingest, code="time-in-future", principal="ops", now=right)
    jobs.roll_up(database, now=right)
    with database.snapshot() as session:
        stored = session.scalar(select(func.count(usage_events.c.event_key.distinct())))
        rows = session.scalar(select(func.count()).select_from(usage_events))
        counted = session.scalar(select(func.sum(ReadingRow.event_count)))
    assert stored is not None
    assert rows is not None
    row = tally.add(
        "the web server's clock is set by five hours",
        4,
        lost=sent - stored,
        # Each event feeds two meters.
        doubled=rows - 2 * stored,
        note=f"{done.accepted} events refused, replayed and counted",
    )
    assert row.harmless
    assert done.accepted == 10
    assert counted == rows


def test_people_go_on_working_whichever_way_the_clock_is_set(
    database: Database, tmp_path: Path, clock: web.Clock, tally: Tally
) -> None:
    app = web.make_app(database, tmp_path, clock)
    grants = (Grant(Role.ANALYST),)
    early = web.signed_in(app, grants, email="early@example.nhs.uk")
    statuses = []
    for hours in (1, -1, -2, 2):
        clock.move(hours=hours)
        late = web.signed_in(app, grants, email=f"at{hours}@example.nhs.uk")
        statuses += [client.get("/console/").status_code for client in (early, late)]
    tally.add("people's sessions while the clock is set", 4)
    # Nobody meets a fault, and whoever signs in stays signed in.
    assert set(statuses) <= {200, 303}
    assert statuses[1::2] == [200] * 4


def test_ids_stay_unlike_each_other_when_the_clock_is_set() -> None:
    clocks = [make.NOW, make.NOW + HOURS, make.NOW, make.NOW - HOURS, make.NOW]
    made = [new_id("inv", now=now) for now in clocks for _ in range(1_000)]
    made += [str(uuid7(now=now)) for now in clocks for _ in range(1_000)]
    assert len(set(made)) == len(made)
