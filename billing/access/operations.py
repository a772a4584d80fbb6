"""Use cases of access: sign in, passwords, sessions, users and their roles.

Every change of a password, a role or a user's standing ends that user's
sessions and is audited. Nothing here commits.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import CursorResult, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.access.model import (
    ATTEMPT_WINDOW,
    FAILURES_OF_ADDRESS,
    FAILURES_OF_EMAIL,
    TEMPORARY_PASSWORD_LIFE,
    Grant,
    Identity,
    Role,
    UnfitPassword,
    check_new_password,
    clean_email,
    grants_of,
)
from billing.access.queries import (
    accounts_of_organisations,
    recent_failures,
    sources_of_codes,
    token_hash,
    user_row,
)
from billing.access.tables import SessionRow, SignInAttemptRow, UserRoleRow, UserRow
from metering.kit.audit import record
from metering.kit.errors import Conflict, FieldError, Forbidden, Refusal, TooMany, Unauthenticated
from metering.kit.ids import new_id

_hasher = PasswordHasher()
# Checked when nobody has the address, so that the answer takes as long as a wrong password.
_NOBODY = _hasher.hash(secrets.token_urlsafe(32))


class WrongCredentials(Unauthenticated):
    """The email address or the password is wrong; it is not said which."""

    code = "wrong-credentials"
    title = "Email address or password not right"


class TooManySignIns(TooMany):
    """Five failed tries at an address within 15 minutes close it until the first is 15 minutes old,
    to the right password too."""

    code = "too-many-sign-ins"
    title = "Too many failed tries to sign in"


class TemporaryPasswordExpired(Unauthenticated):
    """A temporary password works for 7 days."""

    code = "temporary-password-expired"
    title = "The temporary password has expired"


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


@dataclass(frozen=True)
class SignInOutcome:
    """What a try to sign in came to. The try is recorded either way, so it is not raised.

    Attributes:
        token: of the new session, for the cookie; empty when refused.
        refusal: why not.
    """

    token: str = ""
    refusal: Refusal | None = None


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
            password_hash=_hasher.hash(password),
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


def sign_in(
    session: Session, *, now: datetime, email: str, password: str, remote_address: str | None
) -> SignInOutcome:
    """Check a password and open a session; records the try, good or bad.

    The caller commits whatever the outcome, so that failures count.
    """
    email = email.strip().lower()
    # Tries at one address wait for one another: in parallel none would see the others' failures.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:email, 7201948))"), {"email": email}
    )
    failures, of_address = recent_failures(
        session, email=email, remote_address=remote_address, since=now - ATTEMPT_WINDOW
    )
    if len(failures) >= FAILURES_OF_EMAIL or of_address >= FAILURES_OF_ADDRESS:
        begin = failures[-FAILURES_OF_EMAIL] if len(failures) >= FAILURES_OF_EMAIL else now
        wait = int((begin + ATTEMPT_WINDOW - now).total_seconds()) + 1
        refusal: Refusal = TooManySignIns(
            "There have been too many failed tries to sign in. Wait 15 minutes, then try again.",
            retry_after=wait,
        )
        return SignInOutcome(refusal=refusal)
    user = session.scalar(select(UserRow).where(UserRow.email == email))
    right = _password_is_right(user, password)
    session.add(
        SignInAttemptRow(
            id=new_id("try", now=now),
            email=email[:254],
            at=now,
            succeeded=right,
            remote_address=remote_address,
        )
    )
    if user is None or not right:
        return SignInOutcome(
            refusal=WrongCredentials("Your email address or password is not right.")
        )
    changed_at = user.password_changed_at or user.created_at
    if user.must_change_password and now - changed_at > TEMPORARY_PASSWORD_LIFE:
        return SignInOutcome(
            refusal=TemporaryPasswordExpired(
                "Your temporary password has expired. Ask an administrator for a new one."
            )
        )
    if user.password_hash is not None and _hasher.check_needs_rehash(user.password_hash):
        user.password_hash = _hasher.hash(password)
    return SignInOutcome(token=start_session(session, now=now, user_id=user.id))


def _password_is_right(user: UserRow | None, password: str) -> bool:
    known = None if user is None or user.disabled_at is not None else user.password_hash
    try:
        right = _hasher.verify(known or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return right and known is not None


def start_session(session: Session, *, now: datetime, user_id: str) -> str:
    """Open a session and return its token; only the token's SHA-256 is kept."""
    token = secrets.token_urlsafe(32)
    session.add(
        SessionRow(
            token_sha256=token_hash(token), user_id=user_id, started_at=now, last_seen_at=now
        )
    )
    session.flush()
    return token


def touch_session(session: Session, *, now: datetime, token: str) -> None:
    """Note that a session is in use; never moves back, never revives one that ended."""
    session.execute(
        update(SessionRow)
        .where(
            SessionRow.token_sha256 == token_hash(token),
            SessionRow.ended_at.is_(None),
            SessionRow.last_seen_at < now,
        )
        .values(last_seen_at=now)
    )


def end_session(session: Session, *, now: datetime, token: str) -> None:
    """Sign out; nothing happens where there is no such session."""
    session.execute(
        update(SessionRow)
        .where(SessionRow.token_sha256 == token_hash(token), SessionRow.ended_at.is_(None))
        .values(ended_at=now)
    )


def end_sessions_of(session: Session, *, now: datetime, user_id: str) -> None:
    """End every session of a user."""
    session.execute(
        update(SessionRow)
        .where(SessionRow.user_id == user_id, SessionRow.ended_at.is_(None))
        .values(ended_at=now)
    )


def change_password(
    session: Session, *, now: datetime, user_id: str, current: str, new: str
) -> str:
    """Set a user's own new password, end all their sessions, and open a new one.

    Returns:
        The new session's token.

    Raises:
        WrongCredentials: `current` is not their password.
        UnfitPassword: `new` cannot be used.
    """
    user = user_row(session, user_id=user_id)
    if not _password_is_right(user, current):
        detail = "Your current password is not right."
        raise WrongCredentials(detail, errors=(FieldError("/current_password", "wrong", detail),))
    if new == current:
        detail = "Your new password must differ from your current one."
        raise UnfitPassword(detail, errors=(FieldError("/new_password", "same", detail),))
    check_new_password(new, email=user.email, name=user.name)
    user.password_hash = _hasher.hash(new)
    user.must_change_password = False
    user.password_changed_at = now
    end_sessions_of(session, now=now, user_id=user_id)
    record(
        session,
        now=now,
        principal=user_id,
        action="change password",
        object_kind="user",
        object_id=user_id,
    )
    return start_session(session, now=now, user_id=user_id)


def reset_password(session: Session, *, now: datetime, user_id: str, by: str) -> NewUser:
    """Give a user a new temporary password, end their sessions and forget their failed tries.

    Raises:
        NoSuchUser: there is none.
    """
    user = user_row(session, user_id=user_id)
    password = _temporary_password()
    user.password_hash = _hasher.hash(password)
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


def forget_old(session: Session, *, before: datetime) -> dict[str, int]:
    """Delete tries to sign in and ended or abandoned sessions that are older than `before`.

    Returns:
        How many of each went.
    """
    tries = session.execute(delete(SignInAttemptRow).where(SignInAttemptRow.at < before))
    sessions = session.execute(delete(SessionRow).where(SessionRow.last_seen_at < before))
    return {
        "tries": cast(CursorResult[Any], tries).rowcount,
        "sessions": cast(CursorResult[Any], sessions).rowcount,
    }


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
