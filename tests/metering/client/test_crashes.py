"""Processes are killed on purpose: the host, the API, and forked workers."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metering.client import Meter
from tests.metering.client import fake_api
from tests.metering.client.conftest import Reports
from tests.metering.client.fake_api import KEY, SOURCE, FakeApi, Fault

Make = Callable[..., Meter]

pytestmark = pytest.mark.faults

HOST = """
import sys
from metering.client import Meter, Options
options = Options(batch_events=50, batch_seconds=0.005, backoff_seconds=0.01)
meter = Meter(sys.argv[1], sys.argv[2], sys.argv[3], spool_dir=sys.argv[4], options=options)
for number in range(int(sys.argv[5])):
    sys.stdout.write(meter.record("a", "RRK", number) + "\\n")
    sys.stdout.flush()
"""


def start_host(url: str, folder: Path, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOST, url, KEY, SOURCE, str(folder), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_ids(host: "subprocess.Popen[str]") -> list[str]:
    assert host.stdout is not None
    with host.stdout:
        return [line.strip() for line in host.stdout if line.endswith("\n")]


@pytest.mark.parametrize("down", [False, True], ids=["api-up", "api-down"])
def test_a_killed_host_loses_nothing_it_recorded(
    down: bool, make_meter: Make, api: FakeApi, tmp_path: Path
) -> None:
    api.always = Fault(503) if down else Fault(delay=0.01)
    host = start_host(api.url, tmp_path, 1_000_000)
    assert host.stdout is not None
    recorded = [host.stdout.readline().strip() for _ in range(700)]
    while not down and not api.kept:
        recorded.append(host.stdout.readline().strip())
    host.kill()
    recorded += read_ids(host)
    assert host.wait() == -9
    api.always = None
    already = set(api.kept)
    assert bool(already) is not down
    meter = make_meter(spool_dir=tmp_path)
    assert meter.flush(10)
    # The last event may have been recorded without its id having been told.
    assert len(set(api.kept) - set(recorded)) <= 1
    assert set(recorded) <= set(api.kept)
    assert len(api.order) == len(set(api.order)) == len(api.kept)
    numbers = [int(api.kept[event_id]["data"]["quantity"]) for event_id in api.order]
    assert sorted(numbers) == list(range(len(numbers)))
    meter.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_host_that_ends_by_itself_delivers_at_exit(api: FakeApi, tmp_path: Path) -> None:
    host = start_host(api.url, tmp_path, 20)
    recorded = read_ids(host)
    assert host.wait(10) == 0
    assert list(api.kept) == recorded


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Servers:
    """The fake API as a program, started again each time that it dies."""

    def __init__(self, port: int, path: Path, lives: list[list[str]]) -> None:
        self._command = [sys.executable, fake_api.__file__, str(port), str(path)]
        self._lives = lives
        self.deaths = 0
        self._last = self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        server = subprocess.Popen(self._command + self._lives.pop(0), stdout=subprocess.PIPE)
        assert server.stdout is not None
        server.stdout.readline()
        server.stdout.close()
        return server

    def _watch(self) -> None:
        while self._lives:
            assert self._last.wait() == -9
            self.deaths += 1
            self._last = self._start()

    def stop(self) -> None:
        self._thread.join()
        self._last.kill()
        self._last.wait()


@pytest.fixture
def servers(port: int, tmp_path: Path) -> Iterator[Servers]:
    lives = [["well", "die-before-keeping"], ["die-after-keeping"], ["die-after-keeping"], []]
    servers = Servers(port, tmp_path / "kept", lives)
    yield servers
    servers.stop()


def test_an_api_killed_in_mid_request_costs_nothing(
    make_meter: Make, port: int, servers: Servers, tmp_path: Path
) -> None:
    meter = make_meter(
        url=f"http://127.0.0.1:{port}", spool_dir=tmp_path / "spool", batch_events=40
    )
    ids = []
    for number in range(400):
        ids.append(meter.record("a", "RRK", number))
        time.sleep(0.0002)
    assert meter.flush(15)
    assert servers.deaths == 3
    lines = (tmp_path / "kept").read_text().splitlines()
    assert len(lines) == len(ids)
    assert all(event_id in line for event_id, line in zip(ids, lines, strict=True))
    assert meter.statistics.accepted + meter.statistics.duplicate == 400
    assert meter.statistics.duplicate > 0


@pytest.mark.parametrize("spooled", [True, False], ids=["spool", "memory"])
def test_forked_workers_each_deliver_their_own(
    spooled: bool, make_meter: Make, api: FakeApi, tmp_path: Path
) -> None:
    api.faults.append(Fault(delay=0.2))
    meter = make_meter(spool_dir=tmp_path if spooled else None)
    before = meter.record("a", "RRK", 1, {"by": "parent"})
    workers = []
    for _ in range(3):
        worker = os.fork()
        if worker == 0:
            code = 1
            try:
                inherited = meter.statistics.recorded
                for _ in range(5):
                    meter.record("a", "RRK", 1, {"by": str(os.getpid())})
                code = 0 if meter.close(5) and inherited == 0 else 2
            finally:
                os._exit(code)
        workers.append(worker)
    after = meter.record("a", "RRK", 1, {"by": "parent"})
    assert [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers] == [0] * 3
    assert meter.flush(5)
    by = [event["data"]["by"] for event in api.kept.values()]
    assert {by.count(str(worker)) for worker in workers} == {5}
    assert {before, after} < set(api.kept)
    assert len(api.order) == 17
    assert api.duplicates == 0


def test_forking_while_others_record_and_flush_never_hangs(
    make_meter: Make, api: FakeApi, tmp_path: Path
) -> None:
    meter = make_meter(spool_dir=tmp_path)
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            meter.record("a", "RRK", 1)
            meter.flush(0.001)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            worker = os.fork()
            if worker == 0:
                meter.record("a", "RRK", 2)
                os._exit(0)
            os.waitpid(worker, 0)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert meter.flush(5)
    meter.close()
    with_all = make_meter(spool_dir=tmp_path)
    assert with_all.flush(5)
    twos = [event for event in api.kept.values() if event["data"]["quantity"] == "2"]
    assert len(twos) == 30


def test_a_killed_workers_events_are_delivered_by_its_sibling(
    make_meter: Make, api: FakeApi, tmp_path: Path
) -> None:
    # The worker is gone before its batch would have been due.
    meter = make_meter(spool_dir=tmp_path, adopt_seconds=0.05, batch_seconds=0.4)
    worker = os.fork()
    if worker == 0:
        for _ in range(5):
            meter.record("a", "RRK", 1)
        os.kill(os.getpid(), 9)
    os.waitpid(worker, 0)
    assert not api.kept
    deadline = time.monotonic() + 5
    while len(api.kept) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (meter.statistics.recorded, meter.statistics.recovered) == (0, 5)


def test_a_refusing_disk_keeps_events_in_memory_and_is_told_once(
    make_meter: Make, api: FakeApi, reports: Reports, tmp_path: Path
) -> None:
    api.always = Fault(503)
    meter = make_meter(spool_dir=tmp_path, spool_bytes=1000)
    ids = [meter.record("a", "RRK", number) for number in range(20)]
    assert reports.codes.count("spool-refused") == 1
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.events")) <= 1000
    api.always = None
    assert meter.flush(5)
    assert list(api.kept) == ids


def test_a_spool_folder_that_cannot_be_made_breaks_nothing(
    make_meter: Make, api: FakeApi, reports: Reports, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    meter = make_meter(spool_dir=tmp_path / "file")
    meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert len(api.kept) == 1
    assert "spool-refused" in reports.codes


def test_synchronising_each_event_works_too(make_meter: Make, api: FakeApi, tmp_path: Path) -> None:
    meter = make_meter(spool_dir=tmp_path, fsync_seconds=0)
    for _ in range(5):
        meter.record("a", "RRK", 1)
    assert meter.flush(5)
    assert len(api.kept) == 5


def test_a_damaged_spool_is_told(
    make_meter: Make, api: FakeApi, reports: Reports, tmp_path: Path
) -> None:
    api.always = Fault(503)
    meter = make_meter(spool_dir=tmp_path)
    for number in range(3):
        meter.record("a", "RRK", number)
    meter.close(0)
    (path,) = tmp_path.rglob("*.events")
    path.write_bytes(path.read_bytes().replace(b'"1"', b'"7"'))
    api.always = None
    assert make_meter(spool_dir=tmp_path).flush(5)
    assert [event["data"]["quantity"] for event in api.kept.values()] == ["0", "2"]
    assert "spool-damaged" in reports.codes


def test_another_sources_spool_is_left_alone(
    make_meter: Make, api: FakeApi, tmp_path: Path
) -> None:
    other = Meter("http://127.0.0.1:9", "other-key", "pathology", spool_dir=tmp_path)
    other.record("a", "RRK", 1)
    assert not other.close(0)
    meter = make_meter(spool_dir=tmp_path)
    assert meter.flush(5)
    assert meter.statistics.recovered == 0
    assert api.requests == []
