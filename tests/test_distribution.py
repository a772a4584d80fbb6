"""Every table can live on a Citus cluster: held here without one, and proved where there is one.

`PAYGO_TEST_CITUS_URL` names a database on a coordinator whose role may create databases.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from billing.cli.distribution import distribute as command
from billing.cli.probe import EXPECTED, run_probe
from billing.schema import metadata
from metering.kit import citus, clock
from metering.kit.citus import Placement, PlacementDiffers, distribute, faults, placement
from metering.kit.columns import NAMING
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.migrate import upgrade
from tests.databases import url_of

CITUS = os.environ.get("PAYGO_TEST_CITUS_URL", "")


def test_every_table_keeps_the_rules_of_a_cluster() -> None:
    assert list(faults(metadata)) == []


LOCAL = {"citus": "local"}
REFERENCE = {"citus": "reference"}
BY_ACCOUNT = {"citus": "distributed", "distribution_column": "account_id"}


def account_id() -> "Column[str]":
    return Column("account_id", Text, nullable=False)


def silent(tables: MetaData) -> None:
    Table("t", tables, Column("id", Text, primary_key=True))


def nullable_column(tables: MetaData) -> None:
    Table("t", tables, Column("account_id", Text), info=BY_ACCOUNT)


def key_without_column(tables: MetaData) -> None:
    Table("t", tables, account_id(), Column("id", Text, primary_key=True), info=BY_ACCOUNT)


def unique_without_column(tables: MetaData) -> None:
    Table("t", tables, account_id(), Column("a", Text), UniqueConstraint("a"), info=BY_ACCOUNT)


def index_without_column(tables: MetaData) -> None:
    Table(
        "t", tables, account_id(), Column("a", Text), Index("i", "a", unique=True), info=BY_ACCOUNT
    )


def exclusion_without_equality(tables: MetaData) -> None:
    Table(
        "t",
        tables,
        account_id(),
        ExcludeConstraint(("account_id", "&&"), name="e", using="gist"),
        info=BY_ACCOUNT,
    )


def numbers_of_the_database(tables: MetaData) -> None:
    Table("t", tables, Column("account_id", Integer, primary_key=True), info=BY_ACCOUNT)


def to_a_local_table(tables: MetaData) -> None:
    Table("l", tables, Column("id", Text, primary_key=True), info=LOCAL)
    Table("t", tables, account_id(), Column("l", ForeignKey("l.id")), info=BY_ACCOUNT)


def beside_the_column(tables: MetaData) -> None:
    Table(
        "l",
        tables,
        account_id(),
        Column("id", Text),
        PrimaryKeyConstraint("account_id", "id"),
        info=BY_ACCOUNT,
    )
    Table(
        "t",
        tables,
        account_id(),
        Column("other", Text),
        Column("l", Text),
        ForeignKeyConstraint(["other", "l"], ["l.account_id", "l.id"]),
        info=BY_ACCOUNT,
    )


def that_sets_null(tables: MetaData) -> None:
    Table("l", tables, Column("id", Text, primary_key=True), info=REFERENCE)
    Table("t", tables, Column("l", ForeignKey("l.id", ondelete="SET NULL")), info=LOCAL)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (silent, "t: does not say where it lives"),
        (nullable_column, "t: account_id may be null"),
        (key_without_column, "t: pk_t lacks account_id"),
        (unique_without_column, "t: uq_t_a lacks account_id"),
        (index_without_column, "t: i lacks account_id"),
        (exclusion_without_equality, "t: e lacks account_id"),
        (numbers_of_the_database, "t: has numbers made by the database"),
        (to_a_local_table, "t: fk_t_l_l goes from distributed to local"),
        (beside_the_column, "t: fk_t_other_l_l does not join by account_id"),
        (that_sets_null, "t: fk_t_l_l sets values when the other row goes"),
    ],
)
def test_a_table_that_breaks_a_rule_is_found(make: Callable[[MetaData], None], found: str) -> None:
    tables = MetaData(naming_convention=NAMING)
    make(tables)
    assert list(faults(tables)) == [found]


def test_an_unnamed_constraint_is_found() -> None:
    tables = MetaData()
    Table("t", tables, Column("id", Text, primary_key=True), info=LOCAL)
    assert list(faults(tables)) == ["t: PrimaryKeyConstraint has no name"]


def test_nothing_is_done_without_the_extension(database: Database) -> None:
    assert distribute(database, metadata, shards=32) is None


def test_the_command_says_so_in_a_sentence(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    answer = CliRunner().invoke(command, ["--shards", "32"])
    assert answer.output == (
        "This database has no Citus extension: every table stays where it is.\n"
    )


# What distribute asks of a cluster, kept in a table instead of done.
STAND_IN = """
CREATE TABLE citus_tables (table_name regclass, citus_table_type text, distribution_column text);
CREATE FUNCTION create_reference_table(name regclass) RETURNS void LANGUAGE sql
    AS $$INSERT INTO citus_tables VALUES (name, 'reference', '<none>')$$;
