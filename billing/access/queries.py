"""Reads: who is signed in, who there is."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from billing.access.model import Grant, Principal, Role, session_is_live
from billing.access.tables import SessionRow, SignInAttemptRow, UserRoleRow, UserRow
from billing.accounts.tables import AccountRow
from metering.kit.errors import NotFound, Unauthenticated
from metering.organisations.tables import OrganisationRow
from metering.sources.tables import SourceRow


class NotSignedIn(Unauthenticated):
    """There is no session: nobody has signed in with this browser, or they have signed out."""

    code = "not-signed-in"
    title = "Sign in to continue"


class SessionEnded(Unauthenticated):
    """The session was idle for 30 minutes, is 12 hours old, or was ended by a change of password
    or role."""

    code = "session-ended"
    title = "Your session has ended"


class NoSuchUser(NotFound):
    """There is no user with that id."""

    code = "no-such-user"
    title = "No such user"


@dataclass(frozen=True)
class LiveSession:
    """A session in force: who, and when they were last seen."""

    principal: Principal
    last_seen_at: datetime


@dataclass(frozen=True)
class UserSummary:
    """A user as the list of users shows them."""

    principal: Principal
    created_at: datetime
    disabled: bool


def token_hash(token: str) -> str:
    """Return what is kept of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _grant(row: UserRoleRow) -> Grant:
    return Grant(Role(row.role), account_id=row.account_id, source_id=row.source_id)


def _principal(user: UserRow, roles: Iterable[UserRoleRow]) -> Principal:
    return Principal(
        id=user.id,
        name=user.name,
        email=user.email,
        grants=frozenset(_grant(row) for row in roles),
        must_change_password=user.must_change_password,
        has_password=user.password_hash is not None,
    )


def live_session(session: Session, *, token: str, now: datetime) -> LiveSession:
    """Return who a session token stands for.

    Raises:
        SessionEnded: the token is unknown, or its session is over.
    """
    found = session.execute(
        select(SessionRow, UserRow)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(SessionRow.token_sha256 == token_hash(token))
    ).one_or_none()
    ended = SessionEnded("Your session has ended. Sign in again.")
    if found is None:
        raise ended
    row, user = found
    live = session_is_live(started_at=row.started_at, last_seen_at=row.last_seen_at, now=now)
    if row.ended_at is not None or user.disabled_at is not None or not live:
        raise ended
    roles = session.execute(
        select(UserRoleRow, AccountRow.organisation_id)
        .outerjoin(AccountRow, AccountRow.id == UserRoleRow.account_id)
        .where(UserRoleRow.user_id == user.id)
    ).all()
    principal = _principal(user, [role for role, _ in roles])
    inherited = _inherited(session, principal, now=now)
    principal = replace(
        principal,
        grants=principal.grants | {grant for grant, _ in inherited},
        organisation_ids=frozenset(each for _, each in roles if each is not None)
        | {organisation_id for _, organisation_id in inherited},
    )
    return LiveSession(principal, row.last_seen_at)


def _inherited(session: Session, principal: Principal, *, now: datetime) -> list[tuple[Grant, int]]:
    """Return the finance roles for what the principal's accounts have taken over by `now`.

    Whoever took over owes what the predecessor left open, so its people see the predecessor's
    invoices and may query and pay them. With each role comes the organisation of its account.
    """
    found: list[tuple[Grant, int]] = []
    held = {grant for grant in principal.grants if grant.account_id is not None}
    while held:
        rows = session.execute(
            select(AccountRow.id, AccountRow.organisation_id, AccountRow.successor_id).where(
                AccountRow.successor_id.in_({grant.account_id for grant in held}),
                AccountRow.closed_at <= now,
            )
        ).all()
        taken_over = {
            (replace(grant, account_id=account_id), organisation_id)
            for account_id, organisation_id, successor_id in rows
            for grant in held
            if grant.account_id == successor_id
        }
        found.extend(taken_over)
        held = {grant for grant, _ in taken_over}
    return found


