"""Use cases of access: users, their roles, and whom an identity provider vouches for.

Every change of a password, a role or a user's standing ends that user's
sessions and is audited. Nothing here commits.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.access.model import (
    Grant,
    Identity,
    Role,
    clean_email,
    grants_of,
)
from billing.access.queries import (
    accounts_of_organisations,
    sources_of_codes,
    user_row,
)
from billing.access.session_operations import end_sessions_of, password_hash, start_session
from billing.access.tables import SignInAttemptRow, UserRoleRow, UserRow
from metering.kit.audit import record
from metering.kit.errors import Conflict, FieldError, Forbidden
from metering.kit.ids import new_id


class EmailTaken(Conflict):
    """Another user has the email address."""

    code = "email-taken"
    title = "The email address is in use"


class OwnRoles(Forbidden):
    """Nobody changes their own roles or disables themselves."""

    code = "own-roles"
    title = "You cannot change your own access"


class LastAdministrator(Conflict):
    """Somebody must be left who can give others their roles."""

    code = "last-administrator"
    title = "The last administrator must stay"


class EmailNotVerified(Forbidden):
    """The identity provider has not checked the email address, so it cannot be trusted to be the
    address of a user that there is."""

    code = "email-not-verified"
    title = "Your email address is not verified"


class NoRoles(Forbidden):
    """The identity provider gives none of the roles that paygo knows."""

    code = "no-roles"
    title = "You have no role in Paygo"


class UserDisabled(Forbidden):
    """An administrator has closed the user's access."""

    code = "user-disabled"
    title = "Your access is closed"


@dataclass(frozen=True)
class NewUser:
    """A user just made, or one whose password was reset.

    Attributes:
        id: of the user.
        temporary_password: shown once, kept nowhere.
    """

    id: str
    temporary_password: str


def _temporary_password() -> str:
    """Return 100 random bits in groups that can be read out."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


def create_user(
    session: Session,
    *,
    now: datetime,
    email: str,
    name: str,
    grants: Iterable[Grant],
    by: str,
) -> NewUser:
    """Make a user with a temporary password, which must be changed at the first sign-in.

    Args:
        by: principal who makes it: a user id or `cli`.

    Raises:
        UnfitEmail: it is no email address.
        EmailTaken: another user has it.
    """
    email = clean_email(email)
    password = _temporary_password()
    user_id = new_id("usr", now=now)
    made = session.execute(
        insert(UserRow)
        .values(
            id=user_id,
            email=email,
            name=name.strip(),
            password_hash=password_hash(password),
            must_change_password=True,
            password_changed_at=now,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[UserRow.email])
        .returning(UserRow.id)
    ).scalar_one_or_none()
    if made is None:
        detail = f"There is already a user with the email address {email}."
        raise EmailTaken(detail, errors=(FieldError("/email", "taken", detail),))
    wanted = frozenset(grants)
    _insert_grants(session, now=now, user_id=user_id, grants=wanted, by=by)
    record(
        session,
        now=now,
        principal=by,
        action="create user",
        object_kind="user",
        object_id=user_id,
        facts={"email": email, "roles": _told(wanted)},
    )
    return NewUser(user_id, password)


def _told(grants: Iterable[Grant]) -> list[dict[str, str | int]]:
    """Return grants for the audit trail, in a fixed order."""
    return [
        {
            "role": grant.role.value,
            **({"account_id": grant.account_id} if grant.account_id else {}),
            **({"source_id": grant.source_id} if grant.source_id is not None else {}),
        }
        for grant in sorted(grants, key=lambda grant: (grant.role, str(grant)))
    ]


def _insert_grants(
    session: Session, *, now: datetime, user_id: str, grants: Iterable[Grant], by: str
) -> None:
    rows = [
        {
            "id": new_id("rol", now=now),
            "user_id": user_id,
            "role": grant.role.value,
            "account_id": grant.account_id,
            "source_id": grant.source_id,
            "granted_at": now,
            "granted_by": by,
        }
        for grant in grants
    ]
    if rows:
        session.execute(insert(UserRoleRow).values(rows).on_conflict_do_nothing())


def reset_password(session: Session, *, now: datetime, user_id: str, by: str) -> NewUser:
    """Give a user a new temporary password, end their sessions and forget their failed tries.

    Raises:
        NoSuchUser: there is none.
    """
    user = user_row(session, user_id=user_id)
    password = _temporary_password()
    user.password_hash = password_hash(password)
    user.must_change_password = True
    user.password_changed_at = now
    session.execute(
        delete(SignInAttemptRow).where(
            SignInAttemptRow.email == user.email, ~SignInAttemptRow.succeeded
        )
    )
    end_sessions_of(session, now=now, user_id=user_id)
    record(
        session,
        now=now,
        principal=by,
        action="reset password",
        object_kind="user",
        object_id=user_id,
    )
    return NewUser(user_id, password)


def set_grants(
    session: Session, *, now: datetime, user_id: str, grants: Iterable[Grant], by: str
) -> None:
    """Make these a user's roles, all of them; a change ends their sessions.

    Raises:
        NoSuchUser: there is none.
        OwnRoles: `by` is the user.
        LastAdministrator: nobody would be left who can give roles.
    """
    if by == user_id:
        raise OwnRoles("You cannot change your own roles. Ask another administrator.")
    wanted = frozenset(grants)
    if not _replace_grants(session, now=now, user_id=user_id, wanted=wanted, by=by):
        return
    if not any(grant.role is Role.ADMINISTRATOR for grant in wanted):
        _check_administrator_is_left(session)


def _replace_grants(
    session: Session, *, now: datetime, user_id: str, wanted: frozenset[Grant], by: str
) -> bool:
    """Make `wanted` a user's roles; return whether anything changed."""
    user_row(session, user_id=user_id)
    rows = session.scalars(select(UserRoleRow).where(UserRoleRow.user_id == user_id)).all()
    had = {
        Grant(Role(row.role), account_id=row.account_id, source_id=row.source_id): row
        for row in rows
    }
    if wanted == had.keys():
        return False
    for grant, row in had.items():
        if grant not in wanted:
            session.delete(row)
    session.flush()
    _insert_grants(session, now=now, user_id=user_id, grants=wanted - had.keys(), by=by)
    end_sessions_of(session, now=now, user_id=user_id)
    record(
        session,
        now=now,
        principal=by,
        action="change roles",
        object_kind="user",
        object_id=user_id,
        facts={"from": _told(had), "to": _told(wanted)},
    )
    return True


