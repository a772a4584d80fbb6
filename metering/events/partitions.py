"""Month partitions of `usage_events`: made ahead by a job, and on demand for older months.

Ingest never fails for want of a partition: before it stores events of a month
that it has not yet seen here, it makes sure, in a transaction of its own.
"""

from collections.abc import Collection
from datetime import datetime
from functools import partial

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from metering.events.tables import ArchivedMonthRow
from metering.kit.db import Database
from metering.kit.errors import Conflict
from metering.periods import Month

MONTHS_AHEAD = 3


class MonthArchived(Conflict):
    """The month's raw events are in an archive; its sums and the keys of its events are not."""

    code = "month-archived"
    title = "The month is archived"


def name_of(month: Month) -> str:
    """Return the name of a month's partition."""
    return f"usage_events_{month.year:04d}_{month.month:02d}"


def archived(session: Session, *, first: Month, last: Month) -> list[ArchivedMonthRow]:
    """Return the archives of the months `first` to `last`, the oldest first."""
    return list(
        session.scalars(
            select(ArchivedMonthRow)
            .where(
                ArchivedMonthRow.month >= first.first_day, ArchivedMonthRow.month <= last.first_day
            )
            .order_by(ArchivedMonthRow.month)
        )
    )


def refuse_archived(session: Session, *, month: Month) -> None:
    """Let only a month pass whose raw events are in the database.

    Raises:
        MonthArchived: they are in a file, which the sentence names.
    """
    found = archived(session, first=month, last=month)
    if found:
        raise MonthArchived(
            f"The events of {month.name} are archived in {found[0].file};"
            " its daily totals are here as before."
        )


def existing(session: Session) -> frozenset[Month]:
    """Return the months that have a partition."""
    names = session.scalars(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'usage_events'::regclass"
        )
    )
    return frozenset(Month(int(name[-7:-3]), int(name[-2:])) for name in names)


def ensure(database: Database, *, months: Collection[Month]) -> int:
    """Make the partitions of these months that are missing; return how many were made."""
    made = 0
    for month in sorted(months):
        made += database.retrying(partial(make, month=month))
    return made


def ensure_ahead(database: Database, *, now: datetime) -> int:
    """Make this month's partition and those of the next three where they are missing."""
    first = Month.of(now)
    return ensure(database, months=[first.shift(ahead) for ahead in range(MONTHS_AHEAD + 1)])


def make(session: Session, *, month: Month) -> int:
    """Make a month's partition where it is missing; return 1 if it was, else 0.

    Raises:
        MonthArchived: a month's events are in one place only.
    """
    if month in existing(session):
        return 0
    refuse_archived(session, month=month)
    # A function of the owner's: whoever takes usage in may not make tables.
    made = session.scalar(text("SELECT paygo_make_partition(:month)"), {"month": month.first_day})
    return int(bool(made))


def summarise(session: Session, *, now: datetime) -> int:
    """Let the index on batches know the newest events of this month and the last.

    Without summaries of the newest pages everything that looks for batches reads them all. Those
    of older months a vacuum makes, and those of a cluster PostgreSQL on request of each insert.

    Returns:
        How many ranges of pages were summarised; those that a vacuum is about to are left to it.
    """
    month = Month.of(now)
    made = session.scalar(
        text("SELECT paygo_summarise(CAST(:months AS date[]))"),
        {"months": [month.previous.first_day, month.first_day]},
    )
    return int(made or 0)


def summarise_on_request(session: Session) -> None:
    """Have PostgreSQL make summaries when inserts ask for them, as a cluster needs it."""
    indexes = session.scalars(
        text(
            "SELECT i.indexrelid::regclass::text FROM pg_inherits h"
            " JOIN pg_index i ON i.indrelid = h.inhrelid JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am a ON a.oid = c.relam AND a.amname = 'brin'"
            " WHERE h.inhparent = 'usage_events'::regclass ORDER BY 1"
        )
    ).all()
    for index in indexes:
        session.execute(text(f"ALTER INDEX {index} SET (autosummarize = on)"))


class PartitionMemory:
    """The months that this process knows to have a partition."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: frozenset[Month] = frozenset()

    def ensure(self, months: Collection[Month]) -> None:
        """Make sure that every month has its partition."""
        if self._known.issuperset(months):
            return
        with self._database.snapshot() as session:
            known = existing(session)
        missing = [month for month in months if month not in known]
        ensure(self._database, months=missing)
        self._known = known | frozenset(missing)
