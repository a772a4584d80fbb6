"""Each process's role can do its own work and nothing else: tried on every table there is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from billing import grants
from billing.cli import context
from billing.cli.context import RolesNotUsable, chosen_role
from billing.grants import GRANTS
from billing.jobs import ALL_JOBS
from billing.schema import metadata
from metering.app import create_app
from metering.events.decoding import BATCH_TYPE
from metering.kit import jobruns
from metering.kit.columns import Base
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.roles import INGEST, PROCESSES, SCHEDULER, WEB
from metering.sources.model import SCOPES
from metering.sources.operations import issue_key
from tests import trusts, web
from tests.metering import make as usage_make
from tests.scenarios import story

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
TABLES = {*metadata.tables, "alembic_version"}
# Tries each privilege on no row at all: refused by the grant or by nothing.
TRIES = {
    "SELECT": "SELECT 1 FROM {table} LIMIT 0",
    "INSERT": "INSERT INTO {table} SELECT * FROM {table} WHERE false",
    "UPDATE": "UPDATE {table} SET {column} = {column} WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
}
METERING = {
    mapper.local_table.key
    for mapper in Base.registry.mappers
    if mapper.class_.__module__.startswith("metering")
} | {"usage_events", "event_keys", "event_withdrawals", "alembic_version"}


@pytest.fixture(scope="module")
def plain_url(shown: trusts.Shown) -> str:
    made = shown.database.engine.url.set(drivername="postgresql")
    return made.render_as_string(hide_password=False)


@pytest.fixture(autouse=True)
def _with_roles(shown: trusts.Shown) -> None:
    with shown.database.engine.connect() as connection:
        if not grants.ready(connection, WEB):
            pytest.skip("this server lets nobody make roles that see every row")


@contextmanager
def under(url: str, role: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, options=f"-c role={role}") as connection:
        yield connection
        connection.rollback()


def tried(connection: psycopg.Connection[Any], statement: str, table: str, column: str) -> bool:
    """Return whether a statement is allowed."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                sql.SQL(statement).format(  # type: ignore[arg-type]  # ours
                    table=sql.Identifier(table), column=sql.Identifier(column)
                )
            )
    except InsufficientPrivilege:
        return False
    return True


def test_every_table_is_said_for_every_role() -> None:
    for role in (WEB, SCHEDULER):
        assert GRANTS[role].keys() == TABLES, role
    assert GRANTS[INGEST].keys() < TABLES
    assert set(GRANTS) == set(PROCESSES)


def test_the_metering_api_sees_no_table_of_billing() -> None:
    assert GRANTS[INGEST].keys() <= METERING
    assert not GRANTS[INGEST].keys() & {"accounts", "invoices", "charges", "users", "sessions"}


@pytest.mark.parametrize("role", PROCESSES)
def test_each_role_may_do_what_is_said_and_nothing_else(plain_url: str, role: str) -> None:
    with under(plain_url, role) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (role,)
        for name in sorted(TABLES):
            columns = [*metadata.tables[name].columns] if name in metadata.tables else []
            column = columns[0].name if columns else "version_num"
            said = GRANTS[role].get(name, "")
            for privilege, statement in TRIES.items():
                # INSERT and the like read too, so that they are asked only of what is readable.
                if privilege == "INSERT" and "SELECT" not in said:
                    continue
                allowed = tried(connection, statement, name, column)
                assert allowed == (privilege in said), f"{role}: {privilege} {name}"


@pytest.mark.parametrize("role", PROCESSES)
@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE quarantined_events",
        "ALTER TABLE usage_events DISABLE TRIGGER append_only",
        "DROP TABLE invoices",
        "CREATE TABLE public.mine (id integer)",
        "CREATE TABLE usage_events_1999_01 PARTITION OF usage_events"
        " FOR VALUES FROM ('1999-01-01') TO ('1999-02-01')",
        "CREATE FUNCTION public.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "UPDATE usage_events SET quantity = 0",
        "DELETE FROM event_keys",
        "UPDATE audit_entries SET facts = '{}'",
        "CREATE ROLE mine",
        "COPY usage_events TO PROGRAM 'true'",
        "SET SESSION session_replication_role = replica",
    ],
)
def test_no_role_changes_the_schema_or_history(plain_url: str, role: str, statement: str) -> None:
    with under(plain_url, role) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[arg-type]  # ours


