"""Old months leave the database only when their file holds every row."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from billing.runs.reconciling import reconcile_month
from billing.runs.recounting import recount
from metering import jobs
from metering.events import archive
from metering.events.archive import (
    ArchiveFileWrong,
    MonthNotArchivable,
    archive_month,
    every_archive,
)
from metering.events.partitions import MonthArchived, existing
from metering.kit import migrate
from metering.kit.db import Database
from metering.periods import Month
from metering.readings.queries import usage
from metering.readings.stored import events_of
from tests.metering import make
from tests.metering.make import NOW, catalogue, event, level_meter, service, withdrawal

pytest.importorskip("pyarrow")

JULY = Month(2026, 7)
IN_AUGUST = datetime(2026, 8, 12, 9, tzinfo=UTC)
LATER = datetime(2027, 9, 15, 9, tzinfo=UTC)


@pytest.fixture
def july(database: Database) -> Database:
    """A database with July 2026: usage, a withdrawal, a text id, an exact fraction."""
    catalogue(database)
    ours = service(database)
    ours.post(
        event(1),
        event(2, subject="RA7", data={"studies": "0.000000001", "modality": "MR"}),
        event(3, id="a text id", time="2026-06-30T23:00:00Z"),
        event(4),
        withdrawal(5, of=event(4)),
    )
    jobs.roll_up(database, now=NOW)
    return database


def put_away(database: Database, folder: Path, **changed: Any) -> archive.Archive:
    facts: dict[str, Any] = {
        "month": JULY,
        "folder": folder,
        "correction_months": 13,
        "principal": "test",
        "now": LATER,
    }
    return archive_month(database, **{**facts, **changed})


def everything(database: Database, **facts: Any) -> list[Any]:
    with database.snapshot() as session:
        return events_of(
            session,
            **{"first_on": JULY.first_day, "end_on": JULY.end_day, "limit": 100, **facts},
        )


def test_events_read_the_same_from_the_file(july: Database, tmp_path: Path) -> None:
    before = everything(july)
    daily = [usage_rows(july)]
    done = put_away(july, tmp_path)
    with july.snapshot() as session:
        assert JULY not in existing(session)
        assert session.scalar(text("SELECT count(*) FROM usage_events")) == 0
        # Whatever is sent again is still known.
        assert session.scalar(text("SELECT count(*) FROM event_keys")) == 5
        noted = every_archive(session)[0]
        assert (
            (noted.event_rows, noted.sha256)
            == (done.rows, done.sha256)
            == (len(before), done.sha256)
        )
    assert everything(july) == before
    assert [usage_rows(july)] == daily


def usage_rows(database: Database, **changed: Any) -> list[Any]:
    facts: dict[str, Any] = {
        "first_on": JULY.first_day,
        "end_on": JULY.end_day,
        "granularity": "day",
        "meter_ids": None,
        "subject_ids": None,
        "dimensions": {},
        "limit": 100,
    }
    with database.snapshot() as session:
        return list(usage(session, **{**facts, **changed}))


def test_pages_and_choices_of_an_archive_are_those_of_the_database(
    july: Database, tmp_path: Path
) -> None:
    with july.snapshot() as session:
        leeds = session.scalar(text("SELECT id FROM organisations WHERE ods_code = 'RA7'"))
    whole, chosen = everything(july), everything(july, subject_ids=[leeds])
    put_away(july, tmp_path)
    assert everything(july, subject_ids=[leeds]) == chosen
    paged: list[Any] = []
    while part := everything(july, limit=2, after=paged[-1].cursor if paged else None):
        paged += part
    assert paged == whole


def test_archiving_twice_looks_at_the_file_again(july: Database, tmp_path: Path) -> None:
    done = put_away(july, tmp_path)
    assert put_away(july, tmp_path) == done
    done.path.write_bytes(done.path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArchiveFileWrong, match="is not as it was written"):
        put_away(july, tmp_path)
    done.path.unlink()
    with pytest.raises(ArchiveFileWrong, match="is not there"):
        everything(july)


def test_a_row_that_differs_leaves_the_month_where_it_is(
    july: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = archive._read

    def wrong(path: Path) -> Any:
        for row in read(path):
            yield row._replace(quantity=row.quantity + Decimal("0.000000001"))

    before = everything(july)
    monkeypatch.setattr(archive, "_read", wrong)
    with pytest.raises(ArchiveFileWrong, match="nothing was dropped"):
        put_away(july, tmp_path)
    with july.snapshot() as session:
        assert JULY in existing(session)
        assert every_archive(session) == []
    assert everything(july) == before


def test_what_needs_the_raw_events_refuses_and_names_the_file(
    july: Database, tmp_path: Path
) -> None:
    done = put_away(july, tmp_path)
    with pytest.raises(MonthArchived, match=done.path.name):
        jobs.rebuild(july, first=JULY, last=JULY, now=LATER)
    with july.snapshot() as session, pytest.raises(MonthArchived, match=done.path.name):
        reconcile_month(session, month=JULY)
    with pytest.raises(MonthArchived, match=done.path.name):
        usage_rows(july, granularity="hour", end_on=JULY.first_day.replace(day=4))


def test_a_month_that_may_still_change_stays(july: Database, tmp_path: Path) -> None:
    with pytest.raises(MonthNotArchivable, match="corrected for 13 months"):
        put_away(july, tmp_path, now=datetime(2027, 8, 31, 9, tzinfo=UTC))
    assert list(tmp_path.iterdir()) == []


def test_a_month_without_a_partition_has_nothing(july: Database, tmp_path: Path) -> None:
    with pytest.raises(MonthNotArchivable, match="has no events"):
        put_away(july, tmp_path, month=Month(2020, 1))


def test_events_that_wait_for_the_roll_up_are_waited_for(july: Database, tmp_path: Path) -> None:
    service(july).post(event(9))
    with pytest.raises(MonthNotArchivable, match="not in the readings yet"):
        put_away(july, tmp_path)


AUGUST = Month(2026, 8)


@pytest.fixture
def levels(july: Database) -> Database:
    """July with levels that last: one changed in August, one withdrawn, one never touched."""
    for aggregation in ("latest", "time-weighted"):
        level_meter(july, aggregation)
    ours = make.service(july)

    def level(number: int, size: str, *, at: str, subject: str = "RRK", kind: str) -> Any:
        told = event(number, type=f"{kind}-level", subject=subject, time=at)
        return told | {"data": {"level": size}}

    wrong = level(43, "9", at="2026-07-05T13:00:00Z", kind="latest")
    ours.post(
        level(40, "2", at="2026-07-01T12:00:00Z", kind="time-weighted"),
        level(41, "4", at="2026-07-03T12:00:00Z", kind="time-weighted"),
        level(42, "7", at="2026-07-04T12:00:00Z", kind="latest"),
        wrong,
        level(44, "5", at="2026-07-02T12:00:00Z", kind="time-weighted", subject="RA7"),
        withdrawal(45, of=wrong),
    )
    jobs.roll_up(july, now=NOW)
    jobs.carry_levels(july, now=IN_AUGUST)
    make.service(july).post(
        level(46, "6", at="2026-08-10T12:00:00Z", kind="time-weighted"), now=IN_AUGUST
    )
    jobs.roll_up(july, now=IN_AUGUST)
    jobs.carry_levels(july, now=LATER)
    return july


def readings(database: Database) -> list[Any]:
    with database.snapshot() as session:
        return list(
            session.execute(
                text(
                    "SELECT subject_id, meter_id, used_on, dimension_set_id, hour, quantity,"
                    " event_count FROM readings ORDER BY 1, 2, 3, 4, 5"
                )
            )
        )


def test_later_months_go_on_from_the_levels_of_an_archived_one(
    levels: Database, tmp_path: Path
) -> None:
    before, drill = readings(levels), everything(levels)
    put_away(levels, tmp_path)
    with levels.snapshot() as session:
        kept = session.execute(
            text(
                "SELECT o.ods_code, m.code, l.quantity FROM archived_levels l"
                " JOIN organisations o ON o.id = l.subject_id JOIN meters m ON m.id = l.meter_id"
                " ORDER BY 1, 2"
            )
        ).all()
    assert [tuple(row) for row in kept] == [
        ("RA7", "time-weighted-level", Decimal(5)),
        ("RRK", "latest-level", Decimal(7)),
        ("RRK", "time-weighted-level", Decimal(4)),
    ]
    assert jobs.rebuild(levels, first=AUGUST, last=Month(2027, 9), now=LATER)["readings"] == 0
    assert jobs.carry_levels(levels, now=LATER)["readings"] == 0
    assert readings(levels) == before
    # The events behind July's lines are read from the file.
    assert everything(levels) == drill
    with levels.snapshot() as session:
        counted = recount(session, month=AUGUST, ended=True)
        read = session.execute(
            text(
                "SELECT o.ods_code, m.code, sum(r.quantity) FROM readings r"
                " JOIN organisations o ON o.id = r.subject_id JOIN meters m ON m.id = r.meter_id"
                " WHERE r.used_on >= '2026-08-01' AND r.used_on < '2026-09-01' GROUP BY 1, 2"
            )
        ).all()
    # What counts each meter a second time knows the levels that went on too.
    assert len(counted) == 3
    assert counted == {(code, meter): quantity for code, meter, quantity in read}


def test_a_level_is_made_again_from_what_an_archived_month_left(
    levels: Database, tmp_path: Path
) -> None:
    before = readings(levels)
    for month in (JULY, AUGUST):
        put_away(levels, tmp_path, month=month, now=datetime(2027, 10, 15, 9, tzinfo=UTC))
    with levels.transaction() as session:
        session.execute(text("DELETE FROM readings WHERE used_on >= '2026-09-01'"))
    first, last = AUGUST.next, Month(2027, 9)
    assert jobs.rebuild(levels, first=first, last=last, now=LATER)["readings"] > 700
    assert readings(levels) == before


def test_carrying_a_level_on_leaves_an_archived_month_as_it_is(
    levels: Database, database_url: str, tmp_path: Path
) -> None:
    put_away(levels, tmp_path)
    with pytest.raises(RuntimeError, match="Months with measured levels are archived"):
        migrate.downgrade(database_url, revision="0026")
    migrate.upgrade(database_url)
    with levels.transaction() as session:
        session.execute(text("DELETE FROM readings WHERE used_on >= '2026-08-01'"))
    kept = readings(levels)
    jobs.carry_levels(levels, now=LATER)
    assert readings(levels)[: len(kept)] != []
    assert [row for row in readings(levels) if row.used_on < AUGUST.first_day] == kept
    assert jobs.rebuild(levels, first=AUGUST, last=Month(2027, 9), now=LATER)["readings"] == 0
