"""Rounds in turn of raw COPY, the product and the plain application, and what they cost."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.load import machine, material, servers
from benchmarks.load.clients import Answered, Clients, request
from benchmarks.load.material import Material
from metering.kit.db import Database
from metering.kit.migrate import upgrade

PORTS = {"product": 8931, "plain": 8932}
STEADY = 0.1
"""Two rounds in a row differ by less: the warm-up is over."""


@dataclass(frozen=True)
class Plan:
    """How much one round does at one batch size.

    Attributes:
        requests: of each way.
    """

    size: int
    clients: int
    requests: dict[str, int]


PLANS = {
    1: Plan(1, 64, {"raw COPY": 300, "product": 5_000, "plain": 1_000}),
    100: Plan(100, 16, {"raw COPY": 200, "product": 600, "plain": 80}),
    1_000: Plan(1_000, 8, {"raw COPY": 60, "product": 100, "plain": 16}),
    10_000: Plan(10_000, 8, {"raw COPY": 8, "product": 24, "plain": 8}),
}
MEMORY_SETTINGS = (
    *("server_version", "shared_buffers", "effective_cache_size", "max_wal_size", "wal_buffers"),
    *("checkpoint_timeout", "full_page_writes", "wal_compression", "fsync", "synchronous_commit"),
)


@dataclass
class Found:
    """What rounds of one way at one size came to; seconds of processor by side."""

    events: int = 0
    rates: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    client: float = 0.0
    server: float = 0.0
    postgres: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second, the median of the rounds."""
        return statistics.median(self.rates)

    def microseconds(self) -> list[float]:
        """Processor time an event of client, server and PostgreSQL."""
        return [1e6 * each / self.events for each in (self.client, self.server, self.postgres)]

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the requests did not exceed."""
        ordered = sorted(self.each)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bench:
    """A database with both applications served over it."""

    def __init__(self, url: str, *, key: str, made: Material, pids: dict[str, int]) -> None:
        self.url, self.made = url, made
        self._key, self._pids = key, pids
        self.connection = psycopg.connect(url.replace("postgresql+psycopg", "postgresql"))
        row = self.connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        self._postmaster = _parent(row[0])

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()

    def round(self, way: str, plan: Plan, found: Found) -> None:
        """Measure one round of one way; what it sends is made before the clock starts."""
        count = plan.requests[way]
        work: Callable[[], Answered]
        if way == "raw COPY":
            blocks = self.made.blocks(count, size=plan.size)
            self.connection.commit()

            def work() -> Answered:
                return _copied(self.connection, blocks)

        else:
            requests = [
                request(body, key=self._key) for body in self.made.bodies(count, size=plan.size)
            ]
            # New ones for each round: the server closes what was idle during another's.
            clients = Clients(PORTS[way], count=plan.clients)

            def work() -> Answered:
                with closing(clients):
                    return clients.post(requests)

        server = self._pids.get(way)
        before = self._spent(server)
        answered = work()
        client, served, postgres = (
            after - then for after, then in zip(self._spent(server), before, strict=True)
        )
        found.events += count * plan.size
        found.rates.append(count * plan.size / answered.seconds)
        found.each += answered.each
        found.client += client
        found.server += served
        found.postgres += postgres

    def warm(self, way: str, plan: Plan) -> None:
        """Repeat rounds until two in a row are alike."""
        found = Found()
        for _ in range(8):
            self.round(way, plan, found)
            if len(found.rates) > 1 and abs(found.rates[-1] / found.rates[-2] - 1) < STEADY:
                return

    def measure(self, plan: Plan, *, rounds: int, ways: Sequence[str]) -> dict[str, Found]:
        """Measure rounds of these ways in turn."""
        results = {way: Found() for way in ways}
        for way in ways:
            self.warm(way, plan)
        for _ in range(rounds):
            for way, found in results.items():
                self.round(way, plan, found)
        return results

    def _spent(self, server: int | None) -> tuple[float, float, float]:
        return (
            machine.own_seconds(),
            0.0 if server is None else machine.tree_seconds(server),
            machine.tree_seconds(self._postmaster),
        )

    def vacuum(self) -> None:
        """Do what autovacuum would do after so many rows, so that it does not come between."""
        self.connection.commit()
        self.connection.autocommit = True
        self.connection.execute("VACUUM ANALYZE event_keys, usage_events, ingest_batches")
        self.connection.autocommit = False

    def space(self) -> str:
        """Return how large the tables are."""
        row = self.connection.execute(
            "SELECT pg_size_pretty(pg_total_relation_size('event_keys')), pg_size_pretty(sum("
            "pg_total_relation_size(inhrelid))) FROM pg_inherits"
            " WHERE inhparent = 'usage_events'::regclass"
        ).fetchone()
        self.connection.commit()
        assert row is not None
        return f"keys {row[0]}, events {row[1]}"

    def lag(self) -> float:
        """Return how many seconds ago the oldest events that are in no reading came."""
        row = self.connection.execute(
            "SELECT extract(epoch FROM clock_timestamp() - min(received_at))::float"
            " FROM ingest_batches WHERE claimed_at IS NULL"
        ).fetchone()
        self.connection.commit()
        return 0.0 if row is None or row[0] is None else row[0]

    def spread(self, way: str) -> str:
        """Return how the workers of an application shared the work so far."""
        spent = machine.children_seconds(self._pids[way])[: servers.WORKERS]
        whole = sum(spent) or 1
        return " and ".join(f"{100 * each / whole:.0f} %" for each in spent)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _copied(connection: psycopg.Connection[Any], blocks: Sequence[bytes]) -> Answered:
    each: list[float] = []
    start = perf_counter()
    for block in blocks:
        began = perf_counter()
        material.raw_copy(connection, block)
        each.append(perf_counter() - began)
    return Answered(perf_counter() - start, each)


@contextmanager
def bench(url: str, made: Material, *, ways: Sequence[str]) -> Iterator[Bench]:
    """Prepare a database and serve these applications over it."""
    upgrade(url)
    database = Database(url)
    key = material.prepare(database)
    database.dispose()
    with ExitStack() as stack:
        pids = {
            way: stack.enter_context(servers.serving(way, url, port=PORTS[way])).pid
            for way in ways
            if way in PORTS
        }
        ready = Bench(url, key=key, made=made, pids=pids)
        stack.callback(ready.close)
        print(machine.description())
        settings = (
            f"{name} {ready.connection.execute(f'SHOW {name}').fetchone()[0]}"  # type: ignore[index]  # SHOW gives a row
            for name in MEMORY_SETTINGS
        )
        print("PostgreSQL: " + ", ".join(settings), flush=True)
        yield ready


HEADER = (
    f"{'batch':>7} {'way':<9} {'events/s':>9} {'of COPY':>8} {'x plain':>8} {'p50 ms':>8}"
    f" {'p99 ms':>8}   {'µs an event: client':>19} {'server':>7} {'database':>9}"
)


def show(size: int, results: dict[str, Found]) -> None:
    """Print one batch size."""
    for way, found in results.items():
        ratios = [
            f"{found.rate / results[other].rate:>8.2f}" if other in results else " " * 8
            for other in ("raw COPY", "plain")
        ]
        client, server, database = found.microseconds()
        print(
            f"{size:>7} {way:<9} {found.rate:>9,.0f} {' '.join(ratios)}"
            f" {found.percentile(0.5):>8.1f} {found.percentile(0.99):>8.1f}"
            f"   {client:>19.1f} {server:>7.1f} {database:>9.1f}",
            flush=True,
        )
