"""Where each table lives on a Citus cluster: the rules, held without one, and the move.

Every table declares it in `info={"citus": …}`: `distributed` by its
`distribution_column`, `reference` (a copy on every node) or `local` (on the
coordinator). On plain PostgreSQL the declarations mean nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Session

from metering.kit.db import Database
from metering.kit.errors import Conflict

DISTRIBUTED, REFERENCE, LOCAL = "distributed", "reference", "local"
KINDS = (DISTRIBUTED, REFERENCE, LOCAL)

_MAY_REFER = {
    (DISTRIBUTED, REFERENCE),
    (DISTRIBUTED, DISTRIBUTED),
    (REFERENCE, REFERENCE),
    (LOCAL, REFERENCE),
    (LOCAL, LOCAL),
}


class PlacementDiffers(Conflict):
    """A table lives elsewhere on the cluster than it declares; it is moved by hand."""

    code = "placement-differs"
    title = "A table is not where it should be"


@dataclass(frozen=True)
class Placement:
    """Where a table lives; `column` is what a distributed one is distributed by."""

    kind: str
    column: str | None = None


def placement(table: Table) -> Placement | None:
    """Return where a table declares that it lives, None where it does not say."""
    kind = table.info.get("citus")
    if kind not in KINDS:
        return None
    return Placement(kind, table.info.get("distribution_column"))


def faults(metadata: MetaData) -> Iterator[str]:
    """Yield each breach of the rules for tables on a cluster, as `table: what`.

    A distributed table has its distribution column, NOT NULL, in every primary,
    unique, exclusion and foreign key among distributed tables, and no numbers made
    by the database; foreign keys go only from distributed to reference or (with the
    distribution column) distributed tables, and from local to local or reference
    ones; every constraint is named.
    """
    for table in sorted(metadata.tables.values(), key=lambda table: table.name):
        for what in (*_unnamed(table), *_placed(table), *_references(table)):
            yield f"{table.name}: {what}"


def _unnamed(table: Table) -> Iterator[str]:
    for constraint in table.constraints:
        # A table without a primary key has an empty constraint for it.
        if constraint.name is None and not (
            isinstance(constraint, PrimaryKeyConstraint) and not constraint.columns
        ):
            yield f"{type(constraint).__name__} has no name"


def _placed(table: Table) -> Iterator[str]:
    place = placement(table)
    if place is None:
        yield "does not say where it lives"
        return
    if place.kind != DISTRIBUTED:
        if place.column is not None:
            yield "has a distribution column but is not distributed"
        return
    if place.column is None or place.column not in table.columns:
        yield "has no such distribution column"
        return
    if table.columns[place.column].nullable:
        yield f"{place.column} may be null"
    if table.autoincrement_column is not None or any(one.identity for one in table.columns):
        yield "has numbers made by the database"
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            names = {column.name for column in constraint.columns}
            if names and place.column not in names:
                yield f"{constraint.name} lacks {place.column}"
        if isinstance(constraint, ExcludeConstraint) and (
            constraint.operators.get(place.column) != "="
        ):
            yield f"{constraint.name} lacks {place.column}"
    for index in table.indexes:
        if index.unique and place.column not in {column.name for column in index.columns}:
            yield f"{index.name} lacks {place.column}"


def _references(table: Table) -> Iterator[str]:
    place = placement(table)
    for constraint in table.constraints:
        if place is None or not isinstance(constraint, ForeignKeyConstraint):
            continue
        other = placement(constraint.referred_table)
        if other is None:
            continue
        if (place.kind, other.kind) not in _MAY_REFER:
            yield f"{constraint.name} goes from {place.kind} to {other.kind}"
        elif place.kind == other.kind == DISTRIBUTED and (place.column, other.column) not in {
            (element.parent.name, element.column.name) for element in constraint.elements
        }:
            yield f"{constraint.name} does not join by {place.column}"
        if (constraint.ondelete or "").upper() in {"SET NULL", "SET DEFAULT"}:
            yield f"{constraint.name} sets values when the other row goes"


# Tried with Citus 13: local tables stay plain, and shards are made one after another, since
# a reference table is written in the same transaction; our triggers guard single rows only.
_SETTINGS = (
    "SET LOCAL citus.enable_local_reference_table_foreign_keys = off",
    "SET LOCAL citus.multi_shard_modify_mode = 'sequential'",
    "SET LOCAL citus.enable_unsafe_triggers = on",
)


def distribute(database: Database, metadata: MetaData, *, shards: int) -> list[str] | None:
    """Put every table where it declares that it lives, one transaction each; safe to repeat.

    Args:
        shards: of each group of tables that are distributed alike; 32 to 64 suit most.

    Returns:
        What was moved now; None where the database has no Citus extension.

    Raises:
        PlacementDiffers: a table lives elsewhere already, or does not after the move.
    """
    with database.snapshot() as session:
        if not is_cluster(session):
            return None
    there = placements(database)
    moved = []
    first: dict[str, str] = {}
    for table in _in_order(metadata):
        place = placement(table)
        assert place is not None, table.name
        if place.kind == DISTRIBUTED:
            assert place.column is not None
            beside = first.setdefault(place.column, table.name)
        if table.name in there:
            _check(table, there)
            continue
        with database.transaction() as session:
            for setting in _SETTINGS:
                session.execute(text(setting))
            if place.kind == REFERENCE:
                session.execute(
                    text("SELECT create_reference_table(CAST(:name AS regclass))"),
                    {"name": table.name},
                )
            elif beside == table.name:
                session.execute(
                    text(
                        "SELECT create_distributed_table(CAST(:name AS regclass), :column,"
                        " colocate_with => 'none', shard_count => :shards)"
                    ),
                    {"name": table.name, "column": place.column, "shards": shards},
                )
            else:
                session.execute(
                    text(
                        "SELECT create_distributed_table(CAST(:name AS regclass), :column,"
                        " colocate_with => :beside)"
                    ),
                    {"name": table.name, "column": place.column, "beside": beside},
                )
        moved.append(table.name)
    there = placements(database)
    for table in metadata.tables.values():
        _check(table, there)
    return moved


def _in_order(metadata: MetaData) -> list[Table]:
    """Return reference tables, then distributed ones, each after what it refers to."""
    tables = metadata.sorted_tables
    return [
        table
        for kind in (REFERENCE, DISTRIBUTED)
        for table in tables
        if table.info.get("citus") == kind
    ]


def is_cluster(session: Session) -> bool:
    """Return whether this database has the extension that makes a cluster of it."""
    return bool(session.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")))


def placements(database: Database) -> Mapping[str, Placement]:
    """Return where the cluster's tables live; what is not in it is local."""
    with database.snapshot() as session:
        rows = session.execute(
            text("SELECT table_name::text, citus_table_type, distribution_column FROM citus_tables")
        )
        return {
            name: Placement(kind, column if kind == DISTRIBUTED else None)
            for name, kind, column in rows
            if kind != LOCAL
        }


def _check(table: Table, there: Mapping[str, Placement]) -> None:
    declared = placement(table)
    found = there.get(table.name, Placement(LOCAL))
    if found != declared:
        raise PlacementDiffers(
            f"{table.name} is {_said(found)} on the cluster and declared {_said(declared)}."
        )


def _said(place: Placement | None) -> str:
    if place is None:
        return "nowhere"
    return place.kind if place.column is None else f"{place.kind} by {place.column}"
