"""Reads of the register of sources and their keys."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from metering.kit.errors import NotFound
from metering.sources.tables import ServiceKeyRow, SourceRow


class SourceUnknown(NotFound):
    """No hosted service is registered under that code."""

    code = "source-unknown"
    title = "No such source"


class KeyUnknown(NotFound):
    """No service key has that id."""

    code = "key-unknown"
    title = "No such key"


def by_code(session: Session, *, code: str) -> SourceRow:
    """Return a source by its code.

    Raises:
        SourceUnknown: there is none.
    """
    found = session.scalar(select(SourceRow).where(SourceRow.code == code))
    if found is None:
        raise SourceUnknown(f"No source is registered as '{code}'.")
    return found


def every(session: Session) -> Sequence[SourceRow]:
    """Return every source by code, closed ones too."""
    return session.scalars(select(SourceRow).order_by(SourceRow.code)).all()


def keys_of(session: Session, *, source_id: int) -> Sequence[ServiceKeyRow]:
    """Return a source's keys, the newest first, revoked ones too."""
    return session.scalars(
        select(ServiceKeyRow)
        .where(ServiceKeyRow.source_id == source_id)
        .order_by(ServiceKeyRow.created_at.desc(), ServiceKeyRow.id)
    ).all()


def key_by_id(session: Session, *, key_id: str) -> ServiceKeyRow:
    """Return a key by its id.

    Raises:
        KeyUnknown: there is none.
    """
    found = session.get(ServiceKeyRow, key_id)
    if found is None:
        raise KeyUnknown(f"No service key has the id '{key_id}'.")
    return found


def key_by_prefix(session: Session, *, prefix: str) -> tuple[ServiceKeyRow, SourceRow] | None:
    """Return the key with a public prefix and its source, None where there is none."""
    row = session.execute(
        select(ServiceKeyRow, SourceRow)
        .join(SourceRow, SourceRow.id == ServiceKeyRow.source_id)
        .where(ServiceKeyRow.prefix == prefix)
    ).first()
    return None if row is None else (row[0], row[1])
