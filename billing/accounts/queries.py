"""Reads of accounts and of what they agreed to."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.accounts.allocation import AllocationRule, read_share
from billing.accounts.model import Order, VatTreatment
from billing.accounts.tables import (
    AccountRow,
    AgreementRow,
    AllocationRuleRow,
    LocalAgreementRow,
    PurchaseOrderRow,
    VatTreatmentRow,
)
from metering.kit.errors import NotFound
from metering.organisations.tables import OrganisationRow


class AccountUnknown(NotFound):
    """There is no such account."""

    code = "account-unknown"
    title = "No such account"


class Payer(NamedTuple):
    """An account with the ODS code of its organisation."""

    account: AccountRow
    ods_code: str
    organisation_id: int


def account(session: Session, *, account_id: str) -> AccountRow:
    """Return the account.

    Raises:
        AccountUnknown: there is none with this id.
    """
    row = session.get(AccountRow, account_id)
    if row is None:
        raise AccountUnknown(f"There is no account {account_id}.")
    return row


def payer(session: Session, *, account_id: str) -> Payer:
    """Return the account with its ODS code.

    Raises:
        AccountUnknown: there is none with this id.
    """
    for found in payers(session, account_ids=[account_id]):
        return found
    raise AccountUnknown(f"There is no account {account_id}.")


def payer_by_ods_code(session: Session, *, ods_code: str) -> Payer:
    """Return the account of the organisation with this ODS code.

    Raises:
        AccountUnknown: the organisation is unknown or has no account.
    """
    found = session.execute(
        select(AccountRow, OrganisationRow.ods_code, OrganisationRow.id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .where(OrganisationRow.ods_code == ods_code)
    ).first()
    if found is None:
        raise AccountUnknown(f"There is no account for the organisation {ods_code}.")
    return Payer(*found)


def payers(session: Session, *, account_ids: Collection[str] | None = None) -> list[Payer]:
    """Return accounts with their ODS codes, by ODS code; all of them unless ids are given."""
    statement = (
        select(AccountRow, OrganisationRow.ods_code, OrganisationRow.id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .order_by(OrganisationRow.ods_code)
    )
    if account_ids is not None:
        statement = statement.where(AccountRow.id.in_(account_ids))
    return [Payer(*row) for row in session.execute(statement)]


def agreements(
    session: Session,
    *,
    account_id: str | None = None,
    from_day: date | None = None,
    to_day: date | None = None,
) -> Sequence[AgreementRow]:
    """Return agreements, of one account or of all, that touch London dates `[from_day, to_day)`."""
    statement = select(AgreementRow).order_by(
        AgreementRow.account_id, AgreementRow.tariff_code, AgreementRow.starts_on
    )
    if account_id is not None:
        statement = statement.where(AgreementRow.account_id == account_id)
    if to_day is not None:
        statement = statement.where(AgreementRow.starts_on < to_day)
    if from_day is not None:
        statement = statement.where(
            or_(AgreementRow.ends_on.is_(None), AgreementRow.ends_on > from_day)
        )
    return session.scalars(statement).all()


def vat_treatments(session: Session, *, account_id: str) -> list[VatTreatment]:
    """Return the account's own VAT treatments, all dates."""
    return vat_treatments_of(session, account_ids=[account_id])[account_id]


def vat_treatments_of(
    session: Session, *, account_ids: Collection[str]
) -> dict[str, list[VatTreatment]]:
    """Return the VAT treatments of each account, all dates; an empty list where it has none."""
    found: dict[str, list[VatTreatment]] = {account_id: [] for account_id in account_ids}
    for row in session.scalars(
        select(VatTreatmentRow)
        .where(VatTreatmentRow.account_id.in_(account_ids))
        .order_by(VatTreatmentRow.starts_on)
    ):
        found[row.account_id].append(
            VatTreatment(
                treatment=row.treatment,
                reason=row.reason,
                starts_on=row.starts_on,
                ends_on=row.ends_on,
                tariff_code=row.tariff_code,
            )
        )
    return found


def orders(session: Session, *, account_id: str) -> list[Order]:
    """Return the account's purchase orders, all dates."""
    return orders_of(session, account_ids=[account_id])[account_id]


