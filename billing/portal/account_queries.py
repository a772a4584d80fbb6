"""The accounts that somebody may open."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from metering.organisations.tables import OrganisationRow

SORT_KEYS: dict[str, ColumnElement[Any]] = {
    "name": AccountRow.name.expression,
    "code": OrganisationRow.ods_code.expression,
    "state": AccountRow.closed_at.is_not(None),
}


class AccountChoice(NamedTuple):
    """An account in the list to choose from."""

    code: str
    name: str
    closed: bool


def account_choices(
    session: Session,
    *,
    account_ids: Collection[str] | None,
    search: str,
    sort: str = "name",
    descending: bool = False,
    page: int,
    page_size: int,
) -> tuple[list[AccountChoice], int]:
    """Return a page of accounts, and how many there are on all pages.

    Args:
        account_ids: only these; None is every account.
        search: part of a name or the beginning of an ODS code.
        sort: one of `SORT_KEYS`.
    """
    conditions: list[ColumnElement[bool]] = []
    if account_ids is not None:
        conditions.append(AccountRow.id.in_(account_ids))
    if search:
        pattern = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.append(
            or_(
                AccountRow.name.ilike(f"%{pattern}%"),
                OrganisationRow.ods_code.ilike(f"{pattern}%"),
            )
        )
    joined = AccountRow.organisation_id == OrganisationRow.id
    total = session.scalar(
        select(func.count())
        .select_from(AccountRow)
        .join(OrganisationRow, joined)
        .where(*conditions)
    )
    rows = session.execute(
        select(OrganisationRow.ods_code, AccountRow.name, AccountRow.closed_at.is_not(None))
        .join(AccountRow, joined)
        .where(*conditions)
        .order_by(
            SORT_KEYS[sort].desc() if descending else SORT_KEYS[sort],
            AccountRow.name,
            OrganisationRow.ods_code,
        )
        .limit(page_size)
        .offset((page - 1) * page_size)
    )
    return [AccountChoice(*row) for row in rows], total or 0
