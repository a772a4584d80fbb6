"""A nation in a database, for benchmarks of pages: organisations, a year of money, many events.

A few dozen trusts with six hosted services are made by the operations that people use: a
year of month ends, with invoices, payments, forecasts and accruals. Then every row of theirs is
copied in SQL, under other ids, until there are as many accounts as were asked for; and every
reading gets its events. The largest trust is not copied: alone it has a sixteenth of all events.
"""

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zlib import crc32

import psycopg
from sqlalchemy import select

from billing import jobs
from billing.budgets.operations import set_budget
from billing.charges.operations import rate_charges
from billing.charges.queries import sum_of_charges
from billing.charges.tables import MonthRatingRow
from billing.demo import catalogue, loading, month_end, usage
from billing.demo.usage import Plan
from billing.invoices.supplier import supplier_of
from billing.invoices.tables import InvoiceRow
from billing.payments import jobs as payment_jobs
from billing.payments.bank.imports import import_statement
from billing.payments.bank.model import Statement, StatementLine
from billing.runs.services import service_sums
from billing.runs.tables import BillRunRow
from billing.schema import metadata
from metering.events import partitions
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from metering.meters.operations import dimension_set_id
from metering.meters.queries import by_code
from metering.organisations.queries import by_ods_code
from metering.periods import Month

FIRST, LAST = Month(2026, 4), Month(2027, 3)
"""The months that are invoiced; the one after them is going on."""
NOW = datetime(2027, 4, 28, 10, 0, tzinfo=UTC)
SUPPLIER = {"PAYGO_DATA_DIR": "/nonexistent"}
# Of an account's events a reading has about so many.
_EVENTS_A_READING = 5
_LARGEST = 16
_QUANTITY = 3
_APART = 1_000_000


@dataclass(frozen=True)
class Size:
    """How large the nation is.

    Attributes:
        events: rows of `usage_events`, about.
        accounts: organisations that pay.
        made: of them, how many are made by operations; the others are their copies.
    """

    events: int
    accounts: int
    made: int = 50

    @property
    def copies(self) -> int:
        """How many times all but the largest of the accounts made are copied."""
        return max(0, self.accounts - self.made) // max(1, self.made - 1)


def build(database: Database, admin_url: str, size: Size, *, tell: Any = print) -> None:
    """Fill an empty database; returns when it is analysed.

    Args:
        admin_url: the same database as superuser: copies are made without triggers.
    """
    upgrade(database.url)
    tell("trusts, services, prices, people")
    _load(database, size)
    months = [FIRST.shift(number) for number in range(13)]
    partitions.ensure(database, months=months)
    tell("readings and events of the trusts that are made")
    _use(database, size)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        _store_events(connection, "true")
        for month in months[:-1]:
            tell(f"month end of {month}")
            _close(database, month)
        tell("this month")
        _open_month(database)
        tell(f"copying {size.copies} times")
        copy_accounts(connection, size.copies)
        tell("events of the copies")
        _store_events(connection, f"subject_id > {_APART}")
        _fill_rest(connection, size)
        tell("analysing")
        connection.execute("VACUUM (ANALYZE)")
    _sum_again(database)


def _sum_again(database: Database) -> None:
    """Keep what months and runs come to with the copies, as they do of whoever they charge."""
    with database.transaction() as session:
        for rating in session.scalars(select(MonthRatingRow)).all():
            rating.amount = sum_of_charges(session, month=Month.of_day(rating.month))
        for run in session.scalars(select(BillRunRow)).all():
            run.services = [item.to_json() for item in service_sums(session, run_id=run.id)]


def _load(database: Database, size: Size) -> None:
    start = FIRST.period.start
    plan = Plan(FIRST, trust_count=size.made)
    services = catalogue.services()
    with database.transaction() as session:
        loading.register_bodies(session, now=start)
        for service in services:
            loading.register_service(session, service=service, now=start)
            loading.price_service(session, service=service, month=FIRST, now=start)
        for body in usage.chosen_trusts(plan):
            account_id = loading.open_account(
                session, body=body, services=services, month=FIRST, now=start
            )
            set_budget(
                session,
                account_id=account_id,
                per="financial-year",
                amount=Decimal("600000.00"),
                principal="usr_editor",
                now=start,
            )
        for person in loading.people(plan):
            loading.make_person(session, person=person, password="correct-horse-9", now=start)


