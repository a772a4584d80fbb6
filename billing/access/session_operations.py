"""Use cases of signing in: tries, sessions, one's own password. Nothing here commits."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import CursorResult, delete, select, text, update
from sqlalchemy.orm import Session

from billing.access.model import (
    ATTEMPT_WINDOW,
    FAILURES_OF_ADDRESS,
    FAILURES_OF_EMAIL,
    TEMPORARY_PASSWORD_LIFE,
    UnfitPassword,
    check_new_password,
)
from billing.access.queries import recent_failures, token_hash, user_row
from billing.access.tables import SessionRow, SignInAttemptRow, UserRow
from metering.kit.audit import record
from metering.kit.errors import FieldError, Refusal, TooMany, Unauthenticated
from metering.kit.ids import new_id

_hasher = PasswordHasher()


@cache
def hash_of_nobody() -> str:
    """Return a hash that no password fits; it costs a fifth of a second once a process.

    It is checked when nobody has the address, so that the answer takes as long as a wrong
    password. The application asks for it before it answers anybody; no other program does.
    """
    return _hasher.hash(secrets.token_urlsafe(32))


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


@dataclass(frozen=True)
class SignInOutcome:
    """What a try to sign in came to. The try is recorded either way, so it is not raised.

    Attributes:
        token: of the new session, for the cookie; empty when refused.
        refusal: why not.
    """

    token: str = ""
    refusal: Refusal | None = None


def password_hash(password: str) -> str:
    """Return what is kept of a password: its Argon2id hash, salted."""
    return _hasher.hash(password)


def sign_in(
    session: Session, *, now: datetime, email: str, password: str, remote_address: str | None
) -> SignInOutcome:
    """Check a password and open a session; records the try, good or bad.

    The caller commits whatever the outcome, so that failures count.
    """
    email = email.strip().lower()
    # Tries at one address wait for one another: in parallel none would see the others' failures.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:email, 7201957))"), {"email": email}
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
        right = _hasher.verify(known or hash_of_nobody(), password)
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
    user.password_hash = password_hash(new)
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
