"""How long a national rating pass takes, database and all, and how that compares with bare SQL.

    python -m benchmarks.rating                 # 220 trusts with 200 lines each
    python -m benchmarks.rating --accounts 7000 # every NHS organisation that could pay

Every account has a reading of each of its lines on each of some days. A tenth of the lines is
priced in the national pool (`--pooled` says how many in a hundred), the others per unit or by
tiers. Measured are the pass of the scheduled job that rates everyone (read, rate, write charges
with their working), a pass that finds nothing changed, a pass after one reading changed, which
moves the pool's price for everyone, and, in the same run, one SQL aggregate of the same readings
by account and line, which is the least that anything billing these readings has to do.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import text

from benchmarks.measuring import measured
from billing.accounts.tables import AccountRow
from billing.charges.operations import RatingCounts, rate_charges
from billing.tariffs import operations as tariffs
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.meters import operations as meters
from metering.meters.queries import by_code
from metering.organisations import operations as organisations
from metering.periods import Month
from metering.sources import operations as sources

MONTH = Month(2026, 4)
NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
METERS = 10


def rate(database: Database, *, month: Month, now: datetime) -> RatingCounts:
    with database.transaction() as session:
        return rate_charges(session, month=month, now=now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--accounts", type=int, default=220)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--days", type=int, default=3, help="days with a reading of each line")
    parser.add_argument("--pooled", type=int, default=10, help="percent of lines in the pool")
    parser.add_argument("--database", help="URL of an empty database; else an embedded one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paygo-benchmark-") as folder:
        Path(folder).chmod(0o755)
        if options.database:
            report(options.database, options)
        else:
            with EmbeddedPostgres(Path(folder) / "postgres") as url:
                report(url, options)


def report(url: str, options: argparse.Namespace) -> None:
    upgrade(url)
    database = Database(url)
    readings = load(database, options)
    _, before = measured(partial(aggregate, database))
    work = partial(rate, database, month=MONTH, now=NOW)
    counts, everyone = measured(work)
    _, idle = measured(work)
    touch(database)
    moved, again = measured(work)
    _, after = measured(partial(aggregate, database))
    bare = min(before, after)
    print(
        json.dumps(
            {
                "accounts": options.accounts,
                "lines": options.lines,
                "pooled_percent": options.pooled,
                "readings": readings,
                "charges": counts.charges,
                "parked": counts.parked,
                "rated_everyone": everyone.shown(),
                "nothing_changed": idle.shown(),
                "after_one_reading": again.shown() | {"accounts_written": moved.written},
                "bare_aggregate": bare.shown(),
                "ratio": round(everyone.seconds / bare.seconds, 1),
                "ratio_by_processor": round(everyone.processor / bare.processor, 1),
            },
            indent=2,
        )
    )
    database.dispose()


def load(
    database: Database, options: argparse.Namespace, *, months: Sequence[Month] = (MONTH,)
) -> int:
    """Fill the database with readings of some months; return how many there are."""
    values = max(1, options.lines // METERS)
    with database.transaction() as session:
        sources.register(session, code="bench", name="Bench", now=NOW)
        for number in range(METERS):
            meters.register(
                session,
                source_code="bench",
                code=f"meter-{number}",
                name=f"Meter {number}",
                event_type=f"uk.nhs.bench-{number}",
                aggregation="sum",
                quantity_field="quantity",
                unit="units",
                dimensions={"kind": {"label": "Kind", "values": None}},
                now=NOW,
            )
        sets = [
            meters.dimension_set_id(session, dimensions={"kind": f"k{value}"})
            for value in range(values)
        ]
        meter_ids = [by_code(session, code=f"meter-{number}").id for number in range(METERS)]
        tariffs.create_tariff(
            session, code="bench", source="bench", name="Bench", principal="a", now=NOW
        )
        version = tariffs.draft_version(
            session, document=document(values, options.pooled), principal="a", now=NOW
        )
        tariffs.submit_version(session, version_id=version.id, principal="a", now=NOW)
        tariffs.approve_version(session, version_id=version.id, principal="b", now=NOW)
        for number in range(options.accounts):
            code = f"B{number:05d}"
            organisations.register(session, ods_code=code, name=code, kind="acute", now=NOW)
        subject_ids = list(
            session.execute(text("SELECT id FROM organisations ORDER BY id")).scalars()
        )
        session.add_all(
            AccountRow(
                id=f"acc_{subject}",
                organisation_id=subject,
                name=f"Trust {subject}",
                address=["1 Hospital Road"],
                postcode="LS1 4AP",
                email="finance@example.nhs.uk",
                opened_at=NOW,
            )
            for subject in subject_ids
        )
        session.flush()
        session.execute(
            text(
                "INSERT INTO agreements (account_id, id, tariff_code, starts_on, pooled, "
                "created_at) SELECT id, 'agr_' || id, 'bench', '2026-04-01', true, opened_at "
                "FROM accounts"
            )
        )
    days = [
        date(month.year, month.month, 1 + day * 27 // options.days)
        for month in months
        for day in range(options.days)
    ]
    with database.transaction() as session:
        count = session.execute(
            text(
                "INSERT INTO readings (subject_id, meter_id, used_on, dimension_set_id, hour, "
                "quantity, event_count, updated_at) "
                "SELECT o, m, d, s, -1, 1 + (o * 7 + (i - 1) * 13 + (p - 1) * 3) % 900, 3, :now "
                "FROM unnest(CAST(:subjects AS int[])) AS o "
                "CROSS JOIN unnest(CAST(:meters AS int[])) WITH ORDINALITY AS of_meter (m, i) "
                "CROSS JOIN unnest(CAST(:sets AS int[])) WITH ORDINALITY AS of_set (s, p) "
                "CROSS JOIN unnest(CAST(:days AS date[])) AS d ORDER BY o, m, d, s"
            ),
            {"subjects": subject_ids, "meters": meter_ids, "sets": sets, "days": days, "now": NOW},
        ).rowcount  # type: ignore[attr-defined]  # an INSERT's result has it
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE readings"))
    return int(count)


def document(values: int, pooled: int = 10) -> dict[str, object]:
    """Return a tariff with a price for each line: pooled, by tiers, per unit in turn.

    Args:
        pooled: percent of the lines that are priced in the national pool.
    """
    prices: list[dict[str, object]] = []
    tiers = [
        {"up_to": "500", "unit_price": "0.123"},
        {"up_to": "5000", "unit_price": "0.11"},
        {"up_to": None, "unit_price": "0.0975"},
    ]
    for meter in range(METERS):
        for value in range(values):
            price: dict[str, object] = {"meter": f"meter-{meter}", "where": {"kind": f"k{value}"}}
            place = meter * values + value
            if place * 37 % 100 < pooled:
                price |= {"model": "graduated", "scope": "pool", "tiers": tiers}
            elif place % 10 < 5:
                price |= {"model": "graduated", "tiers": tiers}
            else:
                price |= {"model": "per-unit", "unit_price": "0.137"}
            prices.append(price)
    return {
        "tariff": "bench",
        "version": "2026-04",
        "effective_from": "2026-04-01",
        "vat": "standard",
        "prices": prices,
    }


def aggregate(database: Database) -> int:
    """Add up the month's readings by account and line, and carry the sums here."""
    with database.snapshot() as session:
        return len(
            session.execute(
                text(
                    "SELECT subject_id, meter_id, dimension_set_id, sum(quantity) FROM readings "
                    "WHERE used_on >= :first AND used_on < :end "
                    "GROUP BY subject_id, meter_id, dimension_set_id"
                ),
                {"first": MONTH.first_day, "end": MONTH.end_day},
            ).all()
        )


def touch(database: Database) -> None:
    """Let one reading change, as one late event does: the pool's price moves for everyone."""
    with database.transaction() as session:
        session.execute(
            text(
                "UPDATE readings SET quantity = quantity + 1, event_count = event_count + 1, "
                "updated_at = :now WHERE (subject_id, meter_id, dimension_set_id, used_on) = ("
                "SELECT subject_id, meter_id, dimension_set_id, used_on FROM readings "
                "ORDER BY subject_id, meter_id, dimension_set_id, used_on LIMIT 1)"
            ),
            {"now": NOW},
        )


if __name__ == "__main__":
    main()