def _check_administrator_is_left(session: Session) -> None:
    # The audit entry just made holds a lock to the end of the transaction, so that two
    # administrators who close each other's access at once cannot both succeed.
    left = session.scalar(
        select(UserRow.id)
        .join(UserRoleRow, UserRoleRow.user_id == UserRow.id)
        .where(UserRoleRow.role == Role.ADMINISTRATOR.value, UserRow.disabled_at.is_(None))
        .limit(1)
    )
    if left is None:
        raise LastAdministrator("Make somebody else an administrator first.")


def set_disabled(session: Session, *, now: datetime, user_id: str, disabled: bool, by: str) -> None:
    """Close or open a user's access; closing ends their sessions.

    Raises:
        NoSuchUser: there is none.
        OwnRoles: `by` is the user.
        LastAdministrator: nobody would be left who can give roles.
    """
    if by == user_id:
        raise OwnRoles("You cannot close your own access. Ask another administrator.")
    user = user_row(session, user_id=user_id)
    if (user.disabled_at is not None) == disabled:
        return
    user.disabled_at = now if disabled else None
    session.flush()
    record(
        session,
        now=now,
        principal=by,
        action="disable user" if disabled else "enable user",
        object_kind="user",
        object_id=user_id,
    )
    if disabled:
        end_sessions_of(session, now=now, user_id=user_id)
        _check_administrator_is_left(session)


def sign_in_by_identity(session: Session, *, now: datetime, identity: Identity) -> str:
    """Open a session for whom an identity provider vouches, making the user at first sight.

    Where the provider names roles, they replace the user's, each time; else paygo's own count.

    Returns:
        The new session's token.

    Raises:
        EmailNotVerified: there is a user with that address whom the provider cannot prove to be.
        NoRoles: nothing that the user may do is left.
        UserDisabled: an administrator has closed their access.
    """
    user = session.scalar(select(UserRow).where(UserRow.oidc_subject == identity.subject))
    if user is None:
        user = _user_by_email(session, now=now, identity=identity)
    if user.disabled_at is not None:
        raise UserDisabled("Your access to Paygo has been closed. Ask an administrator.")
    if identity.roles is not None:
        wanted = grants_of(
            identity,
            accounts=accounts_of_organisations(session, codes=identity.organisations),
            sources=sources_of_codes(session, codes=identity.sources),
        )
        _replace_grants(session, now=now, user_id=user.id, wanted=wanted, by="oidc")
    held = session.scalar(select(UserRoleRow.id).where(UserRoleRow.user_id == user.id).limit(1))
    if held is None:
        raise NoRoles(
            "You are signed in, but have no role in Paygo. Ask your organisation to give you one."
        )
    return start_session(session, now=now, user_id=user.id)


def _user_by_email(session: Session, *, now: datetime, identity: Identity) -> UserRow:
    """Return the user with the identity's address, tied to its subject; a new one if need be."""
    user = session.scalar(select(UserRow).where(UserRow.email == identity.email))
    if user is not None:
        if not identity.email_verified or user.oidc_subject is not None:
            raise EmailNotVerified(
                f"There is a user with the email address {identity.email} already, and your "
                "identity provider does not prove that it is you."
            )
        user.oidc_subject = identity.subject
    else:
        user = UserRow(
            id=new_id("usr", now=now),
            email=identity.email,
            name=identity.name,
            must_change_password=False,
            oidc_subject=identity.subject,
            created_at=now,
        )
        session.add(user)
    session.flush()
    record(
        session,
        now=now,
        principal="oidc",
        action="link user",
        object_kind="user",
        object_id=user.id,
        facts={"email": identity.email},
    )
    return user
