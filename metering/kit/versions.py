"""Counters by which a process knows that what it remembers has changed.

Whoever changes rows that other processes keep in memory bumps the counter of
that name in the same transaction; whoever uses a memory reads the counter in
its own transaction and reloads where it moved. So a memory is never used past
the commit that made it stale.
"""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metering.kit.tables import CacheVersionRow


def bump(session: Session, *, name: str) -> None:
    """Say that everything remembered under `name` is stale once this transaction commits."""
    row = insert(CacheVersionRow).values(name=name, version=1)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[CacheVersionRow.name], set_={"version": CacheVersionRow.version + 1}
        )
    )


def read(session: Session, *, name: str) -> int:
    """Return the counter of `name`, 0 where nothing was ever changed."""
    found = session.scalar(select(CacheVersionRow.version).where(CacheVersionRow.name == name))
    return 0 if found is None else found