def user_row(session: Session, *, user_id: str) -> UserRow:
    """Return a user's row.

    Raises:
        NoSuchUser: there is none.
    """
    user = session.get(UserRow, user_id)
    if user is None:
        raise NoSuchUser("There is no such user.")
    return user


def user(session: Session, *, user_id: str) -> UserSummary:
    """Return one user.

    Raises:
        NoSuchUser: there is none.
    """
    row = user_row(session, user_id=user_id)
    roles = session.scalars(select(UserRoleRow).where(UserRoleRow.user_id == user_id)).all()
    return UserSummary(_principal(row, roles), row.created_at, row.disabled_at is not None)


USER_SORT_KEYS: Mapping[str, ColumnElement[Any]] = {
    "name": func.lower(UserRow.name),
    "email": UserRow.email.expression,
    "access": UserRow.disabled_at.is_not(None),
}


def users(
    session: Session,
    *,
    search: str = "",
    sort: str = "name",
    descending: bool = False,
    page: int = 1,
    size: int = 50,
) -> tuple[Sequence[UserSummary], int]:
    """Return one page of users, and how many there are in all.

    Args:
        session: a snapshot.
        search: part of a name or email address.
        sort: one of `USER_SORT_KEYS`.
        page: from 1.
        size: users on a page.
    """
    chosen = select(UserRow)
    if search:
        chosen = chosen.where(
            UserRow.name.icontains(search, autoescape=True)
            | UserRow.email.icontains(search, autoescape=True)
        )
    total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    rows = session.scalars(
        chosen.order_by(
            USER_SORT_KEYS[sort].desc() if descending else USER_SORT_KEYS[sort],
            func.lower(UserRow.name),
            UserRow.id,
        )
        .limit(size)
        .offset((page - 1) * size)
    ).all()
    roles: dict[str, list[UserRoleRow]] = {row.id: [] for row in rows}
    for role in session.scalars(select(UserRoleRow).where(UserRoleRow.user_id.in_(roles))):
        roles[role.user_id].append(role)
    return [
        UserSummary(_principal(row, roles[row.id]), row.created_at, row.disabled_at is not None)
        for row in rows
    ], total


def recent_failures(
    session: Session, *, email: str, remote_address: str | None, since: datetime
) -> tuple[Sequence[datetime], int]:
    """Return when an email address failed since its last success, oldest first, and how often
    the network address failed; both after `since`."""
    last_success = session.scalar(
        select(func.max(SignInAttemptRow.at)).where(
            SignInAttemptRow.email == email, SignInAttemptRow.succeeded
        )
    )
    begin = since if last_success is None else max(since, last_success)
    failures = session.scalars(
        select(SignInAttemptRow.at)
        .where(
            SignInAttemptRow.email == email,
            ~SignInAttemptRow.succeeded,
            SignInAttemptRow.at > begin,
        )
        .order_by(SignInAttemptRow.at)
    ).all()
    of_address = session.scalar(
        select(func.count())
        .select_from(SignInAttemptRow)
        .where(
            SignInAttemptRow.remote_address == remote_address,
            ~SignInAttemptRow.succeeded,
            SignInAttemptRow.at > since,
        )
    )
    return failures, of_address or 0


def accounts_of_organisations(session: Session, *, codes: Iterable[str]) -> Sequence[str]:
    """Return the accounts of organisations, by their ODS codes."""
    return session.scalars(
        select(AccountRow.id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .where(OrganisationRow.ods_code.in_(list(codes)))
    ).all()


def sources_of_codes(session: Session, *, codes: Iterable[str]) -> Sequence[int]:
    """Return the sources with these codes."""
    return session.scalars(select(SourceRow.id).where(SourceRow.code.in_(list(codes)))).all()


def grant_choices(session: Session) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[int, str]]]:
    """Return what roles can be for: (account id, name) and (source id, name), by name."""
    accounts = session.execute(
        select(AccountRow.id, AccountRow.name).order_by(AccountRow.name, AccountRow.id)
    ).all()
    sources = session.execute(
        select(SourceRow.id, SourceRow.name).order_by(SourceRow.name, SourceRow.id)
    ).all()
    return [(row.id, row.name) for row in accounts], [(row.id, row.name) for row in sources]