CREATE FUNCTION create_distributed_table(
    name regclass, by text, colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL
) RETURNS void LANGUAGE sql AS $$INSERT INTO citus_tables VALUES (name, 'distributed', by)$$;
"""


@pytest.fixture
def stand_in(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database that answers as a coordinator does, and moves nothing."""
    with database.transaction() as session:
        session.execute(text(STAND_IN))
    monkeypatch.setattr(citus, "is_cluster", lambda _: True)
    return database


def test_tables_move_once_what_is_referred_to_first(stand_in: Database) -> None:
    moved = distribute(stand_in, metadata, shards=32)
    assert moved is not None
    there = citus.placements(stand_in)
    assert there == {
        table.name: placement(table)
        for table in metadata.tables.values()
        if placement(table) != Placement("local")
    }
    for table in metadata.sorted_tables:
        if table.name in moved:
            for key in table.foreign_keys:
                before = key.column.table.name
                assert moved.index(before) <= moved.index(table.name), (before, table.name)
    assert distribute(stand_in, metadata, shards=32) == []


def test_a_table_that_lives_elsewhere_is_refused(stand_in: Database) -> None:
    with stand_in.transaction() as session:
        session.execute(text("SELECT create_reference_table('readings')"))
    with pytest.raises(PlacementDiffers, match="readings is reference on the cluster"):
        distribute(stand_in, metadata, shards=32)


@pytest.fixture
def on_a_cluster() -> Iterator[Database]:
    """A migrated database of its own on the cluster."""
    name = f"paygo_test_{os.getpid()}"
    with psycopg.connect(CITUS, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = url_of(CITUS, name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS citus")
        connection.execute("SELECT citus_set_coordinator_host('localhost')")
    upgrade(url)
    database = Database(url)
    yield database
    database.dispose()
    with psycopg.connect(CITUS, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.skipif(not CITUS, reason="PAYGO_TEST_CITUS_URL names no cluster")
def test_every_table_of_a_cluster_lives_where_it_declares(on_a_cluster: Database) -> None:
    assert distribute(on_a_cluster, metadata, shards=4)
    assert distribute(on_a_cluster, metadata, shards=4) == []


@pytest.mark.skipif(not CITUS, reason="PAYGO_TEST_CITUS_URL names no cluster")
def test_a_month_on_a_cluster_comes_to_the_same_pennies(
    on_a_cluster: Database, tmp_path: Path
) -> None:
    """From posted event to drafted invoice, a pool included, and reconciled."""
    assert distribute(on_a_cluster, metadata, shards=4)
    settings = Settings.from_environment({"PAYGO_DATA_DIR": str(tmp_path)})
    found, differences = run_probe(on_a_cluster, settings=settings, now=clock.now())
    assert differences == []
    assert found == EXPECTED