def _use(database: Database, size: Size) -> None:
    """Write the readings of the accounts that are made, by COPY."""
    plan = Plan(FIRST, trust_count=size.made)
    services = catalogue.services()
    days = (LAST.shift(1).first_day - FIRST.first_day).days + NOW.day - 1
    each = max(1, size.events * (_LARGEST - 1) // _LARGEST // size.accounts)
    with database.transaction() as session:
        rows = []
        kinds_of = {
            body: [
                (by_code(session, code=meter.code), stream)
                for service in services
                if usage.is_used_by(service, body)
                for stream in service.streams
                for meter in service.meters
                if meter.event_type == stream.event_type
            ]
            for body in usage.chosen_trusts(plan)
        }
        usual = sum(map(len, kinds_of.values())) / len(kinds_of)
        gap = max(1, round(days * usual * _EVENTS_A_READING / each))
        for rank, (body, kinds) in enumerate(kinds_of.items()):
            subject = by_ods_code(session, ods_code=body.ods_code).id
            whole = size.events // _LARGEST // max(1, days * len(kinds))
            for meter, stream in kinds:
                dims = {k: v for k, v in stream.dimensions.items() if k in meter.dimensions}
                where = dimension_set_id(session, dimensions=dims)
                for day in range(days):
                    drawn = crc32(f"{body.ods_code} {meter.code} {dims} {day}".encode())
                    if rank and drawn % gap:
                        continue
                    count = max(1, whole) if rank == 0 else 1 + drawn % (2 * _EVENTS_A_READING - 1)
                    rows.append((subject, meter.id, FIRST.first_day + timedelta(day), where, count))
    together: dict[tuple[int, int, date, int], int] = {}
    for subject, meter_id, on, where, count in rows:
        key = (subject, meter_id, on, where)
        together[key] = together.get(key, 0) + count
    with psycopg.connect(_libpq(database.url)) as connection:
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "COPY readings (subject_id, meter_id, used_on, dimension_set_id, hour, quantity,"
                " event_count, updated_at) FROM STDIN"
            ) as copy,
        ):
            for (subject, meter_id, on, where), count in together.items():
                copy.write_row((subject, meter_id, on, where, -1, count * _QUANTITY, count, NOW))
        connection.commit()


# Keys in order of making, as the SDK's are. Events lie in the hours of a working day.
_EVENTS = """
INSERT INTO usage_events (period_month, subject_id, source_id, meter_id, dimension_set_id, kind,
    event_key, occurred_at, received_at, quantity, batch_id)
SELECT date_trunc('month', r.used_on)::date, r.subject_id, m.source_id, r.meter_id,
    r.dimension_set_id, 0,
    (lpad(to_hex(r.subject_id), 8, '0') || lpad(to_hex(r.used_on - '2026-01-01'), 4, '0')
        || lpad(to_hex(r.meter_id), 4, '0') || lpad(to_hex(r.dimension_set_id), 6, '0')
        || lpad(to_hex(n), 10, '0'))::uuid,
    (r.used_on + interval '8 hours' + n * interval '36000 seconds' / (r.event_count + 1))
        AT TIME ZONE 'Europe/London',
    (r.used_on + interval '19 hours') AT TIME ZONE 'Europe/London',
    r.quantity / r.event_count,
    (lpad(to_hex(r.used_on - '2026-01-01'), 8, '0') || lpad(to_hex(m.source_id), 8, '0')
        || lpad(to_hex(r.subject_id / 100), 16, '0'))::uuid
FROM readings r JOIN meters m ON m.id = r.meter_id
CROSS JOIN LATERAL generate_series(1, r.event_count) AS n
WHERE r.used_on >= %s AND r.used_on < %s AND {where}
ORDER BY r.subject_id, r.meter_id, r.used_on
"""
_KEYS = """
INSERT INTO event_keys (source_id, event_key, fingerprint, occurred_at)
SELECT source_id, event_key, event_key, occurred_at FROM usage_events
WHERE period_month = %s AND {where} ORDER BY source_id, event_key
"""
_BATCHES = """
INSERT INTO ingest_batches (id, source_id, received_at, received, accepted, duplicate, conflict,
    rejected, claimed_at)
SELECT batch_id, source_id, min(received_at), count(*), count(*), 0, 0, 0, min(received_at)
FROM usage_events WHERE period_month = %s AND {where} GROUP BY batch_id, source_id
ON CONFLICT DO NOTHING
"""


def _store_events(connection: psycopg.Connection[Any], where: str) -> None:
    month = FIRST
    while month <= LAST.shift(1):
        first, end = month.first_day, month.end_day
        connection.execute(
            _EVENTS.format(where=where.replace("subject", "r.subject")), (first, end)
        )
        for statement in (_KEYS, _BATCHES):
            connection.execute(statement.format(where=where), (first,))
        month = month.shift(1)


