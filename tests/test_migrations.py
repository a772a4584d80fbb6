"""Migrations: numbered, one head, backwards and forwards, and equal to the models."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from billing.schema import metadata
from metering.kit import migrate
from metering.kit.db import Database, sqlalchemy_url
from tests import trusts
from tests.scenarios import story

VERSIONS = sorted((migrate.FOLDER / "versions").glob("[0-9]*.py"))
PARTITION = re.compile(r"usage_events_\d{4}_\d{2}")

# Everything that a migration may make, as the catalogue describes it.
CATALOGUE = """
SELECT 'column', c.table_name || '.' || c.column_name,
       concat_ws(' ', c.data_type, c.numeric_precision, c.numeric_scale, c.is_nullable,
                 c.column_default)
FROM information_schema.columns c WHERE c.table_schema = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', oid::regprocedure::text, prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'paygo%'
UNION ALL
SELECT 'policy', tablename || '.' || policyname, concat_ws(' ', cmd, qual, with_check)
FROM pg_policies WHERE schemaname = 'public'
ORDER BY 1, 2, 3
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = create_engine(sqlalchemy_url(database_url))
    yield made
    made.dispose()


def catalogue(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(CATALOGUE))]


def test_migrations_are_numbered_without_gaps_and_head_names_the_last() -> None:
    numbers = [path.name[:4] for path in VERSIONS]
    assert numbers == [f"{number:04d}" for number in range(1, len(VERSIONS) + 1)]
    assert migrate.newest() == numbers[-1]


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_each_migration_follows_the_one_before(path: Any) -> None:
    written = path.read_text(encoding="utf-8")
    number = int(path.name[:4])
    before = "None" if number == 1 else f'"{number - 1:04d}"'
    assert f'revision = "{number:04d}"' in written
    assert f"down_revision = {before}" in written


def test_a_migration_does_the_same_whatever_becomes_of_the_code() -> None:
    ours = re.compile(r"^\s*(?:from|import) ((?:billing|metering)[\w.]*)", re.M)
    found = {
        (path.name[:4], module)
        for path in VERSIONS
        for module in ours.findall(path.read_text(encoding="utf-8"))
    }
    # Roles belong to the server: what a version needs of them, a restored backup needs too.
    assert found == {("0015", "metering.kit.roles")}


def test_down_and_up_again_gives_the_same_schema(database_url: str, engine: Engine) -> None:
    migrated = catalogue(engine)
    migrate.downgrade(database_url, revision="base")
    left = [row for row in catalogue(engine) if "alembic_version" not in row[1]]
    assert left == []
    migrate.upgrade(database_url)
    assert catalogue(engine) == migrated


KEPT_SINCE = "0018"
"""Versions from this one on are gone back to and come from with data in every table of money."""


def rows(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in metadata.tables
        }


def test_down_and_up_again_with_data_keeps_the_data(
    database: Database, database_url: str, engine: Engine
) -> None:
    """A month of usage, invoiced: what a version drops is all that going back loses."""
    trusts.use(database)
    story.month_end(database, story.APRIL)
    with database.transaction() as session:
        seals = session.execute(text("SELECT number, seal FROM invoices ORDER BY 1")).all()
    before = rows(engine)
    assert sum(count > 0 for count in before.values()) > 25
    migrate.downgrade(database_url, revision=KEPT_SINCE)
    migrate.upgrade(database_url)
    after = rows(engine)
    lost = {name for name, count in before.items() if after[name] != count}
    # The usage behind an invoice is kept beside it only since 0019.
    assert lost <= {"invoice_usage"}, {name: (before[name], after[name]) for name in lost}
    with database.transaction() as session:
        assert session.execute(text("SELECT number, seal FROM invoices ORDER BY 1")).all() == seals
    story.month_end(database, story.MAY)


def test_a_migration_waits_for_a_table_but_not_for_ever(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "100ms")
    with engine.begin() as reader:
        reader.execute(text("SELECT 1 FROM audit_entries LIMIT 0"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.downgrade(database_url, revision="0022")
    assert migrate.current(database_url) == "0023"
    migrate.upgrade(database_url)


def test_models_equal_the_schema(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _parents: (
                    not (kind == "table" and name and PARTITION.fullmatch(name))
                ),
            },
        )
        assert compare_metadata(context, metadata) == []


def test_every_constraint_is_named(engine: Engine) -> None:
    """A cluster needs names (SCALE rule 4), and refusals are told by them."""
    for table in metadata.tables.values():
        for constraint in table.constraints:
            assert constraint.name is not None, f"{table.name}: {constraint}"