def orders_of(session: Session, *, account_ids: Collection[str]) -> dict[str, list[Order]]:
    """Return the purchase orders of each account, all dates; an empty list where it has none."""
    found: dict[str, list[Order]] = {account_id: [] for account_id in account_ids}
    for row in session.scalars(
        select(PurchaseOrderRow)
        .where(PurchaseOrderRow.account_id.in_(account_ids))
        .order_by(PurchaseOrderRow.starts_on)
    ):
        found[row.account_id].append(
            Order(
                number=row.number,
                starts_on=row.starts_on,
                ends_on=row.ends_on,
                tariff_code=row.tariff_code,
                value=row.value,
                hold_when_spent=row.hold_when_spent,
                id=row.id,
            )
        )
    return found


def local_agreements(
    session: Session,
    *,
    from_day: date | None = None,
    to_day: date | None = None,
    account_id: str | None = None,
    status: str | None = "approved",
) -> Sequence[LocalAgreementRow]:
    """Return local agreements that touch London dates `[from_day, to_day)`, by start.

    Args:
        account_id: only this account's own, not its groups'; all owners' where None.
        status: `proposed`, `approved` or `rejected`; None for any.
    """
    statement = select(LocalAgreementRow).order_by(
        LocalAgreementRow.starts_on, LocalAgreementRow.id
    )
    if status is not None:
        statement = statement.where(LocalAgreementRow.status == status)
    if account_id is not None:
        statement = statement.where(LocalAgreementRow.account_id == account_id)
    if to_day is not None:
        statement = statement.where(LocalAgreementRow.starts_on < to_day)
    if from_day is not None:
        statement = statement.where(
            or_(LocalAgreementRow.ends_on.is_(None), LocalAgreementRow.ends_on > from_day)
        )
    return session.scalars(statement).all()


def allocation_rows(session: Session, *, account_id: str) -> Sequence[AllocationRuleRow]:
    """Return the account's allocation rules, all dates, as people list them."""
    return _allocation_rows(session, [account_id])


def _allocation_rows(session: Session, account_ids: Collection[str]) -> Sequence[AllocationRuleRow]:
    return session.scalars(
        select(AllocationRuleRow)
        .where(AllocationRuleRow.account_id.in_(account_ids))
        .order_by(
            AllocationRuleRow.tariff_code.nulls_first(),
            AllocationRuleRow.meter.nulls_first(),
            AllocationRuleRow.selector,
            AllocationRuleRow.starts_on,
        )
    ).all()


def allocation_rules(session: Session, *, account_id: str) -> list[AllocationRule]:
    """Return the account's allocation rules, all dates."""
    return allocation_rules_of(session, account_ids=[account_id])[account_id]


def allocation_rules_of(
    session: Session, *, account_ids: Collection[str]
) -> dict[str, list[AllocationRule]]:
    """Return the allocation rules of each account, all dates; an empty list where it has none."""
    found: dict[str, list[AllocationRule]] = {account_id: [] for account_id in account_ids}
    for row in _allocation_rows(session, account_ids):
        found[row.account_id].append(
            AllocationRule(
                starts_on=row.starts_on,
                ends_on=row.ends_on,
                tariff_code=row.tariff_code,
                meter=row.meter,
                where=tuple(sorted(row.dimensions.items())),
                shares=tuple(read_share(share) for share in row.shares),
            )
        )
    return found


def heirs(session: Session, *, account_id: str) -> list[Payer]:
    """Return the account that took over, and whoever took over that one; empty while open."""
    found: list[Payer] = []
    row = account(session, account_id=account_id)
    while row.successor_id is not None:
        found.append(payer(session, account_id=row.successor_id))
        row = found[-1].account
    return found


def predecessors(session: Session, *, account_id: str) -> list[Payer]:
    """Return every account that this one took over, directly or through others, by ODS code."""
    tree = select(AccountRow.id).where(AccountRow.successor_id == account_id).cte(recursive=True)
    tree = tree.union(select(AccountRow.id).join(tree, AccountRow.successor_id == tree.c.id))
    return payers(session, account_ids=list(session.scalars(select(tree.c.id))))
