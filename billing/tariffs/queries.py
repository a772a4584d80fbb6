"""Reads of tariffs and their versions."""

from collections.abc import Collection, Sequence
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.tariffs.model import Tariff, parse_tariff
from billing.tariffs.tables import TariffRow, TariffVersionRow
from metering.kit.errors import NotFound


class TariffUnknown(NotFound):
    """There is no such tariff."""

    code = "tariff-unknown"
    title = "No such tariff"


class TariffVersionUnknown(NotFound):
    """There is no such version of a tariff."""

    code = "tariff-version-unknown"
    title = "No such tariff version"


class Standing(StrEnum):
    """Where a version stands on a day, in words for people."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    IN_FORCE = "in force"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class VersionInForce(NamedTuple):
    """An approved version, read, and the first London date on which it no longer holds."""

    id: str
    tariff: Tariff
    effective_to: date | None


def tariff(session: Session, *, code: str) -> TariffRow:
    """Return the tariff.

    Raises:
        TariffUnknown: there is none with this code.
    """
    row = session.get(TariffRow, code)
    if row is None:
        raise TariffUnknown(f"There is no tariff {code}.")
    return row


def tariffs(session: Session) -> Sequence[TariffRow]:
    """Return every tariff by code."""
    return session.scalars(select(TariffRow).order_by(TariffRow.code)).all()


def version(session: Session, *, version_id: str, for_update: bool = False) -> TariffVersionRow:
    """Return a version; `for_update` locks it to the end of the transaction.

    Raises:
        TariffVersionUnknown: there is none with this id.
    """
    row = session.scalar(
        select(TariffVersionRow).where(TariffVersionRow.id == version_id).with_for_update()
        if for_update
        else select(TariffVersionRow).where(TariffVersionRow.id == version_id)
    )
    if row is None:
        raise TariffVersionUnknown(f"There is no tariff version {version_id}.")
    return row


def versions(session: Session, *, tariff_code: str) -> Sequence[TariffVersionRow]:
    """Return all versions of a tariff, newest start first."""
    return session.scalars(
        select(TariffVersionRow)
        .where(TariffVersionRow.tariff_code == tariff_code)
        .order_by(TariffVersionRow.effective_from.desc(), TariffVersionRow.created_at.desc())
    ).all()


def in_force(
    session: Session, *, from_day: date, to_day: date, tariff_code: str | None = None
) -> list[VersionInForce]:
    """Return the approved versions that hold on some London date in `[from_day, to_day)`."""
    statement = (
        select(TariffVersionRow)
        .where(
            TariffVersionRow.status == "approved",
            TariffVersionRow.effective_from < to_day,
            or_(TariffVersionRow.effective_to.is_(None), TariffVersionRow.effective_to > from_day),
        )
        .order_by(TariffVersionRow.tariff_code, TariffVersionRow.effective_from)
    )
    if tariff_code is not None:
        statement = statement.where(TariffVersionRow.tariff_code == tariff_code)
    return [
        VersionInForce(row.id, parse_tariff(row.content), row.effective_to)
        for row in session.scalars(statement)
    ]


def standing(row: TariffVersionRow, *, today: date) -> Standing:
    """Return where a version stands on a London date."""
    if row.status != "approved":
        return Standing(row.status)
    if row.effective_from > today:
        return Standing.APPROVED
    if row.effective_to is not None and row.effective_to <= today:
        return Standing.SUPERSEDED
    return Standing.IN_FORCE


def versions_by_id(session: Session, *, ids: Collection[str]) -> Sequence[TariffVersionRow]:
    """Return the versions with these ids."""
    if not ids:
        return ()
    return session.scalars(select(TariffVersionRow).where(TariffVersionRow.id.in_(ids))).all()
