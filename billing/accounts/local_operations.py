"""Local agreements: proposed by one person, approved by another, ended in the same way."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.accounts import queries
from billing.accounts.operations import BadDates, need_reason
from billing.accounts.tables import AgreementRow, LocalAgreementRow
from billing.accounts.terms import LocalTermsInvalid, checked_terms
from billing.tariffs import queries as tariffs
from billing.tariffs.operations import FourEyes, check_meters
from billing.tariffs.parsing import parse_prices
from metering.kit import audit
from metering.kit.errors import Conflict, NotFound
from metering.kit.ids import new_id
from metering.periods import show_date


class LocalAgreementUnknown(NotFound):
    """There is no such local agreement."""

    code = "local-agreement-unknown"
    title = "No such local agreement"


class LocalAgreementStanding(Conflict):
    """The local agreement is not where this step starts from."""

    code = "local-agreement-standing"
    title = "The local agreement is not at that step"


class LocalAgreementOverlaps(Conflict):
    """An account has one local agreement on a tariff at a time, its own or its group's."""

    code = "local-agreement-overlaps"
    title = "Another local agreement holds then"


def propose_local_agreement(
    session: Session,
    *,
    tariff_code: str,
    terms: Mapping[str, Any],
    starts_on: date,
    principal: str,
    now: datetime,
    account_id: str | None = None,
    group_code: str | None = None,
    ends_on: date | None = None,
    reason: str = "",
) -> LocalAgreementRow:
    """Propose other terms on London dates `[starts_on, ends_on)`; nothing changes yet.

    Args:
        terms: see `terms.checked_terms`.
        account_id, group_code: whose they are, exactly one. A group's hold for every account
            while its agreement names that group; its commitment is then a joint one.
        reason: needed where they start in months that are invoiced.

    Raises:
        AccountUnknown, TariffUnknown, BadDates, LocalTermsInvalid, TariffRefused,
        RetrospectiveReasonMissing.
    """
    if (account_id is None) == (group_code is None):
        raise LocalTermsInvalid("A local agreement is one account's or one group's.")
    if account_id is not None:
        queries.account(session, account_id=account_id)
    tariff = tariffs.tariff(session, code=tariff_code)
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("A local agreement ends after it starts.")
    need_reason(tariff, starts_on, reason)
    row = LocalAgreementRow(
        id=new_id("loc", now=now),
        account_id=account_id,
        group_code=group_code,
        tariff_code=tariff_code,
        starts_on=starts_on,
        ends_on=ends_on,
        terms=_checked(session, tariff_code, starts_on, terms, for_group=group_code is not None),
        status="proposed",
        reason=reason.strip(),
        proposed_by=principal,
        proposed_at=now,
        decided_by=None,
        decided_at=None,
        end_proposed_on=None,
        end_proposed_by=None,
        end_approved_by=None,
    )
    session.add(row)
    session.flush()
    _note(session, "propose local agreement", row, principal, now, {"terms": row.terms})
    return row


def approve_local_agreement(
    session: Session, *, local_id: str, principal: str, now: datetime
) -> LocalAgreementRow:
    """Let a proposed local agreement hold on its dates.

    Raises:
        LocalAgreementUnknown, LocalAgreementStanding, FourEyes, LocalAgreementOverlaps,
        RetrospectiveReasonMissing (months were invoiced since it was proposed).
    """
    row = _at(session, local_id, "proposed")
    if row.proposed_by == principal:
        raise FourEyes("The person who proposed a local agreement cannot approve it.")
    need_reason(tariffs.tariff(session, code=row.tariff_code), row.starts_on, row.reason)
    other = _overlapping(session, row)
    if other is not None:
        raise LocalAgreementOverlaps(
            f"{other.id} holds on {row.tariff_code} from {show_date(other.starts_on)}."
        )
    row.status, row.decided_by, row.decided_at = "approved", principal, now
    session.flush()
    _note(session, "approve local agreement", row, principal, now, {"reason": row.reason})
    return row


def reject_local_agreement(
    session: Session, *, local_id: str, principal: str, now: datetime, reason: str
) -> LocalAgreementRow:
    """Turn a proposed local agreement down, or take one's own proposal back.

    Raises:
        LocalAgreementUnknown, LocalAgreementStanding.
    """
    row = _at(session, local_id, "proposed")
    row.status, row.decided_by, row.decided_at = "rejected", principal, now
    session.flush()
    _note(session, "reject local agreement", row, principal, now, {"reason": reason})
    return row


