"""While usage comes in, what waits its turn is told apart from what was lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from billing import jobs as billing_jobs
from billing.runs.model import Reconciled
from billing.runs.reconciling import reconcile_month
from metering import jobs
from metering.kit.db import Database
from metering.periods import Month
from tests.metering import make
from tests.metering.make import Service, event, withdrawal

METER = "studies-archived"
JULY = Month(2026, 7)
THEN = datetime(2026, 7, 20, 9, tzinfo=UTC)
AGES = timedelta(hours=1)
ADDED_UP = "usage that has come in is yet to be added up"
RATED = "what changed in the readings is yet to be rated"


@pytest.fixture
def service(database: Database) -> Service:
    make.catalogue(database)
    return make.service(database, now=THEN)


def july(database: Database, *, moving: bool = True, meter: str = METER) -> Reconciled:
    with database.snapshot() as session:
        rows = reconcile_month(session, month=JULY, ended=False, moving=moving)
    (row,) = (row for row in rows if row.meter == meter)
    return row


def roll_up_and_rate(database: Database, *, now: datetime) -> None:
    jobs.roll_up(database, now=now)
    billing_jobs.rate_month_to_date(database, now=now)


def test_usage_on_its_way_is_no_difference_and_settles(
    database: Database, service: Service
) -> None:
    service.post(event(1))
    assert (july(database).differences, july(database).underway) == ((), (ADDED_UP,))
    jobs.roll_up(database, now=THEN)
    assert (july(database).differences, july(database).underway) == ((), (RATED,))
    billing_jobs.rate_month_to_date(database, now=THEN)
    assert (july(database).differences, july(database).underway) == ((), ())
    service.post(event(2))
    jobs.roll_up(database, now=THEN + AGES)
    service.post(withdrawal(3, event(1)))
    assert (july(database).differences, july(database).underway) == ((), (ADDED_UP, RATED))
    counts = billing_jobs.reconcile(database, now=THEN + AGES)
    assert (counts["differences"], counts["underway"]) == (0, counts["compared"])
    roll_up_and_rate(database, now=THEN + 2 * AGES)
    assert (july(database).differences, july(database).underway) == ((), ())


def test_before_an_issue_whatever_waits_is_a_difference(
    database: Database, service: Service
) -> None:
    roll_up_and_rate(database, now=THEN)
    service.post(event(1))
    assert len(july(database, moving=False).differences) == 2
    jobs.roll_up(database, now=THEN + AGES)
    (said,) = july(database, moving=False).differences
    assert said.startswith("readings 2")
    assert july(database, moving=False).underway == ()


def test_an_event_that_was_lost_is_found_while_others_wait(
    database: Database, service: Service
) -> None:
    service.post(event(1))
    roll_up_and_rate(database, now=THEN)
    with database.transaction() as session:
        session.execute(text("UPDATE ingest_batches SET claimed_at = :now"), {"now": THEN})
        session.execute(text("UPDATE readings SET event_count = 0, quantity = 0"))
    service.post(event(2))
    found = july(database).differences
    assert "1 events are not the 0 in readings" in found
    assert found[0].startswith("events ")


def test_what_rating_left_out_is_found_once_it_has_had_its_turn(
    database: Database, service: Service
) -> None:
    service.post(event(1))
    roll_up_and_rate(database, now=THEN)
    with database.transaction() as session:
        session.execute(text("DELETE FROM parked_usage"))
        session.execute(text("UPDATE readings SET updated_at = :then"), {"then": THEN - AGES})
    (said,) = july(database).differences
    assert "are not rated 0" in said


def test_a_maximum_is_not_counted_anew_while_an_event_and_a_withdrawal_wait(
    database: Database, service: Service
) -> None:
    make.level_meter(database, "max")

    def level(number: int, value: str) -> dict[str, Any]:
        return event(number, type="max-level") | {"data": {"level": value}}

    service = make.service(database, now=THEN)
    gone = level(11, "9")
    service.post(gone)
    roll_up_and_rate(database, now=THEN)
    assert july(database, meter="max-level").events == 9
    # One more and one less: together no events, and another maximum.
    service.post(level(12, "5"), withdrawal(13, gone))
    waits = july(database, meter="max-level")
    assert (waits.waiting_event_count, waits.events) == (0, None)
    assert (waits.differences, waits.underway) == ((), (ADDED_UP,))
    roll_up_and_rate(database, now=THEN + AGES)
    assert july(database, meter="max-level").events == 5
    assert july(database, meter="max-level").differences == ()