def _close(database: Database, month: Month) -> None:
    """Invoice a month, clear it, and have most of what was due before paid."""
    at = month.shift(1).period.start + timedelta(days=5)
    ids = {}
    with database.snapshot() as session:
        ids = loading.ids_of_people(session)
    month_end.close_month(
        database,
        month=month,
        supplier=supplier_of(Settings.from_environment(SUPPLIER)),
        starter=ids["analyst@demo.example"],
        approver=ids["approver@demo.example"],
        clock=lambda: at,
    )
    payment_jobs.clear(database, now=at)
    with database.snapshot() as session:
        issued = session.execute(
            select(InvoiceRow.number, InvoiceRow.total).where(
                InvoiceRow.month == month.first_day, InvoiceRow.kind == "invoice"
            )
        ).all()
    draw = random.Random(str(month))
    lines = tuple(
        StatementLine(
            booked_on=(at + timedelta(days=20)).date(),
            amount=total,
            reference=str(number) if draw.random() < 0.97 else "NHS PAYMENT",
            counterparty="An NHS trust",
            bank_reference=f"{month}-{place}",
        )
        for place, (number, total) in enumerate(issued)
        if total > 0 and draw.random() < 0.85
    )
    if lines:
        with database.transaction() as session:
            import_statement(
                session,
                statement=Statement(
                    bank_account="GB33BUKB20201555555555", format="csv", lines=lines
                ),
                content=str(month).encode(),
                file_name=f"{month}.csv",
                principal="usr_clerk",
                now=at + timedelta(days=21),
            )
        payment_jobs.clear(database, now=at + timedelta(days=21))


def _open_month(database: Database) -> None:
    jobs.make_documents(database, now=NOW)
    with database.transaction() as session:
        rate_charges(session, month=Month.of(NOW), now=NOW)
    jobs.forecast(database, now=NOW)
    jobs.take_accruals(database, now=LAST.shift(1).period.start + timedelta(days=1, hours=12))


# Which columns name something of one account, so that a copy needs a name of its own.
_OWN = frozenset(
    "account_id id invoice_id document_id payment_id credit_note_id undoes budget_id charge_id"  # noqa: SIM905 - names read better in prose
    " endpoint_id subscription_id announcement_id dispute_id bank_line_id entry_id reverses_id"
    " credits_invoice_id credits_document_id successor_id idempotency_key delivery_id line_key"
    " stripe_id source_ref number".split()
)
_NUMBERED = {"invoices", "issued_numbers", "receivables"}
_FROM = {
    "organisations": "id IN (SELECT organisation_id FROM accounts)",
    "accounts": "true",
    "readings": "true",
    "deliveries": "announcement_id IN (SELECT id FROM announcements WHERE account_id IS NOT NULL)",
    "ledger_entries": "id IN (SELECT entry_id FROM ledger_postings WHERE account_id IS NOT NULL)",
    "ledger_postings": "entry_id IN (SELECT entry_id FROM ledger_postings"
    " WHERE account_id IS NOT NULL)",
    "bank_lines": "id IN (SELECT bank_line_id FROM bank_line_uses WHERE account_id IS NOT NULL)",
}


def copy_accounts(connection: psycopg.Connection[Any], copies: int) -> None:
    """Copy what belongs to each account but the largest, under other ids.

    Args:
        connection: a superuser's, in a session in which no trigger fires.
    """
    connection.execute(
        "CREATE TEMPORARY TABLE largest AS SELECT a.id AS account_id, a.organisation_id"
        " FROM accounts a ORDER BY (SELECT sum(event_count) FROM readings"
        " WHERE subject_id = a.organisation_id) DESC NULLS LAST LIMIT 1"
    )
    skipped = {
        "organisations": "id NOT IN (SELECT organisation_id FROM largest)",
        "accounts": "id NOT IN (SELECT account_id FROM largest)",
        "readings": "subject_id NOT IN (SELECT organisation_id FROM largest)",
    }
    # Everything is read before anything is written: a copy is not copied again.
    tables = [table for table in metadata.sorted_tables if "account_id" in table.c]
    tables += [
        metadata.tables[name] for name in _FROM if "account_id" not in metadata.tables[name].c
    ]
    for table in tables:
        name = table.name
        if name in {"user_roles", "parked_usage"}:
            continue
        where = _FROM.get(name, "account_id IS NOT NULL")
        if name in skipped:
            where += f" AND {skipped[name]}"
        elif "account_id" in table.c and name != "ledger_postings":
            where += " AND account_id NOT IN (SELECT account_id FROM largest)"
        connection.execute(
            f"CREATE TEMPORARY TABLE made_{name} AS SELECT * FROM {name} WHERE {where}"
        )
    for table in tables:
        name = table.name
        if name in {"user_roles", "parked_usage"}:
            continue
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        chosen = ", ".join(_copied(name, column.name) for column in table.columns)
        connection.execute(
            f"INSERT INTO {name} ({columns}) SELECT {chosen} FROM made_{name}"
            " CROSS JOIN generate_series(1, %s) AS k",
            (copies,),
        )