def test_the_metering_api_does_its_work_alone(database: Database, tmp_path: Path) -> None:
    usage_make.catalogue(database)
    with database.transaction() as session:
        key = issue_key(
            session,
            source_code=usage_make.ARCHIVE,
            label="test",
            scopes=SCOPES,
            created_by="test",
            now=usage_make.NOW,
        ).text
    settings = Settings.from_environment({"PAYGO_DATA_DIR": str(tmp_path)})
    app = create_app(settings, database.under(INGEST), clock=web.Clock(usage_make.NOW))
    app.testing = True
    client, headers = app.test_client(), {"Authorization": f"Bearer {key}"}

    def post(*events: dict[str, Any]) -> Any:
        answer = client.post(
            "/api/v1/events", json=events, headers=headers, content_type=BATCH_TYPE
        )
        assert answer.status_code in {200, 207}, answer.text
        return answer.json

    assert client.get("/readyz").status_code == 200
    # Few and many go by different ways, and last year's month by a partition made for it.
    assert post(usage_make.event(1), usage_make.event(2))["accepted"] == 2
    many = [
        usage_make.event(number, time="2025-08-03T10:00:00+01:00") for number in range(100, 2_100)
    ]
    assert post(*many)["accepted"] == 2_000
    assert post(*many)["duplicate"] == 2_000
    assert post(usage_make.withdrawal(3, usage_make.event(1)))["accepted"] == 1
    assert post(usage_make.event(4, subject="ZZZ99"))["rejected"] == 1
    for path in ("usage?month=2026-07", "sources/me/health", "quarantine", "manifests"):
        answer = client.get(f"/api/v1/{path}", headers=headers)
        assert answer.status_code < 500, f"{path}: {answer.text}"


def test_the_jobs_do_a_month_end_under_their_role(database: Database) -> None:
    trusts.use(database)
    scheduler = database.under(SCHEDULER)
    issued = story.month_end(scheduler, story.APRIL)
    assert set(issued) == set(trusts.NAMES)
    # Something for the roll-up to claim.
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO ingest_batches (id, source_id, received_at, received, accepted,"
                " duplicate, conflict, rejected) SELECT gen_random_uuid(), id, now(), 1, 1, 0, 0, 0"
                " FROM sources LIMIT 1"
            )
        )
    for job in ALL_JOBS:
        run = jobruns.run_job(scheduler, job, clock=lambda: trusts.NOW, started_by="test")
        assert run.outcome == "succeeded", f"{job.name}: {run.error}"
    with scheduler.snapshot() as session:
        assert session.scalar(text("SELECT count(*) FROM documents"))
        assert session.scalar(text("SELECT count(*) FROM receivables"))


def test_a_process_takes_its_role_where_there_is_one(
    plain_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(word: str) -> Settings:
        return Settings.from_environment({"PAYGO_DATABASE_ROLES": word})

    for role in PROCESSES:
        assert chosen_role(settings("required"), plain_url, role) == role
        assert chosen_role(settings("off"), plain_url, role) is None
    monkeypatch.setattr(context.grants, "ready", lambda _connection, role: role != INGEST)
    assert chosen_role(settings("auto"), plain_url, SCHEDULER) == SCHEDULER
    # The pages need all of them.
    assert chosen_role(settings("auto"), plain_url, WEB) is None
    with pytest.raises(RolesNotUsable, match="CREATE ROLE paygo_ingest NOLOGIN"):
        chosen_role(settings("required"), plain_url, WEB)


def test_whoever_is_a_member_of_one_role_takes_on_no_other(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS paygo_test_ingest_login")
    # Only a superuser grants what sees every row; where there is none this cannot be tried.
    admin = make_url(database_url).set(username="postgres")
    with psycopg.connect(admin.render_as_string(hide_password=False), autocommit=True) as root:
        root.execute("CREATE ROLE paygo_test_ingest_login LOGIN NOINHERIT IN ROLE paygo_ingest")
        try:
            url = make_url(database_url).set(username="paygo_test_ingest_login")
            database = Database(url.render_as_string(hide_password=False), role=INGEST)
            with database.snapshot() as session:
                assert session.scalar(text("SELECT count(*) FROM usage_events")) == 0
                for statement in ("SET ROLE paygo_web", "SELECT 1 FROM accounts"):
                    with pytest.raises(ProgrammingError), session.begin_nested():
                        session.execute(text(statement))
                # Putting the role down leaves nothing at all.
                session.execute(text("SET ROLE NONE"))
                with pytest.raises(ProgrammingError):
                    session.execute(text("SELECT 1 FROM usage_events"))
            database.dispose()
        finally:
            root.execute("DROP ROLE paygo_test_ingest_login")
