"""The SDK against the real API, over a real connection."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select

from metering import jobs
from metering.app import create_app
from metering.client import Meter
from metering.client.model import ManifestRefused, Options, Refused
from metering.events.tables import usage_events
from metering.kit import clock
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.periods import Month
from tests.metering import make
from tests.processes import listening


@pytest.fixture
def url(database: Database) -> Iterator[str]:
    make.catalogue(database, now=clock.now())
    app = create_app(Settings.from_environment({"PAYGO_DATA_DIR": "/nowhere"}), database)
    with listening(app) as address:
        yield address


@pytest.fixture
def refused() -> list[Refused]:
    return []


@pytest.fixture
def meter(url: str, database: Database, tmp_path: Path, refused: list[Refused]) -> Iterator[Meter]:
    made = Meter(
        url,
        make.key(database, now=clock.now()),
        make.ARCHIVE,
        spool_dir=tmp_path / "spool",
        quantity_field="studies",
        on_rejected=refused.append,
        options=Options(batch_seconds=0.01),
    )
    yield made
    made.close(10)


def test_what_the_sdk_records_is_what_is_counted(
    meter: Meter, database: Database, refused: list[Refused]
) -> None:
    first = meter.record("study.archived", "RRK", Decimal("2.5"), {"modality": "CT"})
    second = meter.record("study.archived", "RRK", 3, {"modality": "CT"})
    meter.record("study.archived", "RA7", "4", {"modality": "MR"}, event_id="order 66")
    assert meter.flush(30)
    meter.withdraw(first, "RRK", "archived by mistake")
    meter.replace(second, "study.archived", "RRK", 1, {"modality": "CT"})
    assert meter.flush(30)
    meter.record("study.archived", "ZZZ", 1, {"modality": "CT"})
    meter.record("study.archived", "RA7", 5, {"modality": "MR"}, event_id="order 66")
    assert meter.flush(30)
    assert [one.code for one in refused] == ["subject-unknown", "id-reused"]
    assert (meter.statistics.accepted, meter.statistics.rejected) == (5, 1)
    with database.snapshot() as session:
        rows = session.execute(select(usage_events.c.meter_id, usage_events.c.quantity)).all()
    assert sum(row.quantity for row in rows if row.meter_id == 1) == Decimal("5")


def test_a_manifest_says_whether_the_months_agree(meter: Meter, database: Database) -> None:
    for _ in range(3):
        meter.record("study.archived", "RRK", Decimal("1.5"), {"modality": "CT"})
    assert meter.flush(30)
    jobs.roll_up(database, now=clock.now())
    month = str(Month.of(clock.now()))
    said = meter.manifest(month, "studies-archived", count=3, total=Decimal("4.5"))
    assert said["agrees"]
    assert said["received"] == {"count": 3, "sum": "4.5"}
    said = meter.manifest(month, "studies-archived", count=4, total=6)
    assert (said["agrees"], said["missing"]) == (False, {"count": 1, "sum": "1.5"})
    with pytest.raises(ManifestRefused, match="meter-unknown"):
        meter.manifest(month, "nothing", count=1, total=1)
