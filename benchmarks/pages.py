"""How long every page takes, and how many statements it sends, with a nation behind it.

    python -m benchmarks.pages                                    # 2 million events, 7,000 accounts
    python -m benchmarks.pages --events 50000000                  # needs about 25 GB and an hour
    python -m benchmarks.pages --accounts 200 --events 250000     # as large as the demonstration
    python -m benchmarks.pages --keep /srv/nation                 # build once, measure again

Each page is asked for by a person of the role that it is for, in this process, so that what is
timed is paygo and its database without a network. A page is the same one at every size: that
of the largest trust. The first time it is asked for (nothing in memory but what the page before
it left) is given apart from the others.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, text

from benchmarks import nation
from benchmarks.measuring import children_processor
from billing.access import operations as access
from billing.app import create_app
from billing.demo import loading
from billing.demo.usage import Plan, chosen_trusts
from billing.jobs import ALL_JOBS
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.logs import configure_logs
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres

LATER_MS = 500
DEMO_MS = 200


@dataclass
class Page:
    """One page as measured; times in milliseconds.

    `processor` is of this process, `postgres` of the database's, a mean over the requests: on
    a machine that does other work they still say what a page costs.
    """

    name: str
    path: str
    who: str
    status: int
    first: float
    middle: float
    worst: float
    processor: float
    postgres: float
    statements: int
    slowest: str
    slowest_ms: float
    size: int


class Statements:
    """Counts the statements that are sent, and remembers the slowest."""

    def __init__(self, database: Database) -> None:
        self.count, self.slowest, self.slowest_ms = 0, "", 0.0
        self.by_text: dict[str, int] = {}

        @event.listens_for(database.engine, "before_cursor_execute")
        def begin(_c: Any, _cursor: Any, statement: str, _p: Any, _x: Any, _m: Any) -> None:
            self.count += 1
            self.by_text[statement] = self.by_text.get(statement, 0) + 1
            self.began = time.perf_counter()

        @event.listens_for(database.engine, "after_cursor_execute")
        def end(_c: Any, _cursor: Any, statement: str, _p: Any, _x: Any, _m: Any) -> None:
            took = (time.perf_counter() - self.began) * 1e3
            if took > self.slowest_ms:
                self.slowest, self.slowest_ms = " ".join(statement.split()), took

    def reset(self) -> None:
        self.count, self.slowest, self.slowest_ms, self.by_text = 0, "", 0.0, {}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--accounts", type=int, default=7_000)
    parser.add_argument("--times", type=int, default=5, help="requests of each page")
    parser.add_argument("--keep", type=Path, help="folder of the database; built where it is empty")
    parser.add_argument("--only", default="", help="measure pages whose name has this in it")
    parser.add_argument("--limit", type=int, help="milliseconds that no page may take")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    configure_logs(level="warning")
    size = nation.Size(options.events, options.accounts)
    with _folder(options.keep) as folder:
        built = folder / "built.json"
        fresh = not built.exists()
        server = EmbeddedPostgres(folder / "postgres", fsync=False, settings=_SERVER)
        with server as url:
            database = Database(url, pool_size=4)
            if fresh:
                began = time.monotonic()
                nation.build(
                    database,
                    server.admin_url,
                    size,
                    tell=lambda said: print(
                        f"{time.monotonic() - began:7.0f} s  {said}", flush=True
                    ),
                )
                built.write_text(json.dumps({"events": size.events, "accounts": size.accounts}))
            # A nation that was kept may be of an older version.
            upgrade(url)
            _measure(database, folder, options)
            database.dispose()


# Enough memory for its indexes, as the operator's guide says; the machine here has 24 GB.
_SERVER = ("shared_buffers=2GB", "effective_cache_size=8GB", "max_wal_size=8GB")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        keep.chmod(0o755)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="paygo-pages-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def _measure(database: Database, folder: Path, options: argparse.Namespace) -> None:
    settings = Settings.from_environment({"PAYGO_DATA_DIR": str(folder / "data")})
    app = create_app(settings, database, clock=lambda: nation.NOW, jobs=ALL_JOBS)
    app.testing = True
    browsers = _browsers(app, database)
    counter = Statements(database)
    limit = options.limit or (DEMO_MS if options.accounts <= 300 else LATER_MS)
    with database.snapshot() as session:
        counts = session.execute(
            text(
                "SELECT (SELECT sum(reltuples) FROM pg_class WHERE relname ~ '^usage_events_2'"
                " AND relkind = 'r'), (SELECT reltuples FROM pg_class WHERE relname = 'readings'),"
                " (SELECT count(*) FROM accounts), (SELECT reltuples FROM pg_class"
                " WHERE relname = 'charges'), (SELECT reltuples FROM pg_class"
                " WHERE relname = 'invoices'), pg_database_size(current_database()) / 1000000000.0"
            )
        ).one()
    events, readings, accounts, charges, invoices, gigabytes = counts
    print(
        f"{events:,.0f} events, {readings:,.0f} readings, {accounts:,} accounts,"
        f" {charges:,.0f} charges, {invoices:,.0f} invoices, {gigabytes:.1f} GB; bound {limit} ms"
    )
    found = []
    print(
        f"{'page':44} {'who':8} {'first':>7} {'p50':>7} {'worst':>7}"
        f" {'cpu':>5} {'pgcpu':>5} {'sql':>4} {'kB':>6}"
    )
    for name, path, who in _pages(database):
        if options.only not in name:
            continue
        page = _time(browsers[who], counter, name, path, who, options.times)
        found.append(page)
        breaks = " <--" if page.worst > limit or page.status != 200 else ""
        print(
            f"{name:44} {who:8} {page.first:7.0f} {page.middle:7.0f} {page.worst:7.0f}"
            f" {page.processor:5.0f} {page.postgres:5.0f} {page.statements:4}"
            f" {page.size / 1000:6.0f}{breaks}",
            flush=True,
        )
        if breaks:
            print(f"      {page.status} {path} {page.slowest_ms:.0f} ms: {page.slowest[:300]}")
        if options.only:
            for statement, count in sorted(counter.by_text.items(), key=lambda one: -one[1]):
                print(f"      {count} x {' '.join(statement.split())[:200]}")
    over = [page for page in found if page.worst > limit]
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{len(found)} pages, {len(over)} over {limit} ms;"
        f" at most {max(page.statements for page in found)} statements;"
        f" {used.ru_utime + used.ru_stime:.0f} s of this process, {used.ru_maxrss / 1000:.0f} MB"
    )
    if options.json:
        options.json.write_text(json.dumps([vars(page) for page in found], indent=2))


def _time(
    client: FlaskClient, counter: Statements, name: str, path: str, who: str, times: int
) -> Page:
    took, used = [], []
    database = children_processor()
    for _ in range(times + 1):
        counter.reset()
        began, before = time.perf_counter(), time.process_time()
        answer = client.get(path, follow_redirects=False)
        took.append((time.perf_counter() - began) * 1e3)
        used.append((time.process_time() - before) * 1e3)
        length = len(answer.data)
        if took[0] > 20_000:
            break
    later = took[1:] or took
    of_database = (children_processor() - database) * 1e3 / len(took)
    return Page(
        name,
        path,
        who,
        answer.status_code,
        took[0],
        statistics.median(later),
        max(later),
        statistics.median(used),
        of_database,
        counter.count,
        counter.slowest,
        counter.slowest_ms,
        length,
    )


def _browsers(app: Flask, database: Database) -> dict[str, FlaskClient]:
    """Return a browser for each role, signed in."""
    emails = {"trust": "finance", "central": "analyst", "approver": "approver"}
    emails |= {"admin": "admin", "service": "archive"}
    browsers = {}
    with database.transaction() as session:
        ids = loading.ids_of_people(session)
        for who, name in emails.items():
            token = access.start_session(
                session, now=nation.NOW, user_id=ids[f"{name}@demo.example"]
            )
            browsers[who] = app.test_client()
            browsers[who].set_cookie("paygo_session", token)
    return browsers


def _pages(database: Database) -> Iterator[tuple[str, str, str]]:
    """Yield the name, path and reader of every main page, of things that there are."""
    code = chosen_trusts(Plan(nation.FIRST, trust_count=1))[0].ods_code
    with database.snapshot() as session:

        def one(statement: str) -> Any:
            return session.scalar(text(statement), {"code": code, "month": nation.LAST.first_day})

        mine = "(SELECT a.id FROM accounts a JOIN organisations o ON o.id = a.organisation_id"
        mine += " WHERE o.ods_code = :code)"
        account = one(f"SELECT {mine}")
        invoice = one(
            f"SELECT id FROM invoices WHERE account_id = {mine} AND month = :month LIMIT 1"
        )
        source = one("SELECT id FROM sources WHERE code = 'imaging-archive'")
        line = one("SELECT id FROM bank_lines WHERE identified <> amount ORDER BY id LIMIT 1")
        paid = session.execute(
            text("SELECT account_id, id FROM payments ORDER BY received_on DESC LIMIT 1")
        ).first()
        version = one("SELECT id FROM tariff_versions WHERE tariff_code = 'imaging-archive'")
        refused = one("SELECT id FROM quarantined_events WHERE status = 'open' LIMIT 1")
        key = one(
            "SELECT event_key FROM usage_events WHERE period_month = :month AND subject_id ="
            " (SELECT id FROM organisations WHERE ods_code = :code) LIMIT 1"
        )
        origin = one(
            "SELECT s.code FROM usage_events e JOIN sources s ON s.id = e.source_id"
            " WHERE period_month = :month AND subject_id ="
            " (SELECT id FROM organisations WHERE ods_code = :code) LIMIT 1"
        )
        meter = one(
            "SELECT m.code FROM readings r JOIN meters m ON m.id = r.meter_id WHERE r.subject_id ="
            " (SELECT id FROM organisations WHERE ods_code = :code) ORDER BY r.event_count DESC"
            " LIMIT 1"
        )
    day = nation.LAST.first_day.replace(day=15)
    last, current = str(nation.LAST), str(nation.LAST.shift(1))
    portal, console = f"/portal/{code}", "/console"
    for name, path in {
        "overview": "/",
        "invoices": "/invoices",
        "invoices.csv": "/invoices.csv",
        "invoice": f"/invoices/{invoice}",
        "invoice pdf": f"/invoices/{invoice}/documents/pdf",
        "usage": f"/usage?month={last}",
        "usage by day": f"/usage?month={last}&by=day",
        "usage this month": f"/usage?month={current}",
        "usage.csv": f"/usage.csv?month={last}",
        "usage of a day by hour": f"/usage?meter={meter}&day={day}&view=hour",
        "events": f"/usage/events?meter={meter}&day={day}",
        "events page 4": f"/usage/events?meter={meter}&day={day}&page=4",
        "event": f"/usage/events/{origin}/{last}/{key}",
        "prices": "/prices",
        "calculator": "/prices/imaging-archive",
        "budgets": "/budgets",
        "cost centres": "/cost-centres",
        "notifications": "/notifications",
        "queries": "/queries",
        "statement": "/statement",
        "statement.csv": "/statement.csv",
    }.items():
        yield f"portal: {name}", portal + path, "trust"
    for name, path in {
        "portal home": "/portal/",
        "trust overview": f"/portal/{code}/",
        "overview": "/",
        "accounts": "/accounts",
        "accounts found": "/accounts?search=leeds",
        "account": f"/accounts/{account}",
        "tariffs": "/tariffs",
        "tariff": "/tariffs/imaging-archive",
        "tariff version": f"/tariffs/versions/{version}",
        "effect": f"/tariffs/versions/{version}/effect",
        "month ends": "/month-ends",
        "board": f"/month-ends/{last}",
        "run account": f"/month-ends/{last}/accounts/{account}",
        "reconciliation": f"/reconciliation?month={last}",
        "reconciliation now": f"/reconciliation?month={current}",
        "manifests": "/reconciliation/manifests",
        "unpriced": "/reconciliation/unpriced",
        "quarantine": "/quarantine",
        "refused event": f"/quarantine/{refused}",
        "queries": "/queries",
        "jobs": "/jobs",
        "job": "/jobs/roll-up",
        "services": "/services",
        "service": f"/services/{source}",
        "service refused": f"/services/{source}/refused",
        "money": "/money",
        "bank": "/money/bank",
        "bank imports": "/money/bank/imports",
        "bank line": f"/money/bank/lines/{line}",
        "aged debt": "/money/debt",
        "account money": f"/money/debt/accounts/{account}",
        "trial balance": "/money/ledger",
        "journal": "/money/ledger/journal",
        "prompt payment": "/money/ledger/prompt-payment",
        "settlement": "/money/ledger/settlement",
        "payments": "/money/payments",
        "payment": f"/money/payments/{paid[0]}/{paid[1]}" if paid else "/money/payments",
        "refunds": "/money/refunds",
        "reminders": "/money/reminders",
        "stripe": "/money/stripe",
    }.items():
        yield (
            f"console: {name}",
            path if path.startswith("/portal") else console + path,
            "central",
        )
    for name, path in {
        "users": "/users",
        "users found": "/users?search=person12",
        "audit": "/console/audit",
        "audit entry": "/console/audit/100",
        "audit proof": "/console/audit/proof",
        "metrics": "/metrics",
        "readyz": "/readyz",
        "profile": "/profile",
    }.items():
        yield f"admin: {name}", path, "admin"
    for name, path in {
        "services": "/console/services",
        "service": f"/console/services/{source}",
        "posting": f"/console/services/{source}/posting",
        "refused": f"/console/services/{source}/refused",
    }.items():
        yield f"service: {name}", path, "service"


if __name__ == "__main__":
    main()
