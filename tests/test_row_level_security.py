"""The database repeats the tenant rule. These tests go past the application, with bare SQL."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, IntegrityConstraintViolation
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from billing.access.model import Permission, Principal
from billing.schema import metadata
from metering.kit.db import Database, Scope, sqlalchemy_url
from metering.kit.roles import PORTAL, ROLES, RolesMissing, make_roles
from tests import trusts, web
from tests.trusts import Shown

BY_ACCOUNT = {"accounts": "id"} | {
    name: "account_id" for name, table in metadata.tables.items() if "account_id" in table.c
}
USAGE = ("readings", "usage_events")
# Rows that name no trust; each is narrowed by a rule of its own.
OTHER_RULES = {
    "bundle_parts",
    "deliveries",
    "delivery_attempts",
    "ledger_entries",
    "pool_totals",
    "tariff_versions",
}
# The same for everybody, and nothing in them is anybody's secret.
OPEN_TO_ALL = {
    "accruals_taken",
    "archived_months",
    "cache_versions",
    "dimension_sets",
    "meters",
    "month_ratings",
    "organisations",
    "sources",
    "successions",
    "tariffs",
    # No subject: of use only with the key of an event, and events are narrowed.
    "event_withdrawals",
}
SECRET = (
    "users",
    "user_roles",
    "sessions",
    "sign_in_attempts",
    "service_keys",
    "idempotency_keys",
    "bank_lines",
    "quarantined_events",
)


def run(connection: psycopg.Connection[Any], statement: str, *values: str) -> psycopg.Cursor[Any]:
    return connection.execute(statement.encode(), values or None)


@contextmanager
def as_role(url: str, scope: Scope | None) -> Iterator[psycopg.Connection[Any]]:
    """Open a connection of psycopg alone, narrowed, whose work is thrown away."""
    with psycopg.connect(url) as connection:
        if scope is not None:
            connection.execute(scope.statements.encode())
        yield connection
        connection.rollback()


def test_a_cluster_is_told_to_tell_its_workers_who_asks() -> None:
    """First of all: what is set before it stays on the coordinator."""
    said = Scope(PORTAL, {"paygo.accounts": "acc_1"}).statements.split("; ")
    assert said == [
        "SET LOCAL citus.propagate_set_commands = 'local'",
        "SET LOCAL ROLE paygo_portal",
        "SET LOCAL paygo.accounts = 'acc_1'",
    ]


@pytest.fixture(scope="session")
def url(shown: Shown) -> str:
    with shown.app.app_context():
        made = web.edge().database.engine.url
    return made.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def mine(shown: Shown, url: str) -> Scope:
    account_id = shown.account_ids[trusts.ODS]
    with psycopg.connect(url) as connection:
        found = run(connection, "SELECT organisation_id FROM accounts WHERE id = %s", account_id)
        row = found.fetchone()
    assert row is not None
    return Scope(PORTAL, {"paygo.accounts": account_id, "paygo.subjects": str(row[0])})


def may(connection: psycopg.Connection[Any], role: str, table: str, privilege: str) -> bool:
    """Return whether a role has a privilege on the whole table or on a column of it."""
    asked = "table" if privilege in {"DELETE", "TRUNCATE"} else "any_column"
    found = run(connection, f"SELECT has_{asked}_privilege(%s, %s, %s)", role, table, privilege)
    return bool(found.fetchone()[0])  # type: ignore[index]  # always one row


def test_every_tenant_table_has_a_rule_of_its_own(url: str) -> None:
    """A new table with `account_id` needs `SELECT paygo_share('…', 'SELECT')` in its migration."""
    with psycopg.connect(url) as connection:
        ruled = dict(
            run(
                connection,
                "SELECT tablename, qual FROM pg_policies"
                " JOIN pg_class ON relname = tablename AND relrowsecurity"
                " WHERE 'paygo_portal' = ANY (roles) AND cmd = 'ALL'",
            )
        )
    for name, column in BY_ACCOUNT.items():
        assert name in ruled, f"{name} has no policy for {PORTAL}"
        assert f"({column} = ANY" in ruled[name]
        assert "paygo.accounts" in ruled[name]
    for name in USAGE:
        assert "(subject_id = ANY" in ruled[name]
    assert ruled.keys() == BY_ACCOUNT.keys() | set(USAGE) | OTHER_RULES


def test_what_has_no_rule_is_open_to_all_or_closed(url: str) -> None:
    with psycopg.connect(url) as connection:
        readable = {name for name in metadata.tables if may(connection, PORTAL, name, "SELECT")}
        audit = connection.execute(
            "SELECT column_name FROM information_schema.column_privileges"
            " WHERE grantee = 'paygo_portal' AND table_name = 'audit_entries'"
            " AND privilege_type = 'SELECT'"
        ).fetchall()
    assert readable - BY_ACCOUNT.keys() - set(USAGE) - OTHER_RULES == OPEN_TO_ALL | {
        "audit_entries"
    }
    assert {name for (name,) in audit} == {"position", "seal"}


def test_a_trust_sees_all_of_its_own_rows_and_no_other(url: str, mine: Scope) -> None:
    account_id, subject = mine.settings["paygo.accounts"], int(mine.settings["paygo.subjects"])
    compared = 0
    rules = [(name, column, account_id) for name, column in BY_ACCOUNT.items()]
    for name, column, key in [*rules, *((name, "subject_id", subject) for name in USAGE)]:
        with as_role(url, None) as owner, as_role(url, mine) as narrowed:
            if not may(owner, PORTAL, name, "SELECT"):
                continue
            counts = dict(run(owner, f"SELECT {column}, count(*) FROM {name} GROUP BY 1"))
            seen = dict(run(narrowed, f"SELECT {column}, count(*) FROM {name} GROUP BY 1"))
        assert seen == ({key: counts[key]} if key in counts else {}), name
        compared += len(counts) > 1 and key in counts
    # Otherwise the story is too poor to show anything.
    assert compared >= 8


def test_rows_that_name_no_trust_are_narrowed_too(url: str, mine: Scope) -> None:
    with as_role(url, None) as owner, as_role(url, mine) as narrowed:
        entries = {row[0] for row in narrowed.execute("SELECT id FROM ledger_entries")}
        own = run(
            owner,
            "SELECT DISTINCT entry_id FROM ledger_postings WHERE account_id = %s",
            mine.settings["paygo.accounts"],
        )
        assert entries == {row[0] for row in own}
        assert entries


def test_deliveries_are_seen_by_whose_news_they_carry(url: str, shown: Shown, mine: Scope) -> None:
    other = shown.account_ids[trusts.OTHER_ODS]
    with as_role(url, None) as connection:
        for account_id in (mine.settings["paygo.accounts"], other):
            run(
                connection,
                "INSERT INTO announcements (id, kind, subject_id, account_id, facts,"
                " announced_at) VALUES (%s, 'invoice.paid', %s, %s, '{}', now())",
                f"ann_{account_id}",
                f"inv_{account_id}",
                account_id,
            )
            run(
                connection,
                "INSERT INTO deliveries (id, announcement_id, channel, receiver, status, attempts,"
                " tries, due_at, created_at) VALUES (%s, %s, 'email', 'a@x.example', 'dead', 1, 1,"
                " now(), now())",
                f"del_{account_id}",
                f"ann_{account_id}",
            )
            run(
                connection,
                "INSERT INTO delivery_attempts (delivery_id, number, started_at)"
                " VALUES (%s, 1, now())",
                f"del_{account_id}",
            )
        run(connection, mine.statements)
        own = f"del_{mine.settings['paygo.accounts']}"
        assert own in {row[0] for row in connection.execute("SELECT id FROM deliveries")}
        for name, column in (("deliveries", "id"), ("delivery_attempts", "delivery_id")):
            seen = {row[0] for row in run(connection, f"SELECT {column} FROM {name}")}
            assert own in seen
            assert f"del_{other}" not in seen
        sent = run(connection, "UPDATE deliveries SET status = 'waiting' WHERE id = %s", own)
        assert sent.rowcount == 1
        others = "UPDATE deliveries SET status = 'waiting' WHERE id = %s"
        assert run(connection, others, f"del_{other}").rowcount == 0


@pytest.mark.parametrize("scope", [Scope(PORTAL), Scope(PORTAL, {"paygo.accounts": ""})])
def test_without_a_trust_nothing_is_seen(url: str, scope: Scope) -> None:
    with as_role(url, scope) as narrowed:
        for name in (*BY_ACCOUNT, *USAGE, "ledger_entries"):
            if may(narrowed, PORTAL, name, "SELECT"):
                assert run(narrowed, f"SELECT count(*) FROM {name}").fetchone() == (0,), name


@pytest.mark.parametrize("name", SECRET)
@pytest.mark.parametrize("role", ROLES)
def test_no_secret_can_be_read(url: str, role: str, name: str) -> None:
    with as_role(url, Scope(role)) as narrowed, pytest.raises(InsufficientPrivilege):
        run(narrowed, f"SELECT 1 FROM {name}")


def test_rows_of_others_cannot_be_written(url: str, shown: Shown, mine: Scope) -> None:
    other = shown.account_ids[trusts.OTHER_ODS]
    insert = (
        "INSERT INTO allocation_rules (account_id, id, dimensions, selector, starts_on, shares,"
        " created_at) VALUES (%s, 'alr_1', '{}', '{}', '2026-04-01', '[1]', now())"
    )
    with as_role(url, mine) as narrowed:
        run(narrowed, insert, mine.settings["paygo.accounts"])
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            run(narrowed, insert, other)
    with as_role(url, None) as connection:
        run(connection, insert, other)
        run(connection, mine.statements)
        assert run(connection, "UPDATE allocation_rules SET shares = '[2]'").rowcount == 0
        run(connection, "RESET ROLE")
        left = run(connection, "SELECT account_id, shares FROM allocation_rules").fetchall()
    assert left == [(other, [1])]


def test_only_approved_prices_and_pools_of_ones_own_are_seen(url: str, mine: Scope) -> None:
    with as_role(url, None) as connection:
        run(
            connection,
            "INSERT INTO tariff_versions (id, tariff_code, version, status, effective_from,"
            " content, author, created_at) SELECT 'tv_draft', tariff_code, 'next', 'draft',"
            " effective_from + 365, content, author, created_at FROM tariff_versions LIMIT 1",
        )
        for scope, group in (("pool", ""), ("group", "QK1")):
            run(
                connection,
                "INSERT INTO pool_totals SELECT (jsonb_populate_record(p, %s)).* FROM pool_totals"
                " AS p LIMIT 1",
                json.dumps({"scope": scope, "group_code": group, "price_key": "another"}),
            )
        run(connection, mine.statements)
        drafts = run(connection, "SELECT 1 FROM tariff_versions WHERE status = 'draft'")
        assert drafts.fetchall() == []
        pools = run(connection, "SELECT DISTINCT scope FROM pool_totals").fetchall()
        assert pools == [("pool",)]


@pytest.mark.parametrize("role", ROLES)
def test_history_cannot_be_changed_by_grant(url: str, role: str) -> None:
    with psycopg.connect(url) as connection:
        append_only = {
            row[0]
            for row in connection.execute(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
                " WHERE tgname = 'append_only'"
            )
        }
        assert {"usage_events", "event_keys", "audit_entries", "documents"} <= append_only
        for name in append_only | {"invoice_lines", "tariff_versions"}:
            for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
                assert not may(connection, role, name, privilege), f"{privilege} {name}"


def test_an_invoice_can_be_locked_and_not_changed(url: str, mine: Scope) -> None:
    with as_role(url, mine) as narrowed:
        assert run(narrowed, "SELECT id FROM invoices FOR UPDATE").fetchone() is not None
        with pytest.raises(InsufficientPrivilege):
            run(narrowed, "UPDATE invoices SET status = 'settled'")
    with as_role(url, mine) as narrowed, pytest.raises(IntegrityConstraintViolation):
        run(narrowed, "UPDATE invoices SET id = 'another'")
    with as_role(url, mine) as narrowed, pytest.raises(InsufficientPrivilege):
        run(narrowed, "DELETE FROM invoices")


def test_the_rule_is_answered_by_an_index(url: str, mine: Scope) -> None:
    statements = {
        "SELECT * FROM charges": "account_id",
        "SELECT * FROM invoices WHERE number ILIKE '%1'": "account_id",
        "SELECT * FROM readings WHERE meter_id = 1": "subject_id",
        "SELECT * FROM usage_events WHERE period_month = '2026-04-01'": "subject_id",
    }
    with as_role(url, mine) as narrowed:
        # So few rows are soonest read from first to last; what counts is that they need not be.
        run(narrowed, "SET LOCAL enable_seqscan = off")
        for statement, column in statements.items():
            plan = "\n".join(row[0] for row in run(narrowed, f"EXPLAIN {statement}"))
            assert (
                f"Index Cond: (({column} = ANY" in plan or f"Index Cond: ({column} = ANY" in plan
            ), plan


def test_a_page_whose_check_is_forgotten_still_shows_nothing(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = shown.finance()
    assert browser.get(f"/portal/{trusts.OTHER_ODS}/invoices").status_code == 404
    careful = Principal.may

    def careless(self: Principal, permission: Permission, **_of: Any) -> bool:
        return careful(self, permission)

    monkeypatch.setattr(Principal, "may", careless)
    assert browser.get(f"/portal/{trusts.ODS}/invoices").status_code == 200
    assert browser.get(f"/portal/{trusts.OTHER_ODS}/invoices").status_code == 404


def test_a_scope_cannot_end_its_statement() -> None:
    for value in ("x'; RESET ROLE; --", "x\\", "x y", "x\n"):
        with pytest.raises(ValueError, match="cannot narrow"):
            Scope(PORTAL, {"paygo.accounts": value})
    with pytest.raises(ValueError, match="cannot narrow"):
        Scope("paygo; RESET ROLE")


def test_a_scope_ends_with_its_transaction(database: Database, mine: Scope) -> None:
    for _ in range(12):  # more often than it takes psycopg to prepare a statement
        with database.snapshot(scope=mine) as session:
            assert session.scalar(text("SELECT current_user")) == PORTAL
        with database.snapshot() as session:
            assert session.scalar(text("SELECT current_user")) != PORTAL
            assert not session.scalar(text("SELECT current_setting('paygo.accounts', true)"))


def test_whoever_may_not_make_roles_is_told_what_to_run(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        run(connection, "CREATE ROLE paygo_test_powerless LOGIN")
        try:
            url = make_url(sqlalchemy_url(database_url)).set(username="paygo_test_powerless")
            engine = create_engine(url)
            with engine.begin() as powerless, pytest.raises(RolesMissing) as refused:
                make_roles(powerless)
            engine.dispose()
        finally:
            run(connection, "DROP ROLE paygo_test_powerless")
    assert "GRANT paygo_portal TO paygo_test_powerless;" in refused.value.detail
