"""Whose pages these are: the one place where the portal learns which account is open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import g, url_for
from sqlalchemy.orm import Session

from billing.access.guards import RoleNeeded, current_principal, scope_of
from billing.access.model import Permission, Principal
from billing.accounts import queries as accounts
from metering.kit.web import edge


@dataclass(frozen=True)
class OpenAccount:
    """The account whose pages are shown.

    Attributes:
        id: account id.
        code: ODS code of its organisation, as in the address.
        name: as printed on invoices.
        organisation_id: `subject_id` of its usage.
        may_change: whoever looks is its finance editor.
        only_looking: whoever looks has no finance role for it, but a central one.
        others: whoever looks may open other accounts too.
        closed: it takes on nothing new.
    """

    id: str
    code: str
    name: str
    organisation_id: int
    may_change: bool
    only_looking: bool
    others: bool
    closed: bool


def account_for(session: Session, *, principal: Principal, code: str) -> OpenAccount:
    """Return the account of the organisation with this ODS code, for whoever asks.

    Raises:
        AccountUnknown: there is none, or it is not theirs to see; nobody is told which.
    """
    found = accounts.payer_by_ods_code(session, ods_code=code)
    account_id = found.account.id
    if not principal.may(Permission.SEE_ACCOUNT, account_id=account_id):
        raise accounts.AccountUnknown(f"There is no account for the organisation {code}.")
    return OpenAccount(
        id=account_id,
        code=found.ods_code,
        name=found.account.name,
        organisation_id=found.organisation_id,
        may_change=principal.may(Permission.CHANGE_ACCOUNT, account_id=account_id),
        only_looking=account_id not in principal.account_ids,
        others=principal.may(Permission.SEE_EVERYTHING) or len(principal.account_ids) > 1,
        closed=found.account.closed_at is not None,
    )


@contextmanager
def opened(code: str) -> Iterator[tuple[Session, OpenAccount]]:
    """Open a snapshot and the account in the address; the header's links then lead to it.

    Raises:
        AccountUnknown: see `account_for`.
    """
    principal = current_principal()
    with edge().database.snapshot(scope=scope_of(principal)) as session:
        account = account_for(session, principal=principal, code=code)
        g.open_account = account
        yield session, account


@contextmanager
def asking(code: str) -> Iterator[tuple[Session, OpenAccount]]:
    """Open a transaction and the account in the address, for whoever may see it.

    For what changes nothing of the account, such as asking for a file of its documents.

    Raises:
        AccountUnknown: see `account_for`.
    """
    principal = current_principal()
    with edge().database.transaction(scope=scope_of(principal)) as session:
        yield session, account_for(session, principal=principal, code=code)


@contextmanager
def changing(code: str) -> Iterator[tuple[Session, OpenAccount]]:
    """Open a transaction and the account in the address, for its finance editor.

    Raises:
        AccountUnknown: see `account_for`.
        RoleNeeded: whoever asks may look at the account but change nothing.
    """
    principal = current_principal()
    with edge().database.transaction(scope=scope_of(principal)) as session:
        account = account_for(session, principal=principal, code=code)
        if not account.may_change:
            raise RoleNeeded("Only the finance editors of this account may change it.")
        yield session, account


def open_account() -> OpenAccount | None:
    """Return the account that this request opened, None where it opened none."""
    found = g.get("open_account")
    return found if isinstance(found, OpenAccount) else None


def address_in_account(endpoint: str) -> str | None:
    """Return the address of a portal page for the account in hand, None where there is none."""
    account = open_account()
    return None if account is None else url_for(endpoint, code=account.code)
