"""Keep the register of organisations: register, close, record who succeeds whom."""

import re
from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metering.kit import versions
from metering.kit.errors import Invalid
from metering.organisations.ods import Listed
from metering.organisations.queries import by_ods_code, every
from metering.organisations.tables import OrganisationRow, SuccessionRow

CATALOGUE = "catalogue"
"""Name of the counter (`kit.versions`) that every change of the catalogue bumps."""

_ODS_CODE = re.compile(r"[A-Z0-9]{3,10}")
_LOCK = 7_201_956


class OrganisationInvalid(Invalid):
    """An organisation's particulars contradict themselves."""

    code = "organisation-invalid"
    title = "The organisation's particulars are not right"


def register(
    session: Session,
    *,
    ods_code: str,
    name: str,
    kind: str,
    postcode: str | None = None,
    opened_on: date | None = None,
    closed_from: date | None = None,
    now: datetime,
) -> OrganisationRow:
    """Register an organisation, or bring the registered one up to date; safe to repeat.

    Args:
        ods_code: 3 to 10 capital letters and digits.
        kind: what sort of body, for example `acute`.
        opened_on: first London date of existence, None when long ago.
        closed_from: first London date on which it no longer exists.

    Raises:
        OrganisationInvalid: the code has another form, or it closes before it opens.
    """
    if not _ODS_CODE.fullmatch(ods_code):
        raise OrganisationInvalid(
            f"'{ods_code}' is not an ODS code: 3 to 10 capital letters and digits."
        )
    if not name.strip():
        raise OrganisationInvalid(f"Organisation {ods_code} needs a name.")
    _check_span(ods_code, opened_on, closed_from)
    found = session.scalar(select(OrganisationRow).where(OrganisationRow.ods_code == ods_code))
    if found is None:
        # ASSUMPTION: organisations are registered rarely, so that making ids may be serialised.
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = session.scalar(select(OrganisationRow).where(OrganisationRow.ods_code == ods_code))
    if found is None:
        greatest = session.scalar(select(func.max(OrganisationRow.id))) or 0
        found = OrganisationRow(id=greatest + 1, ods_code=ods_code, registered_at=now)
        session.add(found)
    found.name, found.kind, found.postcode = name, kind, postcode
    found.opened_on, found.closed_from = opened_on, closed_from
    if session.is_modified(found) or found in session.new:
        session.flush()
        versions.bump(session, name=CATALOGUE)
    return found


def import_listed(
    session: Session, *, listed: Sequence[Listed], kind: str, now: datetime
) -> tuple[int, int]:
    """Register every body of a file, or bring those there are up to date; safe to repeat.

    Args:
        kind: of the bodies that are new; the others keep theirs.

    Returns:
        How many were new, and how many were changed.

    Raises:
        OrganisationInvalid: one would close before it opens.
    """
    known = {row.ods_code: row for row in every(session, codes=[one.ods_code for one in listed])}
    new = changed = 0
    for one in listed:
        row = known.get(one.ods_code)
        if row is None:
            new += 1
        elif (row.name, row.postcode, row.opened_on, row.closed_from) == (
            one.name,
            one.postcode,
            one.opened_on,
            one.closed_from,
        ):
            continue
        else:
            changed += 1
        known[one.ods_code] = register(
            session,
            ods_code=one.ods_code,
            name=one.name,
            kind=kind if row is None else row.kind,
            postcode=one.postcode,
            opened_on=one.opened_on,
            closed_from=one.closed_from,
            now=now,
        )
    return new, changed


def close(session: Session, *, ods_code: str, closed_from: date) -> OrganisationRow:
    """Close an organisation from a London date on; its earlier usage can still arrive.

    Raises:
        OrganisationUnknown: no organisation has that code.
        OrganisationInvalid: it would close before it opens.
    """
    organisation = by_ods_code(session, ods_code=ods_code)
    _check_span(ods_code, organisation.opened_on, closed_from)
    organisation.closed_from = closed_from
    session.flush()
    versions.bump(session, name=CATALOGUE)
    return organisation


def record_succession(
    session: Session, *, predecessor: str, successor: str, effective_on: date
) -> None:
    """Record that `successor` takes over from `predecessor` on a London date; safe to repeat.

    A merger is several predecessors, a split several successors. The predecessor
    is closed from that date where it was still open.

    Args:
        predecessor: ODS code.
        successor: ODS code.

    Raises:
        OrganisationUnknown: a code is not registered.
        OrganisationInvalid: both are the same body, or it would close before it opens.
    """
    before = by_ods_code(session, ods_code=predecessor)
    after = by_ods_code(session, ods_code=successor)
    if before.id == after.id:
        raise OrganisationInvalid(f"{predecessor} cannot succeed itself.")
    row = insert(SuccessionRow).values(
        predecessor_id=before.id, successor_id=after.id, effective_on=effective_on
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=[SuccessionRow.predecessor_id, SuccessionRow.successor_id],
            set_={"effective_on": row.excluded.effective_on},
        )
    )
    if before.closed_from is None:
        close(session, ods_code=predecessor, closed_from=effective_on)
    else:
        versions.bump(session, name=CATALOGUE)


def _check_span(ods_code: str, opened_on: date | None, closed_from: date | None) -> None:
    if opened_on is not None and closed_from is not None and closed_from <= opened_on:
        raise OrganisationInvalid(f"{ods_code} would close on {closed_from}, before it opens.")