def propose_end(
    session: Session,
    *,
    local_id: str,
    ends_on: date,
    principal: str,
    now: datetime,
    reason: str = "",
) -> LocalAgreementRow:
    """Propose that a local agreement ends: `ends_on` is the first day it no longer holds.

    Raises:
        LocalAgreementUnknown, LocalAgreementStanding, BadDates, RetrospectiveReasonMissing.
    """
    row = _at(session, local_id, "approved")
    if ends_on <= row.starts_on or (row.ends_on is not None and ends_on >= row.ends_on):
        raise BadDates("A local agreement is ended after its start and earlier than it would.")
    need_reason(tariffs.tariff(session, code=row.tariff_code), ends_on, reason)
    row.end_proposed_on, row.end_proposed_by = ends_on, principal
    session.flush()
    facts = {"ends_on": str(ends_on), "reason": reason}
    _note(session, "propose end of local agreement", row, principal, now, facts)
    return row


def approve_end(
    session: Session, *, local_id: str, principal: str, now: datetime
) -> LocalAgreementRow:
    """Let a local agreement end on the day that another person proposed.

    Raises:
        LocalAgreementUnknown, LocalAgreementStanding, FourEyes.
    """
    row = _at(session, local_id, "approved")
    if row.end_proposed_on is None:
        raise LocalAgreementStanding("Nobody proposed an end for this local agreement.")
    if row.end_proposed_by == principal:
        raise FourEyes("The person who proposed the end cannot approve it.")
    row.ends_on, row.end_approved_by = row.end_proposed_on, principal
    row.end_proposed_on = None
    session.flush()
    _note(
        session,
        "approve end of local agreement",
        row,
        principal,
        now,
        {"ends_on": str(row.ends_on)},
    )
    return row


def _checked(
    session: Session, tariff_code: str, day: date, terms: Mapping[str, Any], *, for_group: bool
) -> dict[str, Any]:
    versions = tariffs.in_force(
        session, from_day=day, to_day=day + timedelta(days=1), tariff_code=tariff_code
    )
    if not versions:
        raise BadDates(f"{tariff_code} has no version in force on {show_date(day)}.")
    (version,) = versions
    found = checked_terms(terms, bands=version.tariff.bands, for_group=for_group)
    if "prices" in found:
        prices = parse_prices(found["prices"], bands=version.tariff.bands)
        owner = tariffs.tariff(session, code=tariff_code)
        check_meters(session, owner, replace(version.tariff, prices=prices))
    return found


def _overlapping(session: Session, row: LocalAgreementRow) -> LocalAgreementRow | None:
    """Return an approved one that some account would have besides `row`."""
    statement = select(LocalAgreementRow).where(
        LocalAgreementRow.status == "approved",
        LocalAgreementRow.tariff_code == row.tariff_code,
        or_(LocalAgreementRow.ends_on.is_(None), LocalAgreementRow.ends_on > row.starts_on),
    )
    if row.ends_on is not None:
        statement = statement.where(LocalAgreementRow.starts_on < row.ends_on)
    if row.account_id is not None:
        groups = select(AgreementRow.group_code).where(
            AgreementRow.account_id == row.account_id, AgreementRow.group_code.is_not(None)
        )
        statement = statement.where(
            or_(
                LocalAgreementRow.account_id == row.account_id,
                LocalAgreementRow.group_code.in_(groups),
            )
        )
    else:
        members = select(AgreementRow.account_id).where(AgreementRow.group_code == row.group_code)
        statement = statement.where(
            or_(
                LocalAgreementRow.group_code == row.group_code,
                LocalAgreementRow.account_id.in_(members),
            )
        )
    return session.scalars(statement.limit(1)).first()


def _at(session: Session, local_id: str, status: str) -> LocalAgreementRow:
    row = session.get(LocalAgreementRow, local_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise LocalAgreementUnknown(f"There is no local agreement {local_id}.")
    if row.status != status:
        raise LocalAgreementStanding(f"The local agreement is {row.status}, not {status}.")
    return row


def _note(
    session: Session,
    action: str,
    row: LocalAgreementRow,
    principal: str,
    now: datetime,
    facts: Mapping[str, Any],
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="local agreement",
        object_id=row.id,
        facts={
            "account": row.account_id,
            "group": row.group_code,
            "tariff": row.tariff_code,
            "starts_on": str(row.starts_on),
            **facts,
        },
    )
