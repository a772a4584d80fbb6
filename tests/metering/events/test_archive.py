"""Old months leave the database only when their file holds every row."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from billing.runs.reconciling import reconcile_month
from metering import jobs
from metering.events import archive
from metering.events.archive import (
    ArchiveFileWrong,
    MonthNotArchivable,
    archive_month,
    every_archive,
)
from metering.events.partitions import MonthArchived, existing
from metering.kit.db import Database
from metering.periods import Month
from metering.readings.queries import usage
from metering.readings.stored import events_of
from tests.metering import make
from tests.metering.make import NOW, catalogue, event, level_meter, service, withdrawal

pytest.importorskip("pyarrow")

JULY = Month(2026, 7)
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


def test_a_level_that_goes_on_keeps_its_month(july: Database, tmp_path: Path) -> None:
    level_meter(july, "latest")
    make.service(july).post(
        event(9, type="latest-level", data={"level": "4"}) | {"data": {"level": "4"}}
    )
    jobs.roll_up(july, now=NOW)
    with pytest.raises(MonthNotArchivable, match="the level of latest-level goes on"):
        put_away(july, tmp_path)
