"""How long it takes to try a draft tariff on past usage of every account.

    python -m benchmarks.simulation                # 12 months of 220 trusts, 200 lines each

Readings and tariff are those of `benchmarks.rating`, in each of the months. Every month is rated
first, so that there is what was charged; then a draft with other prices is simulated, as the
console's button does: read, rate, compare and keep the result.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import rating
from benchmarks.measuring import measured
from billing.simulations import operations as simulations
from billing.simulations import queries
from billing.simulations.model import Comparison, read_comparison
from billing.simulations.work import run_simulation
from billing.tariffs import operations as tariffs
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres

FIRST = rating.MONTH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--accounts", type=int, default=220)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--days", type=int, default=3, help="days with a reading of each line")
    parser.add_argument("--pooled", type=int, default=10, help="percent of lines in the pool")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paygo-benchmark-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "postgres") as url:
            report(url, options)


def report(url: str, options: argparse.Namespace) -> None:
    upgrade(url)
    database = Database(url)
    months = [FIRST.shift(number) for number in range(options.months)]
    now = months[-1].next.period.start
    readings = rating.load(database, options, months=months)
    for month in months:
        rating.rate(database, month=month, now=now)
    with database.transaction() as session:
        draft = tariffs.draft_version(
            session,
            document=rating.document(max(1, options.lines // rating.METERS), options.pooled + 10)
            | {"version": "draft", "effective_from": months[-1].next.first_day.isoformat()},
            principal="a",
            now=now,
        )
        asked = simulations.ask_for_simulation(
            session,
            version_id=draft.id,
            first=months[0],
            last=months[-1],
            principal="a",
            now=now,
            status="running",
        )
    _, took = measured(partial(run_simulation, database, simulation_id=asked.id, now=now))
    comparison = _kept(database, asked.id)
    print(
        json.dumps(
            {
                "accounts": options.accounts,
                "lines": options.lines,
                "months": options.months,
                "pooled_percent": options.pooled,
                "readings": readings,
                "simulated": took.shown(),
                "charged_pounds": str(comparison.charged),
                "under_the_draft_pounds": str(comparison.simulated),
                "gainers": comparison.gainers(),
                "losers": comparison.losers(),
            },
            indent=2,
        )
    )
    database.dispose()


def _kept(database: Database, simulation_id: str) -> Comparison:
    with database.snapshot() as session:
        row = queries.simulation(session, simulation_id=simulation_id)
        assert row.result is not None
        return read_comparison(row.result)


if __name__ == "__main__":
    main()
