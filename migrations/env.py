"""Alembic's environment. Run through `metering.kit.migrate`, never by itself."""

import re
from typing import Any

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.types import TypeDecorator

from billing.schema import metadata

# Month partitions are made by a job, not by migrations.
_PARTITION = re.compile(r"usage_events_\d{4}_\d{2}")


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Leave the partitions out of comparisons."""
    return not (kind == "table" and name is not None and _PARTITION.fullmatch(name))


def render_item(kind: str, item: Any, _autogen: Any) -> Any:
    """Write our column types as the plain types below them: migrations outlive code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        inner = item.impl_instance
        return f"sa.{inner!r}".replace(", asdecimal=True", "")
    return False


def run(connection: Connection) -> None:
    """Run the migrations on the connection that the caller opened."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        transaction_per_migration=True,
        include_name=include_name,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
