"""Search of the audit trail."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Text, cast, func, select
from sqlalchemy.orm import Session

from billing.console.stored_lists import TOGETHER
from metering.kit.paging import different
from metering.kit.tables import AuditEntryRow


@dataclass(frozen=True)
class Search:
    """What is looked for; empty means anything."""

    principal: str = ""
    action: str = ""
    object_kind: str = ""
    words: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the search as conditions of a statement."""
        row = AuditEntryRow
        found: list[ColumnElement[bool]] = []
        if self.principal:
            found.append(row.principal == self.principal)
        if self.action:
            found.append(row.action == self.action)
        if self.object_kind:
            found.append(row.object_kind == self.object_kind)
        if self.words:
            found.append(
                row.object_id.icontains(self.words, autoescape=True)
                | cast(row.facts, Text).icontains(self.words, autoescape=True)
            )
        if self.since is not None:
            found.append(row.at >= self.since)
        if self.until is not None:
            found.append(row.at < self.until)
        return found


def entries(
    session: Session,
    *,
    search: Search,
    limit: int | None,
    offset: int = 0,
    descending: bool = True,
) -> Iterable[AuditEntryRow]:
    """Return entries in the order in which they were made, the latest first or last.

    Args:
        limit: None is all of them, read in pieces while they are taken.
    """
    position = AuditEntryRow.position
    statement = (
        select(AuditEntryRow)
        .where(*search.conditions())
        .order_by(position.desc() if descending else position.asc())
    )
    if limit is None:
        return session.scalars(statement.execution_options(yield_per=TOGETHER))
    return session.scalars(statement.limit(limit).offset(offset)).all()


def count(session: Session, *, search: Search) -> int:
    """Return how many entries there are."""
    row, conditions = AuditEntryRow, search.conditions()
    # Positions have no gap: the last one is the number of all, without counting them.
    found = func.count() if conditions else func.max(row.position)
    return session.scalar(select(found).select_from(row).where(*conditions)) or 0


def choices(session: Session) -> tuple[list[str], list[str], list[str]]:
    """Return every principal, action and kind of object there is, in order."""
    row = AuditEntryRow
    return (
        different(session, row.principal),
        different(session, row.action),
        different(session, row.object_kind),
    )
