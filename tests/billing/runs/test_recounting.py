"""Meters whose events do not add up are counted anew: what readings say must be what events do."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from billing.runs.checks import run_checks
from billing.runs.model import Outcome, Reconciled
from billing.runs.reconciling import reconcile_month
from metering import jobs
from metering.kit.db import Database
from metering.periods import Month
from tests.metering import make
from tests.metering.make import event, withdrawal

JUNE, JULY = Month(2026, 6), Month(2026, 7)
THEN = datetime(2026, 8, 4, 9, tzinfo=UTC)
KINDS = ("max", "min", "latest", "unique", "time-weighted")


def level(kind: str, number: int, day: str, value: str, **changed: Any) -> dict[str, Any]:
    return event(
        1000 * KINDS.index(kind) + number,
        type=f"{kind}-level",
        time=f"2026-{day}T12:00:00+01:00",
        **changed,
    ) | {"data": {"level": value}}


@pytest.fixture
def metered(database: Database) -> Database:
    """Every such meter with events of June and July of two trusts, one withdrawn."""
    make.catalogue(database)
    for kind in KINDS:
        make.level_meter(database, kind)
    service = make.service(database, now=THEN)
    for kind in KINDS:
        gone = level(kind, 4, "07-12", "900")
        service.post(
            level(kind, 1, "06-20", "40"),
            level(kind, 2, "07-02", "7"),
            level(kind, 3, "07-11", "13.5"),
            gone,
            level(kind, 5, "07-11", "11"),
            level(kind, 6, "06-25", "3", subject="RA7"),
        )
        service.post(withdrawal(1000 * KINDS.index(kind) + 7, gone))
    jobs.roll_up(database, now=THEN)
    jobs.carry_levels(database, now=THEN)
    return database


def compared(database: Database, month: Month, *, ended: bool = True) -> dict[str, Reconciled]:
    with database.snapshot() as session:
        rows = reconcile_month(session, month=month, ended=ended)
    return {f"{row.organisation} {row.meter}": row for row in rows}


def test_events_and_readings_agree_for_every_kind_of_meter(metered: Database) -> None:
    july = compared(metered, JULY)
    assert {name: row.events for name, row in july.items()} == {
        "RRK max-level": Decimal("13.5"),
        "RRK min-level": Decimal(7),
        "RRK latest-level": Decimal("13.5"),
        "RRK unique-level": Decimal(3),
        # 40 for a day and a half, 7 for nine days, then the greater of two at one instant.
        "RRK time-weighted-level": Decimal("12.895161290"),
        # Carried on from June.
        "RA7 latest-level": Decimal(3),
        "RA7 time-weighted-level": Decimal(3),
    }
    june = compared(metered, JUNE)
    for row in (*july.values(), *june.values()):
        assert row.events == row.readings, f"{row.organisation} {row.meter}"
        assert row.event_count == row.reading_event_count, f"{row.organisation} {row.meter}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_reading_stops_the_run(metered: Database, kind: str) -> None:
    with metered.transaction() as session:
        session.execute(
            text(
                "UPDATE readings SET quantity = quantity + 0.000000001 WHERE quantity > 0"
                " AND used_on = (SELECT min(used_on) FROM readings WHERE used_on >= '2026-07-01'"
                "   AND quantity > 0 AND meter_id = (SELECT id FROM meters WHERE code = :code))"
                " AND meter_id = (SELECT id FROM meters WHERE code = :code)"
            ),
            {"code": f"{kind}-level"},
        )
    wrong = [row for row in compared(metered, JULY).values() if row.events != row.readings]
    assert {row.meter for row in wrong} == {f"{kind}-level"}
    with metered.snapshot() as session:
        checks = {check.name: check for check in run_checks(session, month=JULY)}
    assert checks["conservation"].outcome is Outcome.FAIL


def test_a_level_is_not_judged_before_its_month_is_over(metered: Database) -> None:
    rows = compared(metered, JULY, ended=False)
    assert rows["RRK latest-level"].events is None
    assert rows["RRK time-weighted-level"].events is None
    assert rows["RRK max-level"].events == Decimal("13.5")
    assert not any("events" in what for row in rows.values() for what in row.differences)
