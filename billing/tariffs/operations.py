"""The life of a tariff version: draft, submitted, approved by another, superseded, withdrawn."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from billing.tariffs import queries
from billing.tariffs.files import dump_document, load_document
from billing.tariffs.model import Tariff, TariffRefused, parse_tariff, to_document
from billing.tariffs.tables import TariffRow, TariffVersionRow
from metering.kit import audit
from metering.kit.errors import Conflict, FieldError, Forbidden, Invalid
from metering.kit.ids import new_id
from metering.meters.queries import every as meters_of
from metering.periods import show_date
from metering.sources.queries import by_code as source_by_code


class TariffExists(Conflict):
    """The code, or the source, has its tariff already."""

    code = "tariff-exists"
    title = "The tariff exists"


class TariffVersionExists(Conflict):
    """A version's name is used once in a tariff."""

    code = "tariff-version-exists"
    title = "The version exists"


class WrongStanding(Conflict):
    """The version is not where this step starts from."""

    code = "tariff-version-standing"
    title = "The version is not at that step"


class FourEyes(Forbidden):
    """A second person approves what the first one wrote."""

    code = "four-eyes"
    title = "Somebody else must approve"


class TariffRetrospective(Invalid):
    """The version would hold in months that are invoiced; say why."""

    code = "tariff-retrospective"
    title = "A retrospective version needs a reason"


def create_tariff(
    session: Session, *, code: str, source: str, name: str, principal: str, now: datetime
) -> TariffRow:
    """Begin the tariff of a hosted service; it has no prices until a version is approved.

    Args:
        source: code of the registered source whose meters it prices.

    Raises:
        SourceUnknown, TariffExists.
    """
    source_id = source_by_code(session, code=source).id
    if session.scalar(
        select(TariffRow.code).where(or_(TariffRow.code == code, TariffRow.source_id == source_id))
    ):
        raise TariffExists(f"{code}, or the source {source}, has a tariff already.")
    row = TariffRow(code=code, source_id=source_id, name=name, created_at=now, invoiced_to=None)
    session.add(row)
    session.flush()
    audit.record(
        session,
        now=now,
        principal=principal,
        action="create tariff",
        object_kind="tariff",
        object_id=code,
        facts={"source": source},
    )
    return row


def draft_version(
    session: Session, *, document: object, principal: str, now: datetime
) -> TariffVersionRow:
    """Keep a tariff document as a new draft version, or replace the draft of that name.

    Raises:
        TariffRefused: it breaks the format, or names meters, dimensions or bands that the
            tariff's source does not have.
        TariffUnknown: the tariff was not created.
        TariffVersionExists: the name belongs to a version that is no longer a draft.
    """
    tariff = parse_tariff(document)
    owner = queries.tariff(session, code=tariff.code)
    check_meters(session, owner, tariff)
    row = session.scalar(
        select(TariffVersionRow)
        .where(
            TariffVersionRow.tariff_code == tariff.code,
            TariffVersionRow.version == tariff.version,
        )
        .with_for_update()
    )
    if row is not None and row.status != "draft":
        raise TariffVersionExists(f"{tariff.code} {tariff.version} is {row.status}.")
    if row is None:
        row = TariffVersionRow(
            id=new_id("tv", now=now),
            tariff_code=tariff.code,
            version=tariff.version,
            status="draft",
            effective_to=None,
            created_at=now,
            submitted_at=None,
            approved_by=None,
            approved_at=None,
            retrospective_reason=None,
        )
        session.add(row)
    row.effective_from = tariff.effective_from
    row.content = to_document(tariff)
    row.author = principal
    session.flush()
    _note(session, "draft tariff version", row, principal, now)
    return row


def import_tariff(
    session: Session, *, text: str, principal: str, now: datetime
) -> TariffVersionRow:
    """Read a tariff file (YAML or JSON) into a draft version.

    Raises:
        TariffUnreadable: the text is not YAML or JSON that paygo reads.
        TariffRefused, TariffUnknown, TariffVersionExists: as `draft_version`.
    """
    return draft_version(session, document=load_document(text), principal=principal, now=now)


def export_tariff(session: Session, *, version_id: str) -> str:
    """Return a version as the YAML file that `import_tariff` reads back equal."""
    return dump_document(queries.version(session, version_id=version_id).content)


def submit_version(
    session: Session, *, version_id: str, principal: str, now: datetime
) -> TariffVersionRow:
    """Hand a draft over for approval; from here its contents stand.

    Raises:
        TariffVersionUnknown; WrongStanding: it is no draft.
    """
    row = _at(session, version_id, "draft")
    row.status = "submitted"
    row.submitted_at = now
    session.flush()
    _note(session, "submit tariff version", row, principal, now)
    return row


def return_version(
    session: Session, *, version_id: str, principal: str, now: datetime, reason: str
) -> TariffVersionRow:
    """Send a submitted version back to draft, to be changed."""
    row = _at(session, version_id, "submitted")
    row.status = "draft"
    row.submitted_at = None
    session.flush()
    _note(session, "return tariff version", row, principal, now, {"reason": reason})
    return row


