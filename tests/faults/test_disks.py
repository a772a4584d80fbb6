"""Disks are full or read-only: nothing breaks, nothing that was promised is lost, all recovers."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import requests
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from metering import jobs
from metering.client import Meter, Options
from metering.events.archive import ArchiveNotWritten, archive_month
from metering.kit.db import Database
from metering.kit.dumps import BackupFailed, dump
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.periods import Month
from tests import databases
from tests.billing.notifications.receivers import web_server
from tests.billing.payments.fake_stripe import fake_stripe
from tests.faults import month
from tests.faults.disks import Disk, small_disk
from tests.faults.system import serving
from tests.faults.tally import Tally
from tests.metering import make
from tests.metering.client.fake_api import KEY, SOURCE, FakeApi, Fault
from tests.processes import wait_for

pytestmark = pytest.mark.faults


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = FakeApi().start()
    yield found
    found.stop()


class Host:
    """A hosted service whose spool lies on a small disk."""

    def __init__(self, api: FakeApi, disk: Disk) -> None:
        self.codes: list[str] = []
        self.ids: list[str] = []
        self.slowest = 0.0
        self.meter = Meter(
            api.url,
            KEY,
            SOURCE,
            spool_dir=disk.path / "spool",
            options=Options(
                batch_seconds=0.01,
                fsync_seconds=0.02,
                backoff_seconds=0.01,
                longest_backoff_seconds=0.05,
            ),
            on_error=lambda trouble: self.codes.append(trouble.code),
        )

    def record(self, events: int) -> None:
        """Record events; it must never raise, nor wait for a disk."""
        for number in range(events):
            start = time.perf_counter()
            self.ids.append(self.meter.record("a", "RRK", number))
            self.slowest = max(self.slowest, time.perf_counter() - start)


@pytest.mark.parametrize("harm", ["full", "read-only"])
def test_a_service_whose_spool_cannot_be_written_goes_on_and_loses_nothing(
    api: FakeApi, tmp_path: Path, tally: Tally, harm: str
) -> None:
    with small_disk(tmp_path, megabytes=2) as disk:
        api.always = Fault(503)
        host = Host(api, disk)
        host.record(100)
        if harm == "full":
            disk.fill()
        else:
            # A file that is open for writing keeps a disk writable: the next start finds it so.
            host.meter.close(0)
            kept = host.ids
            disk.refuse_writes()
            host = Host(api, disk)
            host.ids = kept
        host.record(400)
        assert host.codes.count("spool-refused") == 1, "it is told, and once"
        api.always = None
        assert host.meter.flush(10)
        sent = set(api.kept)
        disk.make_room() if harm == "full" else disk.allow_writes()
        time.sleep(1.1)  # a disk that refused is left in peace for a second
        api.always = Fault(503)
        host.record(50)
        assert any(disk.path.rglob("*.events")), "the spool is used again"
        api.always = None
        assert host.meter.flush(10)
        host.meter.close()
        # What an earlier start left on a disk that was read-only then, the next delivers.
        heir = Host(api, disk)
        assert heir.meter.flush(10)
        heir.meter.close()
    row = tally.add(
        f"{harm} disk under a service's spool",
        1,
        lost=len(set(host.ids) - api.kept.keys()),
        doubled=len(api.order) - len(api.kept),
        note=f"{len(host.ids)} events, slowest record {host.slowest * 1000:.0f} ms",
    )
    assert row.harmless
    assert len(sent) >= 400


def _post(url: str, key: str, number: int) -> int:
    try:
        return requests.post(
            f"{url}/api/v1/events",
            json=make.event(number),
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/cloudevents+json",
            },
            timeout=20,
        ).status_code
    except requests.RequestException:
        return 0


def _fill_the_log(url: str) -> None:
    """Write as long as the database takes it, so that its disk runs out for certain."""
    with suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS filler (content text)")
        for _ in range(20):
            connection.execute(
                "INSERT INTO filler SELECT string_agg(md5(random()::text), '')"
                " FROM generate_series(1, 100000)"
            )


def test_a_full_disk_under_the_database_loses_nothing_that_was_accepted(
    tmp_path: Path, tally: Tally
) -> None:
    accepted: list[int] = []
    refused: list[int] = []
    statuses = set()
    with small_disk(tmp_path, megabytes=300) as disk:
        folder = disk.path / "data"
        # Small segments of the log, so that the disk runs out while events come.
        settings = ("min_wal_size=32MB", "max_wal_size=48MB")
        with EmbeddedPostgres(folder, settings=settings) as url:
            upgrade(url)
            database = Database(url)
            make.catalogue(database)
            key = make.key(database)
            with serving(tmp_path, url, environment={"PAYGO_WEB_WORKERS": "1"}) as (_, address):
                number = 0

                def post() -> int:
                    nonlocal number
                    number += 1
                    status = _post(address, key, number)
                    (accepted if status == 200 else refused).append(number)
                    statuses.add(status)
                    return status

                wait_for(lambda: post() == 200)
                refused.clear()
                statuses.clear()
                disk.fill()
                deadline = time.monotonic() + 60
                while len(refused) < 3 and time.monotonic() < deadline:
                    _fill_the_log(url)
                    post()
                disk.make_room()
                start = time.monotonic()
                wait_for(lambda: post() == 200, seconds=120)
                seconds = time.monotonic() - start
            with database.snapshot() as session:
                stored = {
                    str(key)
                    for key in session.scalars(text("SELECT DISTINCT event_key FROM usage_events"))
                }
            database.dispose()
    row = tally.add(
        "full disk under the database",
        1,
        lost=len({make.event(one)["id"] for one in accepted} - stored),
        note=f"{len(refused)} refused, {len(accepted)} accepted, again after {seconds:.1f} s",
    )
    assert row.harmless
    assert refused, "the disk ran out"
    # Never a fault of ours: the service is told to try again, or finds no answer.
    assert statuses <= {200, 503, 0}


STRUCK = ("issue", "making documents")
"""Steps of the month under which the disk runs out."""


def test_a_full_disk_under_a_month_end_issues_and_makes_everything_once(
    tmp_path: Path, tally: Tally
) -> None:
    with (
        small_disk(tmp_path, megabytes=350) as disk,
        web_server() as hook,
        fake_stripe() as stripe,
        EmbeddedPostgres(
            disk.path / "data", settings=("min_wal_size=32MB", "max_wal_size=48MB")
        ) as url,
    ):
        upgrade(url)
        database = Database(url)
        month.begin(database, hook=hook.url)
        world = month.World(database, stripe, hook.url)

        def done(work: month.Work) -> bool:
            world.attempts += 1
            try:
                work(database, now=world.now)
            except (RuntimeError, DBAPIError):
                return False
            return True

        drafted = month.Outcome()
        for step in month.STEPS[: 1 + [one.name for one in month.STEPS].index(STRUCK[-1])]:
            work = step.work(world)
            if step.name in STRUCK:
                disk.fill()
                failed = 0
                deadline = time.monotonic() + 60
                while not failed and time.monotonic() < deadline:
                    _fill_the_log(url)
                    failed += not done(work)
                disk.make_room()
                wait_for(lambda work=work: done(work), seconds=120)
            else:
                failed = 0
                assert done(work), step.name
            wrong = month.wrongs(database, now=world.now, rated=step.rated)
            found = month.outcome(database)
            if step.name == "drafting":
                drafted = found
            if step.name in STRUCK:
                lost, doubled = month.events_lost_and_doubled(database)
                missing, repeated = month.numbers_missing_and_doubled(database)
                row = tally.add(
                    f"full disk in {step.name}",
                    failed,
                    lost=lost,
                    doubled=doubled,
                    missing=missing,
                    repeated=repeated,
                    # That the ledger agrees with the documents is among the wrongs.
                    pence=sum(
                        abs(found.money[name] - drafted.money[name])
                        for name in drafted.money
                        if not name.startswith("ledger ")
                    ),
                )
                assert row.harmless
                assert failed, "the disk ran out"
            assert wrong == []
        assert found.counts["documents pdf"] == len(month.TRUSTS)
        database.dispose()


@pytest.fixture
def fresh(server_url: str, template_name: str) -> Iterator[Database]:
    """A database without what tests keep beside the schema, which a dump may not read."""
    with databases.cloned_database(server_url, template_name) as url:
        found = Database(url)
        yield found
        found.dispose()


@pytest.mark.parametrize("harm", ["full", "read-only"])
def test_an_archive_or_backup_that_cannot_be_written_takes_nothing_away(
    fresh: Database, tmp_path: Path, tally: Tally, harm: str
) -> None:
    database = fresh
    make.catalogue(database)
    service = make.service(database)
    service.post(*(make.event(number) for number in range(1, 201)))
    jobs.roll_up(database, now=make.NOW)
    url = database.url.replace("+psycopg", "")
    later = datetime(2028, 1, 5, 9, tzinfo=UTC)

    def archive(folder: Path) -> int:
        return archive_month(
            database,
            month=Month(2026, 7),
            folder=folder,
            correction_months=13,
            principal="cli",
            now=later,
        ).rows

    with small_disk(tmp_path, megabytes=2) as disk:
        disk.fill() if harm == "full" else disk.refuse_writes()
        with pytest.raises(ArchiveNotWritten, match="stays in the database"):
            archive(disk.path)
        with pytest.raises(BackupFailed, match=r"space left|cannot be written"):
            dump(url, disk.path / "paygo.dump")
        left = [path.name for path in disk.path.iterdir() if path.name != "ballast"]
        assert left == [], "half a file must not look like a whole one"
        with database.snapshot() as session:
            kept = session.scalar(text("SELECT count(*) FROM usage_events"))
        disk.make_room() if harm == "full" else disk.allow_writes()
        rows = archive(disk.path)
        dump(url, disk.path / "paygo.dump")
    row = tally.add(f"{harm} disk under archive and backup", 2, lost=400 - (kept or 0))
    assert row.harmless
    assert rows == 400
