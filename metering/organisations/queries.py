"""Reads of the register of organisations."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from metering.kit.errors import NotFound
from metering.organisations.tables import OrganisationRow, SuccessionRow


class OrganisationUnknown(NotFound):
    """No organisation has that ODS code."""

    code = "organisation-unknown"
    title = "No such organisation"


def by_ods_code(session: Session, *, ods_code: str) -> OrganisationRow:
    """Return the organisation with an ODS code.

    Raises:
        OrganisationUnknown: there is none.
    """
    found = session.scalar(select(OrganisationRow).where(OrganisationRow.ods_code == ods_code))
    if found is None:
        raise OrganisationUnknown(f"No organisation has the ODS code '{ods_code}'.")
    return found


def every(
    session: Session,
    *,
    open_on: date | None = None,
    text: str | None = None,
    codes: Collection[str] | None = None,
) -> Sequence[OrganisationRow]:
    """Return organisations by ODS code.

    Args:
        open_on: only those that exist on that London date.
        text: only those whose name or ODS code contains it, whatever its case.
        codes: only those with one of these ODS codes.
    """
    query = select(OrganisationRow).order_by(OrganisationRow.ods_code)
    if open_on is not None:
        query = query.where(
            or_(OrganisationRow.opened_on.is_(None), OrganisationRow.opened_on <= open_on),
            or_(OrganisationRow.closed_from.is_(None), OrganisationRow.closed_from > open_on),
        )
    if codes is not None:
        query = query.where(OrganisationRow.ods_code.in_(codes))
    if text:
        query = query.where(
            or_(
                OrganisationRow.name.icontains(text, autoescape=True),
                OrganisationRow.ods_code.icontains(text, autoescape=True),
            )
        )
    return session.scalars(query).all()


def ids_of(session: Session, *, ods_codes: Collection[str]) -> Sequence[int]:
    """Return the ids of the organisations with these ODS codes; unknown codes are passed over."""
    return session.scalars(
        select(OrganisationRow.id).where(OrganisationRow.ods_code.in_(ods_codes))
    ).all()


def by_ids(session: Session, *, ids: Collection[int]) -> Mapping[int, OrganisationRow]:
    """Return the organisations with those ids, by id."""
    rows = session.scalars(select(OrganisationRow).where(OrganisationRow.id.in_(ids)))
    return {row.id: row for row in rows}


def successors(
    session: Session, *, organisation_id: int, on: date | None = None
) -> Sequence[OrganisationRow]:
    """Return who took over from an organisation (by the London date `on`), by ODS code."""
    query = (
        select(OrganisationRow)
        .join(SuccessionRow, SuccessionRow.successor_id == OrganisationRow.id)
        .where(SuccessionRow.predecessor_id == organisation_id)
        .order_by(OrganisationRow.ods_code)
    )
    if on is not None:
        query = query.where(SuccessionRow.effective_on <= on)
    return session.scalars(query).all()


def predecessors(session: Session, *, organisation_id: int) -> Sequence[OrganisationRow]:
    """Return whom an organisation took over from, by ODS code."""
    return session.scalars(
        select(OrganisationRow)
        .join(SuccessionRow, SuccessionRow.predecessor_id == OrganisationRow.id)
        .where(SuccessionRow.successor_id == organisation_id)
        .order_by(OrganisationRow.ods_code)
    ).all()
