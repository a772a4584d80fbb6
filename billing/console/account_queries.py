"""Reads for the account pages: all accounts with their services, and what may be chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from billing.accounts.local_operations import LocalAgreementUnknown
from billing.accounts.tables import (
    AccountRow,
    AgreementRow,
    LocalAgreementRow,
    PurchaseOrderRow,
    VatTreatmentRow,
)
from metering.organisations.tables import OrganisationRow


@dataclass(frozen=True)
class AccountSummary:
    """An account as the list shows it.

    Attributes:
        services: tariffs that it is on today.
    """

    id: str
    ods_code: str
    name: str
    services: int
    closed: bool
    email: str


@dataclass(frozen=True)
class AccountDetails:
    """Everything that was agreed with an account, all dates."""

    account: AccountRow
    organisation: OrganisationRow
    agreements: Sequence[AgreementRow]
    locals: Sequence[LocalAgreementRow]
    orders: Sequence[PurchaseOrderRow]
    treatments: Sequence[VatTreatmentRow]
    successor: AccountRow | None
    predecessors: Sequence[AccountRow]


def accounts(session: Session, *, today: date, search: str = "") -> list[AccountSummary]:
    """Return all accounts by name; `search` keeps those whose name or ODS code contains it."""
    now = (
        select(AgreementRow.account_id, func.count().label("services"))
        .where(
            AgreementRow.starts_on <= today,
            AgreementRow.ends_on.is_(None) | (AgreementRow.ends_on > today),
        )
        .group_by(AgreementRow.account_id)
        .subquery()
    )
    statement = (
        select(
            AccountRow.id,
            OrganisationRow.ods_code,
            AccountRow.name,
            func.coalesce(now.c.services, 0),
            AccountRow.closed_at.is_not(None),
            AccountRow.email,
        )
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .outerjoin(now, now.c.account_id == AccountRow.id)
        .order_by(AccountRow.name)
    )
    if search:
        statement = statement.where(
            AccountRow.name.icontains(search, autoescape=True)
            | OrganisationRow.ods_code.icontains(search, autoescape=True)
        )
    return [AccountSummary(*row) for row in session.execute(statement)]


def details(session: Session, *, account: AccountRow) -> AccountDetails:
    """Return everything that was agreed with an account."""
    return AccountDetails(
        account=account,
        organisation=session.get_one(OrganisationRow, account.organisation_id),
        agreements=session.scalars(
            select(AgreementRow)
            .where(AgreementRow.account_id == account.id)
            .order_by(AgreementRow.tariff_code, AgreementRow.starts_on.desc())
        ).all(),
        locals=local_agreement_rows(session, account_id=account.id),
        orders=session.scalars(
            select(PurchaseOrderRow)
            .where(PurchaseOrderRow.account_id == account.id)
            .order_by(PurchaseOrderRow.starts_on.desc(), PurchaseOrderRow.id)
        ).all(),
        treatments=session.scalars(
            select(VatTreatmentRow)
            .where(VatTreatmentRow.account_id == account.id)
            .order_by(VatTreatmentRow.starts_on.desc(), VatTreatmentRow.id)
        ).all(),
        successor=None
        if account.successor_id is None
        else session.get_one(AccountRow, account.successor_id),
        predecessors=session.scalars(
            select(AccountRow)
            .where(AccountRow.successor_id == account.id)
            .order_by(AccountRow.name)
        ).all(),
    )


def groups_of(session: Session, *, account_id: str) -> list[str]:
    """Return the groups that an account shares prices with, at any time."""
    return list(
        session.scalars(
            select(AgreementRow.group_code)
            .where(AgreementRow.account_id == account_id, AgreementRow.group_code.is_not(None))
            .distinct()
            .order_by(AgreementRow.group_code)
        )
    )


def local_agreement_rows(session: Session, *, account_id: str) -> Sequence[LocalAgreementRow]:
    """Return the local agreements of an account and of its groups, the latest first."""
    return session.scalars(
        select(LocalAgreementRow)
        .where(
            or_(
                LocalAgreementRow.account_id == account_id,
                LocalAgreementRow.group_code.in_(groups_of(session, account_id=account_id)),
            )
        )
        .order_by(
            LocalAgreementRow.tariff_code,
            LocalAgreementRow.starts_on.desc(),
            LocalAgreementRow.id.desc(),
        )
    ).all()


WAITS_FOR_APPROVAL = or_(
    LocalAgreementRow.status == "proposed", LocalAgreementRow.end_proposed_on.is_not(None)
)
"""A local agreement, or its earlier end, that one person proposed and nobody has decided."""


def all_local_agreements(
    session: Session, *, waiting: bool = False
) -> list[tuple[LocalAgreementRow, str]]:
    """Return local agreements of every account and group with their owner's name, latest first.

    Args:
        waiting: only those that wait for a second person.
    """
    statement = (
        select(LocalAgreementRow, AccountRow.name)
        .outerjoin(AccountRow, AccountRow.id == LocalAgreementRow.account_id)
        .order_by(LocalAgreementRow.proposed_at.desc(), LocalAgreementRow.id.desc())
    )
    if waiting:
        statement = statement.where(WAITS_FOR_APPROVAL)
    return [
        (row, f"Group {row.group_code}" if name is None else name)
        for row, name in session.execute(statement)
    ]


def local_agreement_row(session: Session, *, local_id: str) -> LocalAgreementRow:
    """Return one local agreement.

    Raises:
        LocalAgreementUnknown: there is none with this id.
    """
    row = session.get(LocalAgreementRow, local_id)
    if row is None:
        raise LocalAgreementUnknown(f"There is no local agreement {local_id}.")
    return row


def without_account(session: Session, *, today: date) -> list[tuple[str, str]]:
    """Return ODS code and name of each open organisation that has no account."""
    rows = session.execute(
        select(OrganisationRow.ods_code, OrganisationRow.name)
        .outerjoin(AccountRow, AccountRow.organisation_id == OrganisationRow.id)
        .where(
            AccountRow.id.is_(None),
            OrganisationRow.closed_from.is_(None) | (OrganisationRow.closed_from > today),
        )
        .order_by(OrganisationRow.name)
    )
    return [(row.ods_code, f"{row.name} ({row.ods_code})") for row in rows]
