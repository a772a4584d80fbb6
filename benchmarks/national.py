"""How long a national month takes to close: a billion events of every organisation that could pay.

    python -m benchmarks.national                            # 7,000 organisations, 20 lines each
    python -m benchmarks.national --accounts 700             # a tenth of it
    python -m benchmarks.national --lines 200 --days 3       # many lines
    python -m benchmarks.national --documents 7000           # make every document, not a sample

Readings are written by COPY as the roll-up leaves them, each line's on each of some days, and
stand for a billion events between them: rating costs by readings, whatever was behind them. The
month then closes as people close it: final rating, checks and frozen pools, drafts, approval by
another, issue, documents, proof. The check of conservation compares readings with raw events,
which are not there, so it alone is left out: it costs by events.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks import rating
from benchmarks.measuring import measured
from billing import jobs
from billing.invoices.supplier import supplier_of
from billing.invoices.verifying import verify_invoices
from billing.runs import checks, work
from billing.runs import operations as runs
from billing.runs.model import Check, Outcome
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.logs import configure_logs
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.periods import Month

MONTH = rating.MONTH
NOW = datetime(2026, 5, 6, 9, 0, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=7_000)
    parser.add_argument("--lines", type=int, default=20, help="of each account")
    parser.add_argument(
        "--days", type=int, default=27, help="days with a reading of each line, at most 27"
    )
    parser.add_argument("--pooled", type=int, default=10, help="percent of lines in the pool")
    parser.add_argument("--events", type=int, default=1_000_000_000, help="behind the readings")
    parser.add_argument("--documents", type=int, default=100, help="invoices to make them of")
    parser.add_argument("--folder", type=Path, help="where the database lies; else a temporary one")
    options = parser.parse_args()
    configure_logs(level="ERROR")
    with tempfile.TemporaryDirectory(prefix="paygo-benchmark-", dir=options.folder) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "postgres") as url:
            upgrade(url)
            database = Database(url)
            report(database, options)
            database.dispose()


def report(database: Database, options: argparse.Namespace) -> None:
    """Fill the database, close the month, and print what each step took."""
    found: dict[str, Any] = {"accounts": options.accounts, "lines": options.lines}
    readings, took = measured(partial(_fill, database, options))
    found |= {"readings": readings, "events": options.events, "written": took.shown()}

    def step(name: str, do: Callable[[], Any]) -> Any:
        result, took = measured(do)
        found[name] = took.shown()
        print(f"{name}: {took.seconds:.1f} s, {took.processor:.1f} s of processor", flush=True)
        return result

    checks._conservation = lambda *_, **__: Check(
        name="conservation", outcome=Outcome.PASS, detail="left out"
    )
    run_id = step("start", lambda: _start(database))
    step("final rating", lambda: _rate(database))
    step("pools and checks", lambda: _begin(database, run_id))
    drafted = step("drafts", lambda: work.draft_run(database, run_id=run_id, now=NOW))
    step("approval", lambda: _approve(database, run_id))
    issued = step("issue", lambda: work.issue_run(database, run_id=run_id, principal="b", now=NOW))
    jobs.DOCUMENTS_AT_ONCE = options.documents
    made = step("documents", lambda: jobs.make_documents(database, now=NOW))
    faults = step("proof", lambda: _prove(database))
    closing = [found[name] for name in ("final rating", "pools and checks", "drafts", "approval")]
    closing.append(found["issue"])
    found |= {
        "accounts_by_status": drafted,
        "documents_issued": issued["documents"],
        "documents_made_of": made["invoices"],
        "faults": faults,
        "closed_in_seconds": round(sum(one["seconds"] for one in closing), 1),
        "closed_in_processor_s": round(
            sum(one["python_processor_s"] + one["postgres_processor_s"] for one in closing), 1
        ),
    }
    print(json.dumps(found, indent=2))


def _fill(database: Database, options: argparse.Namespace) -> int:
    readings = rating.load(database, options)
    each = max(1, options.events // readings)
    with database.transaction() as session:
        session.execute(text("UPDATE readings SET event_count = :each"), {"each": each})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE readings"))
    return readings


def _start(database: Database) -> str:
    settings = Settings.from_environment({"PAYGO_DATA_DIR": "/nonexistent"})
    with database.transaction() as session:
        return runs.start_run(
            session, month=MONTH, supplier=supplier_of(settings), principal="a", now=NOW
        ).id


def _rate(database: Database) -> None:
    work.rate_open_months(database, last=Month.of(NOW), now=NOW)


def _begin(database: Database, run_id: str) -> None:
    with database.transaction() as session:
        runs.begin_drafting(session, run_id=run_id, now=NOW)


def _approve(database: Database, run_id: str) -> None:
    with database.transaction() as session:
        runs.approve_run(session, run_id=run_id, principal="b", now=NOW)


def _prove(database: Database) -> int:
    with database.snapshot() as session:
        return len(verify_invoices(session).faults)


if __name__ == "__main__":
    main()
