"""Processes are killed under load, and no event is lost or counted twice."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metering.client import Meter
from metering.client.model import Options
from tests.faults.proxy import Proxy, before
from tests.faults.system import Paygo, running
from tests.faults.tally import Tally
from tests.metering import make
from tests.processes import wait_for

pytestmark = pytest.mark.faults

EVENTS = 3_000
HOST = """
import sys, time
from metering.client import Meter
from metering.client.model import Options
options = Options(
    batch_events=40, batch_seconds=0.02, backoff_seconds=0.1, longest_backoff_seconds=1,
    exit_seconds=120,
)
meter = Meter(
    sys.argv[1], sys.argv[2], "imaging-archive", spool_dir=sys.argv[3], options=options,
    quantity_field="studies",
)
for _ in range(int(sys.argv[4])):
    sys.stdout.write(meter.record("study.archived", "RRK", 1, {"modality": "CT"}) + "\\n")
    sys.stdout.flush()
    time.sleep(0.001)
assert meter.close(120)
"""


@pytest.fixture(scope="module")
def paygo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paygo]:
    with running(tmp_path_factory.mktemp("ingest"), "--with-scheduler") as found:
        yield found


class Host:
    """A hosted service that records events and says which."""

    def __init__(self, paygo: Paygo, spool: Path, *, events: int) -> None:
        self.recorded: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST, paygo.url, paygo.key, str(spool), str(events)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                if line.endswith("\n"):
                    self.recorded.append(line.strip())

    def wait_for(self, events: int) -> None:
        """Wait until it has recorded so many."""
        wait_for(lambda: len(self.recorded) >= events, seconds=120)

    def end(self) -> int:
        """Wait until it ends by itself; return its status."""
        self._reader.join(240)
        return self.process.wait(240)


Harm = Callable[[Paygo, random.Random], None]


@pytest.mark.parametrize(
    ("fault", "harm", "times"),
    [
        ("kill -9 of a web worker", Paygo.kill_worker, 3),
        ("kill -9 of the scheduler", Paygo.kill_scheduler, 2),
        ("every connection is cut", Paygo.cut_connections, 5),
        ("kill -9 of a database backend", Paygo.kill_backend, 3),
        ("kill -9 of the database", Paygo.kill_database, 2),
    ],
    ids=["worker", "scheduler", "connections", "backend", "database"],
)
def test_whatever_is_killed_nothing_is_lost_and_nothing_counts_twice(
    paygo: Paygo, tmp_path: Path, tally: Tally, fault: str, harm: Harm, times: int
) -> None:
    before = paygo.stored()
    rng = random.Random(f"{tally.seed} {fault}")
    host = Host(paygo, tmp_path, events=EVENTS)
    for share in sorted(rng.randrange(EVENTS * 8 // 10) for _ in range(times)):
        host.wait_for(share)
        harm(paygo, rng)
    assert host.end() == 0
    _count(paygo, tmp_path, tally, f"{fault} in ingest", times, before, host.recorded)


def test_a_service_that_is_killed_loses_nothing_it_recorded(
    paygo: Paygo, tmp_path: Path, tally: Tally
) -> None:
    before = paygo.stored()
    recorded = []
    rng = random.Random(f"{tally.seed} service")
    for _ in range(4):
        host = Host(paygo, tmp_path, events=EVENTS)
        host.wait_for(rng.randrange(50, 500))
        host.process.kill()
        assert host.end() == -signal.SIGKILL
        recorded += host.recorded
    _count(paygo, tmp_path, tally, "kill -9 of the service that records", 4, before, recorded)


def test_a_network_that_breaks_and_stalls_loses_nothing(tmp_path: Path, tally: Tally) -> None:
    rng = random.Random(f"{tally.seed} network")
    proxies: list[Proxy] = []

    @contextmanager
    def by_proxy(url: str) -> Iterator[str]:
        with before(url) as (proxy, through):
            proxies.append(proxy)
            yield through

    with running(tmp_path, "--with-scheduler", way=by_proxy) as paygo:
        (proxy,) = proxies
        host = Host(paygo, tmp_path / "spool", events=EVENTS)
        cut = 0
        for number, share in enumerate(sorted(rng.randrange(EVENTS * 8 // 10) for _ in range(10))):
            host.wait_for(share)
            if number % 2:
                proxy.stall()
                time.sleep(rng.uniform(0.5, 2))
            # A network that stalls often breaks in the end; what it held back never comes.
            if number % 4 != 1:
                cut += proxy.cut()
            proxy.flow()
        assert host.end() == 0
        assert cut, "there were connections to cut"
        fault = "the network to the database is cut and stalls"
        _count(paygo, tmp_path / "spool", tally, fault, 10, {}, host.recorded)


def _count(
    paygo: Paygo,
    spool: Path,
    tally: Tally,
    fault: str,
    times: int,
    before: dict[str, int],
    recorded: list[str],
) -> None:
    """Deliver what was left, as the service's next start does, and count every event."""
    with Meter(
        paygo.url,
        paygo.key,
        make.ARCHIVE,
        spool_dir=spool,
        options=Options(adopt_seconds=0.1, backoff_seconds=0.1),
    ) as heir:
        wait_for(lambda: heir.flush(5), seconds=120)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            rows = paygo.stored()
            if set(recorded) <= rows.keys():
                break
            time.sleep(0.5)
    row = tally.add(
        fault,
        times,
        lost=len(set(recorded) - rows.keys()),
        # An event feeds two meters, each once.
        doubled=sum(1 for key, count in rows.items() if key not in before and count != 2),
        note=f"{len(recorded)} events",
    )
    assert row.harmless
    assert paygo.counted() == sum(rows.values()), "readings count every event once"
