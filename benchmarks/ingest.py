"""How fast is ingest? The product's whole path beside a raw COPY and beside a plain application.

    python -m benchmarks.ingest                      # every batch size, some minutes
    python -m benchmarks.ingest --quick              # the same, shorter
    python -m benchmarks.ingest --rows 20000000      # at the start, and after so many rows
    python -m benchmarks.ingest --rows 20000000 --random-ids
    python -m benchmarks.ingest --readings           # with and without the roll-up job

(a) raw COPY of ready rows into the indexed, partitioned table by one connection; (b) the
product over HTTP, two workers, several clients; (c) a plain application under the same server.
Everything is measured in one run on one database server with fsync on, round by round in
turn, and given as ratios of medians: absolute speeds belong to a machine, ratios to the code.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import monotonic, sleep

from benchmarks.load import material, servers
from benchmarks.load.material import Material
from benchmarks.load.measuring import HEADER, PLANS, Bench, Found, bench, show
from metering.kit.logs import configure_logs
from metering.kit.postgres import EmbeddedPostgres
from metering.kit.processes import relax_collector

FRESH_SECONDS = 10
"""Readings may be so far behind at full load."""


def sizes(url: str, arguments: argparse.Namespace, made: Material) -> None:
    """Measure each batch size."""
    ways = ("raw COPY", "product", "plain")
    with bench(url, made, ways=ways) as ready:
        print(HEADER)
        for size in arguments.sizes:
            results = ready.measure(PLANS[size], rounds=3 if arguments.quick else 9, ways=ways)
            show(size, results)
        print(f"The product's workers shared the work {ready.spread('product')}.")


def rows(url: str, arguments: argparse.Namespace, made: Material) -> None:
    """Measure at the start and after very many rows."""
    ways = ("raw COPY", "product")
    rounds = 3 if arguments.quick else 9
    plans = [PLANS[size] for size in arguments.sizes if size >= 1_000]
    with bench(url, made, ways=ways) as ready:
        print(HEADER)
        before: dict[int, dict[str, Found]] = {}
        for plan in plans:
            before[plan.size] = ready.measure(plan, rounds=rounds, ways=ways)
            show(plan.size, before[plan.size])
        began = monotonic()
        material.fill(ready.connection, arguments.rows, random_ids=made.random_ids)
        ready.vacuum()
        print(
            f"{arguments.rows:,} rows in {monotonic() - began:.0f} s;"
            f" {ready.space()}; ids {'random' if made.random_ids else 'time-ordered'}",
            flush=True,
        )
        for plan in plans:
            after = ready.measure(plan, rounds=rounds, ways=ways)
            show(plan.size, after)
            for way in ways:
                ratio = after[way].rate / before[plan.size][way].rate
                print(f"{plan.size:>7} {way:<9} {ratio:.2f} of the start")


def readings(url: str, arguments: argparse.Namespace, made: Material) -> None:
    """Measure ingest without and with the roll-up job, in turn, and how far readings lag."""
    with bench(url, made, ways=("product",)) as ready:
        plan = PLANS[1_000]
        seconds = 20 if arguments.quick else 60
        ready.warm("product", plan)
        alone, together, lags = Found(), Found(), list[float]()
        for _ in range(2 if arguments.quick else 4):
            _for_seconds(ready, alone, seconds=seconds)
            with servers.child("--roll-up", url=url):
                _drain(ready)
                lags += _for_seconds(ready, together, seconds=seconds)
                _drain(ready)
        print(HEADER)
        show(1_000, {"alone": alone, "with job": together})
        worst = max(lags)
        print(
            f"with the job {together.rate / alone.rate:.2f} of the speed without it;"
            f" readings behind: median {statistics.median(lags):.1f} s, at most {worst:.1f} s,"
            f" {'within' if worst <= FRESH_SECONDS else 'beyond'} {FRESH_SECONDS} s"
        )


def _for_seconds(ready: Bench, found: Found, *, seconds: float) -> list[float]:
    """Post at full load for some time; return the readings' lags as they were seen."""
    lags = []
    end = monotonic() + seconds
    while monotonic() < end:
        ready.round("product", PLANS[1_000], found)
        lags.append(ready.lag())
    return lags


def _drain(ready: Bench) -> None:
    """Wait until every batch is in the readings."""
    while ready.lag() > 0:
        sleep(0.2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    parser.add_argument(
        "--sizes",
        type=lambda listed: [int(size) for size in listed.split(",")],
        default=list(PLANS),
        help="batch sizes, of 1,100,1000,10000",
    )
    parser.add_argument("--rows", type=int, help="measure at the start and after so many rows")
    parser.add_argument("--random-ids", action="store_true", help="ids without an order")
    parser.add_argument(
        "--days", type=int, default=0, help="events happened within so many days, not just now"
    )
    parser.add_argument("--readings", action="store_true", help="with and without the roll-up job")
    parser.add_argument("--folder", type=Path, help="where the database lies; else a temporary one")
    parser.add_argument("--serve", choices=("product", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--roll-up", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        servers.serve(arguments.serve, arguments.port)
        return
    if arguments.roll_up:
        servers.roll_up_for_ever()
        return
    configure_logs(level="ERROR")
    relax_collector()
    made = Material(random_ids=arguments.random_ids, days=arguments.days)
    measure = rows if arguments.rows else readings if arguments.readings else sizes
    with tempfile.TemporaryDirectory(prefix="paygo-benchmark-", dir=arguments.folder) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "postgres") as url:
            measure(url, arguments, made)


if __name__ == "__main__":
    main()