def approve_version(
    session: Session,
    *,
    version_id: str,
    principal: str,
    now: datetime,
    reason: str | None = None,
) -> TariffVersionRow:
    """Approve a submitted version: it holds from its first day to the next version's.

    The version in force on that day ends there, so there is neither gap nor overlap; one
    that began on the same day is superseded whole.

    Args:
        reason: needed where the first day lies in months that are invoiced.

    Raises:
        WrongStanding: it was not submitted.
        FourEyes: the approver wrote it.
        TariffRetrospective: it reaches into invoiced months without a reason.
    """
    row = queries.version(session, version_id=version_id)
    # One approval of a tariff at a time: the versions' spans depend on each other.
    owner = session.scalars(
        select(TariffRow).where(TariffRow.code == row.tariff_code).with_for_update()
    ).one()
    row = _at(session, version_id, "submitted")
    if row.author == principal:
        raise FourEyes("The person who wrote a tariff version cannot approve it.")
    first = row.effective_from
    retrospective = owner.invoiced_to is not None and first < owner.invoiced_to
    if retrospective and not (reason or "").strip():
        assert owner.invoiced_to is not None
        raise TariffRetrospective(
            f"{owner.code} is invoiced up to {show_date(owner.invoiced_to)}; a version from "
            f"{show_date(first)} changes invoiced months and needs a reason."
        )
    _make_room(session, row)
    row.status = "approved"
    row.approved_by = principal
    row.approved_at = now
    row.retrospective_reason = (reason or "").strip() or None if retrospective else None
    session.flush()
    _note(
        session,
        "approve tariff version",
        row,
        principal,
        now,
        {"retrospective": retrospective, "reason": reason},
    )
    return row


def withdraw_version(
    session: Session, *, version_id: str, principal: str, now: datetime, today: date, reason: str
) -> TariffVersionRow:
    """Withdraw a version that never came into force; the one before it goes on.

    Args:
        today: the London date; an approved version that has begun cannot be withdrawn.

    Raises:
        WrongStanding: it is in force, superseded or withdrawn.
    """
    row = queries.version(session, version_id=version_id, for_update=True)
    if row.status not in {"draft", "submitted", "approved"} or (
        row.status == "approved" and row.effective_from <= today
    ):
        raise WrongStanding(
            f"{row.tariff_code} {row.version} is {queries.standing(row, today=today)}; approve a "
            "new version instead."
        )
    was_approved = row.status == "approved"
    row.status = "withdrawn"
    session.flush()
    if was_approved:
        before = session.scalar(
            select(TariffVersionRow).where(
                TariffVersionRow.tariff_code == row.tariff_code,
                TariffVersionRow.status == "approved",
                TariffVersionRow.effective_to == row.effective_from,
            )
        )
        if before is not None:
            before.effective_to = row.effective_to
            session.flush()
    _note(session, "withdraw tariff version", row, principal, now, {"reason": reason})
    return row


def note_invoiced(session: Session, *, end_day: date) -> None:
    """Mark every tariff as invoiced up to `end_day`; later changes before it are retrospective."""
    session.execute(
        update(TariffRow)
        .where(or_(TariffRow.invoiced_to.is_(None), TariffRow.invoiced_to < end_day))
        .values(invoiced_to=end_day)
    )


def _make_room(session: Session, row: TariffVersionRow) -> None:
    """End or supersede what holds on the version's first day, and take its end."""
    first = row.effective_from
    held = session.scalar(
        select(TariffVersionRow).where(
            TariffVersionRow.tariff_code == row.tariff_code,
            TariffVersionRow.status == "approved",
            TariffVersionRow.effective_from <= first,
            or_(TariffVersionRow.effective_to.is_(None), TariffVersionRow.effective_to > first),
        )
    )
    if held is not None:
        row.effective_to = held.effective_to
        if held.effective_from == first:
            held.status = "superseded"
        else:
            held.effective_to = first
    else:
        row.effective_to = session.scalar(
            select(TariffVersionRow.effective_from)
            .where(
                TariffVersionRow.tariff_code == row.tariff_code,
                TariffVersionRow.status == "approved",
                TariffVersionRow.effective_from > first,
            )
            .order_by(TariffVersionRow.effective_from)
            .limit(1)
        )
    # The exclusion constraint looks at each statement: room first, approval second.
    session.flush()


def _at(session: Session, version_id: str, status: str) -> TariffVersionRow:
    row = queries.version(session, version_id=version_id, for_update=True)
    session.refresh(row)
    if row.status != status:
        raise WrongStanding(f"{row.tariff_code} {row.version} is {row.status}, not {status}.")
    return row


def check_meters(session: Session, owner: TariffRow, tariff: Tariff) -> None:
    """Refuse prices for what the source does not report: they could never apply.

    Raises:
        TariffRefused: with every fault.
    """
    meters = {row.code: row for row in meters_of(session, source_id=owner.source_id)}
    faults: list[FieldError] = []
    for number, price in enumerate(tariff.prices):
        at = f"/prices/{number}"
        if price.meter is None:
            continue
        meter = meters.get(price.meter)
        if meter is None:
            faults.append(
                FieldError(
                    f"{at}/meter",
                    "meter-unknown",
                    f"The service has no meter {price.meter}.",
                )
            )
            continue
        for name, value in price.where:
            declared = meter.dimensions.get(name)
            if declared is None:
                faults.append(
                    FieldError(
                        f"{at}/where/{name}",
                        "dimension-unknown",
                        f"{price.meter} is not split by {name}.",
                    )
                )
            elif declared.get("values") is not None and value not in declared["values"]:
                faults.append(
                    FieldError(
                        f"{at}/where/{name}",
                        "dimension-value-unknown",
                        f"{name} of {price.meter} is never {value}.",
                    )
                )
        if price.band is not None and meter.resolution != "hour":
            faults.append(
                FieldError(
                    f"{at}/band",
                    "meter-not-hourly",
                    f"{price.meter} is kept by the day; bands need it by the hour.",
                )
            )
    if faults:
        raise TariffRefused(
            f"The tariff does not fit its service's meters: {faults[0].detail}",
            errors=tuple(faults),
        )


def _note(
    session: Session,
    action: str,
    row: TariffVersionRow,
    principal: str,
    now: datetime,
    facts: dict[str, Any] | None = None,
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="tariff version",
        object_id=row.id,
        facts={"tariff": row.tariff_code, "version": row.version, **(facts or {})},
    )