def _copied(table: str, column: str) -> str:
    quoted = f'"{column}"'
    if (table, column) in {
        ("readings", "subject_id"),
        ("organisations", "id"),
        ("accounts", "organisation_id"),
        ("issued_numbers", "sequence"),
    }:
        return f"{quoted} + k * {_APART}"
    if (table, column) == ("organisations", "ods_code"):
        return f"{quoted} || upper(lpad(to_hex(k), 3, '0'))"
    if table in {"organisations", "accounts"} and column == "name":
        return f"{quoted} || ' ' || k"
    if (table, column) == ("documents", "content"):
        return "substr(content, 1, 64)"
    if column == "number" and table not in _NUMBERED:
        return quoted
    if column in _OWN or (column == "subject_id" and table != "readings"):
        return f"{quoted} || 'x' || k"
    return quoted


def _fill_rest(connection: psycopg.Connection[Any], size: Size) -> None:
    """People, sessions, acts, runs of jobs, refused events: what a year leaves behind."""
    connection.execute(
        "INSERT INTO users (id, email, name, password_hash, created_at)"
        " SELECT 'usr_n' || n, 'person' || n || '@example.nhs.uk', 'Person ' || n, 'x', now()"
        " FROM generate_series(1, %s) AS n",
        (2 * size.accounts,),
    )
    connection.execute(
        "INSERT INTO user_roles (id, user_id, role, account_id, granted_at, granted_by)"
        " SELECT 'rol_' || u.id, u.id, 'finance-viewer', a.id, now(), 'benchmark'"
        " FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM accounts) AS a"
        " JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users"
        " WHERE id LIKE 'usr_n%%') AS u ON a.n IN (u.n, u.n - %s)",
        (size.accounts,),
    )
    connection.execute(
        "INSERT INTO sessions (token_sha256, user_id, started_at, last_seen_at)"
        " SELECT md5(n::text), 'usr_n' || (1 + n %% %s), %s - n * interval '1 minute',"
        " %s - n * interval '1 minute' FROM generate_series(1, 30000) AS n",
        (2 * size.accounts, NOW, NOW),
    )
    connection.execute(
        "INSERT INTO audit_entries (position, at, principal, action, object_kind, object_id,"
        " facts, previous_seal, seal)"
        " SELECT last + n, %s - (200000 - n) * interval '2 minutes', 'usr_n' || n %% 500,"
        " (ARRAY['issue invoice', 'record payment', 'change account'])[1 + n %% 3],"
        " (ARRAY['invoice', 'payment', 'account'])[1 + n %% 3], 'obj_' || n,"
        """ '{"amount": "12.00"}', md5(n::text), md5((n + 1)::text)"""
        " FROM (SELECT max(position) AS last FROM audit_entries) AS a,"
        " generate_series(1, 200000) AS n",
        (NOW,),
    )
    connection.execute(
        "INSERT INTO job_runs (id, job, started_at, finished_at, outcome, counts, started_by)"
        " SELECT 'jrn_n' || lpad(n::text, 9, '0'), (ARRAY['roll-up', 'rate-month-to-date',"
        " 'make-documents', 'reconcile'])[1 + n %% 4], %s - n * interval '3 minutes',"
        " %s - n * interval '3 minutes' + interval '2 seconds', 'succeeded',"
        """ '{"accounts": 1}', 'benchmark' FROM generate_series(1, 60000) AS n""",
        (NOW, NOW),
    )
    connection.execute(
        "INSERT INTO quarantined_events (id, source_id, batch_id, received_at, event_id, fate,"
        " code, pointer, detail, body, status)"
        " SELECT md5(s.id || ' ' || n)::uuid, s.id, md5(n::text)::uuid,"
        " %s - n * interval '4 minutes',"
        " 'refused-' || n, 'rejected', (ARRAY['subject-unknown', 'time-too-old'])[1 + n %% 2],"
        """ '/subject', 'No such organisation', '{"id": "1"}',"""
        " CASE WHEN n %% 4 = 0 THEN 'open' ELSE 'dismissed' END"
        " FROM sources s, generate_series(1, 20000) AS n",
        (NOW,),
    )


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
