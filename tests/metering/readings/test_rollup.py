"""Readings equal events: by claiming, in any order, and rebuilt from scratch."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from metering import jobs
from metering.events import partitions
from metering.events.decoding import BATCH_TYPE, decode
from metering.events.judging import judge
from metering.events.lots import Lot
from metering.events.rules import Window
from metering.events.store import Care, store, store_by_copy
from metering.events.tables import IngestBatchRow
from metering.kit import citus
from metering.kit.auth import read_key
from metering.kit.db import Database
from metering.kit.roles import SCHEDULER
from metering.periods import Month
from metering.readings.operations import rebuild, roll_up
from metering.readings.tables import ReadingRow
from tests.metering import make
from tests.metering.make import NOW, event, withdrawal

JULY = Month(2026, 7)


@pytest.fixture
def service(database: Database) -> make.Service:
    make.catalogue(database)
    return make.service(database)


def readings(database: Database, meter: int = 1) -> dict[Any, tuple[Decimal, int]]:
    with database.snapshot() as session:
        rows = session.scalars(select(ReadingRow).where(ReadingRow.meter_id == meter))
        return {
            (row.subject_id, row.used_on, row.dimension_set_id, row.hour): (
                row.quantity,
                row.event_count,
            )
            for row in rows
        }


def days(database: Database, meter: int) -> dict[date, Decimal]:
    return {key[1]: value[0] for key, value in readings(database, meter).items()}


def check_rebuild_changes_nothing(database: Database, *, now: datetime = NOW) -> None:
    with database.transaction() as session:
        for month in (JULY.previous, JULY, JULY.next):
            assert rebuild(session, month=month, now=now) == 0


def test_a_roll_up_adds_each_batch_once(service: make.Service, database: Database) -> None:
    service.post(event(1), event(2, data={"studies": "0.5"}))
    service.post(event(3, data={"modality": "MR"}), event(3))
    counts = jobs.roll_up(database, now=NOW)
    assert counts["events"] == 3
    assert sorted(readings(database).values()) == [(Decimal(2), 1), (Decimal("2.5"), 2)]
    assert jobs.roll_up(database, now=NOW)["batches"] == 0
    service.post(event(4))
    jobs.roll_up(database, now=NOW)
    assert sorted(readings(database).values()) == [(Decimal(2), 1), (Decimal("4.5"), 3)]
    check_rebuild_changes_nothing(database)


def test_a_roll_up_reads_the_new_batches_and_not_the_month(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    service.post(event(2))
    scans = text(
        """
        SELECT pg_stat_get_xact_numscans('usage_events_2026_07'::regclass) AS whole,
            pg_stat_get_xact_numscans(
                'usage_events_2026_07_subject_id_meter_id_occurred_at_idx'::regclass
            ) AS by_subject,
            pg_stat_get_xact_numscans('usage_events_2026_07_batch_id_idx'::regclass) AS by_batch
        """
    )
    with database.transaction() as session:
        before = session.execute(scans).one()
        assert roll_up(session, now=NOW).events == 2
        after = session.execute(scans).one()
        # Left alone, the planner reads a month of which it knows nothing from end to end.
        assert (after.whole, after.by_subject) == (before.whole, before.by_subject)
        # For both batches at once: each search goes through the summaries of the whole month.
        assert after.by_batch == before.by_batch + 1
        for setting, value in SETTINGS.items():
            assert session.scalar(text(f"SHOW {setting}")) == value


SETTINGS = {"enable_seqscan": "on", "enable_indexscan": "on", "plan_cache_mode": "auto"}


@pytest.fixture
def many(service: make.Service, database: Database) -> Database:
    """A July of some hundred pages, on which no vacuum has been."""
    service.post(event(1))
    with database.transaction() as session:
        session.execute(text("ALTER TABLE usage_events_2026_07 SET (autovacuum_enabled = off)"))
        session.execute(
            text(
                """
                INSERT INTO usage_events (period_month, subject_id, source_id, meter_id,
                    dimension_set_id, kind, event_key, occurred_at, received_at, quantity, batch_id)
                SELECT period_month, subject_id, source_id, meter_id, dimension_set_id, kind,
                    event_key, occurred_at, received_at, quantity, batch_id
                FROM usage_events, generate_series(1, 10000) WHERE meter_id = 1
                """
            )
        )
    return database


def test_what_is_new_is_summarised_once_and_what_is_being_filled_is_left(many: Database) -> None:
    with many.under(SCHEDULER).transaction() as session:
        pages = session.scalar(text("SELECT pg_relation_size('usage_events_2026_07') / 8192"))
        made = partitions.summarise(session, now=NOW)
        assert pages is not None
        assert 2 <= made < pages // 32
        assert partitions.summarise(session, now=NOW) == 0


def test_ingest_asks_for_summaries_on_a_cluster_alone(many: Database) -> None:
    told = text(
        "SELECT reloptions FROM pg_class WHERE relname = 'usage_events_2026_07_batch_id_idx'"
    )
    with many.transaction() as session:
        partitions.summarise(session, now=NOW)
        assert "autosummarize=off" in session.scalars(told).one()
        partitions.summarise_on_request(session)
        assert "autosummarize=on" in session.scalars(told).one()


def test_nobody_waits_for_summaries_while_a_vacuum_is_at_it(many: Database) -> None:
    with many.transaction() as vacuum, many.transaction() as session:
        vacuum.execute(text("LOCK TABLE usage_events_2026_07 IN SHARE UPDATE EXCLUSIVE MODE"))
        assert partitions.summarise(session, now=NOW) == 0
        assert roll_up(session, now=NOW).events == 1


def test_a_cluster_adds_no_batch_before_its_events_are_seen(
    service: make.Service, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(citus, "is_cluster", lambda _: True)
    # A batch whose events the workers have yet to commit.
    early = UUID(int=1)
    with database.transaction() as session:
        session.add(
            IngestBatchRow(
                id=early,
                source_id=1,
                received_at=NOW,
                received=1,
                accepted=1,
                duplicate=0,
                conflict=0,
                rejected=0,
            )
        )
    service.post(event(1), event(2), event(2), event(3, subject="RA7"), {"id": "refused"})
    service.post(withdrawal(4, event(1)))
    assert jobs.roll_up(database, now=NOW)["events"] == 4
    waiting = select(IngestBatchRow.id).where(IngestBatchRow.claimed_at.is_(None))
    with database.snapshot() as session:
        assert session.scalars(waiting).all() == [early]
    check_rebuild_changes_nothing(database)
    monkeypatch.setattr(citus, "is_cluster", lambda _: False)
    assert jobs.roll_up(database, now=NOW)["batches"] == 1


def test_a_reading_is_a_london_day_and_an_hourly_one_a_london_hour(
    service: make.Service, database: Database
) -> None:
    service.post(
        event(1, time="2026-07-03T22:59:59Z"),
        event(2, time="2026-07-03T23:00:00Z"),
    )
    jobs.roll_up(database, now=NOW)
    assert {key[1] for key in readings(database)} == {date(2026, 7, 3), date(2026, 7, 4)}
    assert {(key[1].day, key[3]) for key in readings(database, 2)} == {(3, 23), (4, 0)}


def test_an_event_as_late_as_may_be_counts_on_the_day_it_happened(
    service: make.Service, database: Database
) -> None:
    # Thirteen whole months before July 2026, by the London clock.
    first, before = "2025-06-01T00:00:00+01:00", "2025-05-31T23:59:59.999999+01:00"
    receipt = service.post(event(1, time=first), event(2, time=before))
    assert [(fate.index, fate.code) for fate in receipt.fates] == [(1, "time-too-old")]
    jobs.roll_up(database, now=NOW)
    assert days(database, 1) == {date(2025, 6, 1): Decimal(2)}


def test_a_withdrawn_event_leaves_nought_and_a_rebuild_agrees(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    jobs.roll_up(database, now=NOW)
    service.post(withdrawal(2, event(1)))
    jobs.roll_up(database, now=NOW)
    assert list(readings(database).values()) == [(Decimal(0), 0)]
    check_rebuild_changes_nothing(database)


def _store_all(connection: psycopg.Connection[Any], lot: Lot, *, now: datetime, care: Care) -> None:
    store(connection, [lot], now=now, care=care)


@pytest.mark.parametrize("store_lot", [_store_all, store_by_copy], ids=["small", "large"])
def test_a_committer_that_is_delayed_while_the_roll_up_runs_is_not_skipped(
    service: make.Service, database: Database, store_lot: Callable[..., None]
) -> None:
    with database.transaction() as session:
        partitions.make(session, month=JULY)
    slow = Session(database.engine)
    catalogue = service.ingest.catalogue
    decoded = decode(json.dumps([event(1)]).encode(), media_type=BATCH_TYPE, headers={})
    lot = judge(
        decoded,
        catalogue=catalogue.current(),
        principal=catalogue.authenticate(read_key(service.key), now=NOW),
        window=Window.at(NOW, correction_months=13),
        dimension_sets=catalogue.dimension_set,
    )
    connection = slow.connection().connection.driver_connection
    # An older transaction and an older batch, not yet committed.
    store_lot(connection, lot, now=NOW - timedelta(seconds=1), care=Care.ALL_NEW)
    service.post(event(2))
    assert jobs.roll_up(database, now=NOW)["events"] == 1
    newest = select(IngestBatchRow.id).order_by(IngestBatchRow.id.desc()).limit(1)
    with database.snapshot() as session:
        watermark = session.scalar(newest)
    slow.commit()
    slow.close()
    with database.snapshot() as session:
        assert session.scalar(newest) == watermark, "whoever reads on from there never sees it"
    assert jobs.roll_up(database, now=NOW)["events"] == 1
    assert list(readings(database).values()) == [(Decimal(4), 2)]


def test_two_roll_ups_at_once_share_the_batches(service: make.Service, database: Database) -> None:
    service.post(event(1))
    service.post(event(2))
    with Session(database.engine) as first, Session(database.engine) as second:
        assert roll_up(first, now=NOW).batches == 2
        assert roll_up(second, now=NOW).batches == 0, "they are locked, not waited for"
        first.rollback()
        second.rollback()
    assert jobs.roll_up(database, now=NOW)["batches"] == 2
    assert list(readings(database).values()) == [(Decimal(4), 2)]


def test_a_rebuild_mends_wrong_readings_and_leaves_unclaimed_batches(
    service: make.Service, database: Database
) -> None:
    service.post(event(1))
    jobs.roll_up(database, now=NOW)
    service.post(event(2))  # not claimed yet
    with database.transaction() as session:
        session.execute(update(ReadingRow).values(quantity=ReadingRow.quantity + Decimal(1)))
        session.execute(text("UPDATE readings SET used_on = used_on + 1 WHERE meter_id = 2"))
    assert jobs.rebuild(database, first=JULY, last=JULY, now=NOW)["readings"] == 3
    assert list(readings(database).values()) == [(Decimal(2), 1)]
    jobs.roll_up(database, now=NOW)
    assert list(readings(database).values()) == [(Decimal(4), 2)]
    assert list(readings(database, 2)) == [(1, date(2026, 7, 3), 1, 10)]


def test_a_batch_with_nothing_accepted_needs_no_roll_up(
    service: make.Service, database: Database
) -> None:
    service.post(event(1, subject="ZZZ"))
    with database.snapshot() as session:
        unclaimed = select(func.count()).where(IngestBatchRow.claimed_at.is_(None))
        assert session.scalar(unclaimed) == 0


def level(number: int, day: str, value: str, kind: str = "latest") -> dict[str, Any]:
    return event(number, type=f"{kind}-level", time=f"2026-{day}T12:00:00+01:00") | {
        "data": {"level": value}
    }


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("max", {"07-02": 0, "07-03": 9, "07-05": 0}),
        ("min", {"07-02": 4, "07-03": 0, "07-05": 0}),
        ("latest", {"07-02": 0, "07-03": 0, "07-05": 7}),
        ("unique", {"07-02": 1, "07-03": 2, "07-05": 0}),
    ],
)
def test_days_of_what_cannot_be_added_add_up_to_the_month(
    service: make.Service, database: Database, kind: str, expected: dict[str, int]
) -> None:
    make.level_meter(database, kind)
    service.post(level(1, "07-02", "4", kind), level(2, "07-05", "7", kind))
    jobs.roll_up(database, now=NOW)
    service.post(level(3, "07-03", "9", kind), level(4, "07-03", "7", kind))
    jobs.roll_up(database, now=NOW)
    found = {f"{day:%m-%d}": int(total) for day, total in days(database, 3).items()}
    assert found == expected
    check_rebuild_changes_nothing(database)


def test_withdrawing_the_deciding_event_decides_anew(
    service: make.Service, database: Database
) -> None:
    make.level_meter(database, "max")
    service.post(level(1, "07-02", "4", "max"), level(2, "07-03", "9", "max"))
    jobs.roll_up(database, now=NOW)
    service.post(withdrawal(3, level(2, "07-03", "9", "max")))
    jobs.roll_up(database, now=NOW)
    assert days(database, 3) == {date(2026, 7, 2): Decimal(4), date(2026, 7, 3): Decimal(0)}
    check_rebuild_changes_nothing(database)


def test_a_level_is_carried_into_months_without_an_event(
    service: make.Service, database: Database
) -> None:
    make.level_meter(database, "latest")
    service.post(level(1, "05-20", "100"))
    jobs.roll_up(database, now=NOW)
    assert days(database, 3) == {
        date(2026, 5, 20): Decimal(100),
        date(2026, 6, 1): Decimal(100),
        date(2026, 7, 1): Decimal(100),
    }
    august = datetime(2026, 8, 2, tzinfo=UTC)
    assert jobs.carry_levels(database, now=august) == {"levels": 1, "readings": 1}
    assert days(database, 3)[date(2026, 8, 1)] == Decimal(100)
    late = make.service(database, now=august)
    late.post(level(2, "06-10", "0"))
    jobs.roll_up(database, now=august)
    assert days(database, 3) == {
        date(2026, 5, 20): Decimal(100),
        date(2026, 6, 10): Decimal(0),
    }
    check_rebuild_changes_nothing(database, now=august)


def test_a_constant_level_adds_up_to_itself_and_to_the_real_hours(
    service: make.Service, database: Database
) -> None:
    make.level_meter(database, "time-weighted")
    then = datetime(2026, 4, 2, tzinfo=UTC)
    before = make.service(database, now=then)
    before.post(level(1, "02-10", "1000", "time-weighted"))
    jobs.roll_up(database, now=then)
    march = {day: share for day, share in days(database, 3).items() if day.month == 3}
    assert len(march) == 31
    assert sum(march.values()) == Decimal(1000)
    assert march[date(2026, 3, 29)] < march[date(2026, 3, 28)], "23 hours, not 24"
    with database.transaction() as session:
        assert rebuild(session, month=Month(2026, 3), now=then) == 0
