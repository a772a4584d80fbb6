"""Pages of refused events: found by service, reason and state, the latest first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from billing.console.stored_lists import TOGETHER
from metering.events.tables import QuarantinedEventRow
from metering.sources.tables import SourceRow

# Services stand in the order in which they were registered.
SORT_KEYS: Mapping[str, InstrumentedAttribute[Any]] = {
    "received": QuarantinedEventRow.received_at,
    "service": QuarantinedEventRow.source_id,
    "reason": QuarantinedEventRow.code,
    "state": QuarantinedEventRow.status,
}


@dataclass(frozen=True)
class Filter:
    """Which refused events; empty means any."""

    source_id: int | None = None
    code: str = ""
    status: str = "open"

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as conditions of a statement."""
        row = QuarantinedEventRow
        found: list[ColumnElement[bool]] = []
        if self.source_id is not None:
            found.append(row.source_id == self.source_id)
        if self.code:
            found.append(row.code == self.code)
        if self.status:
            found.append(row.status == self.status)
        return found


@dataclass(frozen=True)
class Reason:
    """Open refused events of one service for one reason."""

    source_id: int
    source: str
    code: str
    fate: str
    count: int
    example: str


def refused(
    session: Session,
    *,
    wanted: Filter,
    sort: str = "received",
    descending: bool = True,
    limit: int,
    offset: int = 0,
) -> Sequence[QuarantinedEventRow]:
    """Return refused events by one of `SORT_KEYS`, then the latest first."""
    ordered = _ordered(wanted, sort=sort, descending=descending)
    return session.scalars(ordered.limit(limit).offset(offset)).all()


def every_refused(
    session: Session, *, wanted: Filter, sort: str, descending: bool
) -> Iterable[QuarantinedEventRow]:
    """Return refused events as `refused`, read in pieces while they are taken."""
    ordered = _ordered(wanted, sort=sort, descending=descending)
    return session.scalars(ordered.execution_options(yield_per=TOGETHER))


def _ordered(wanted: Filter, *, sort: str, descending: bool) -> Select[QuarantinedEventRow]:
    row, by = QuarantinedEventRow, SORT_KEYS[sort]
    return (
        select(row)
        .where(*wanted.conditions())
        .order_by(by.desc() if descending else by.asc(), row.received_at.desc(), row.id)
    )


def count(session: Session, *, wanted: Filter) -> int:
    """Return how many refused events there are."""
    return (
        session.scalar(
            select(func.count()).select_from(QuarantinedEventRow).where(*wanted.conditions())
        )
        or 0
    )


def reasons(session: Session, *, source_id: int | None = None) -> list[Reason]:
    """Return the reasons of open refused events by service, the most frequent first."""
    row = QuarantinedEventRow
    statement = (
        select(
            row.source_id, SourceRow.name, row.code, row.fate, func.count(), func.min(row.detail)
        )
        .join(SourceRow, SourceRow.id == row.source_id)
        .where(row.status == "open")
        .group_by(row.source_id, SourceRow.name, row.code, row.fate)
        .order_by(func.count().desc(), SourceRow.name, row.code)
    )
    if source_id is not None:
        statement = statement.where(row.source_id == source_id)
    return [Reason(*found) for found in session.execute(statement)]


def codes(session: Session, *, source_id: int | None = None) -> list[str]:
    """Return every reason for which an event was ever refused."""
    row = QuarantinedEventRow
    statement = select(row.code).distinct().order_by(row.code)
    if source_id is not None:
        statement = statement.where(row.source_id == source_id)
    return list(session.scalars(statement))
