"""Keep the register of sources: register, close, issue and revoke keys, authenticate."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.orm import Session

from metering.kit import audit, versions
from metering.kit.auth import Key, make_key
from metering.kit.errors import Forbidden, Invalid, Unauthenticated
from metering.kit.ids import new_id
from metering.organisations.operations import CATALOGUE
from metering.sources.model import (
    EVENTS_WRITE,
    MANIFESTS_WRITE,
    SCOPES,
    IssuedKey,
    RotatedKey,
    SourcePrincipal,
)
from metering.sources.queries import by_code, key_by_id, key_by_prefix
from metering.sources.tables import ServiceKeyRow, SourceRow

MANIFEST_POLICIES = ("ignore", "warn", "wait")
LAST_USED_GRAIN = timedelta(minutes=5)
"""`last_used_at` is written at most this often, so that reading with a key stays a read."""

OVERLAP_MAX = timedelta(days=90)
"""How long a key may go on after it was rotated."""

_CODE = re.compile(r"[a-z0-9][a-z0-9./:_-]{0,99}")
_LOCK = 7_201_955


class SourceInvalid(Invalid):
    """A source's particulars are not right."""

    code = "source-invalid"
    title = "The source's particulars are not right"


class KeyInvalid(Invalid):
    """A key was asked for with a scope or an end that cannot be."""

    code = "key-invalid"
    title = "The key cannot be issued like that"


class KeyRefused(Unauthenticated):
    """The key is missing, unknown, revoked or past its end."""

    code = "key-refused"
    title = "Send a valid service key"


class ScopeMissing(Forbidden):
    """The key is valid but was not issued for this."""

    code = "scope-missing"
    title = "The key may not do that"


def register(
    session: Session,
    *,
    code: str,
    name: str,
    contact_email: str | None = None,
    manifest_policy: str = "warn",
    now: datetime,
) -> SourceRow:
    """Register a hosted service, or bring the registered one up to date; safe to repeat.

    Args:
        code: the `source` attribute of its events: lower-case letters, digits and `./:_-`.
        manifest_policy: what a bill run does when a manifest disagrees: `ignore`,
            `warn`, or `wait` for it to be settled.

    Raises:
        SourceInvalid: the code, the name or the policy is not right.
    """
    if not _CODE.fullmatch(code):
        raise SourceInvalid(
            f"'{code}' is not a source code: lower-case letters, digits and ./:_- after the first."
        )
    if not name.strip():
        raise SourceInvalid(f"Source {code} needs a name.")
    if manifest_policy not in MANIFEST_POLICIES:
        raise SourceInvalid(f"A manifest policy is one of {', '.join(MANIFEST_POLICIES)}.")
    found = session.scalar(select(SourceRow).where(SourceRow.code == code))
    if found is None:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = session.scalar(select(SourceRow).where(SourceRow.code == code))
    if found is None:
        greatest = session.scalar(select(func.max(SourceRow.id))) or 0
        found = SourceRow(id=greatest + 1, code=code, registered_at=now)
        session.add(found)
    found.name, found.contact_email = name, contact_email
    found.manifest_policy = manifest_policy
    if session.is_modified(found) or found in session.new:
        session.flush()
        versions.bump(session, name=CATALOGUE)
    return found


def close(session: Session, *, code: str, principal: str, now: datetime) -> SourceRow:
    """Stop taking events from a source; what it sent stays. Safe to repeat.

    Raises:
        SourceUnknown: no source has that code.
    """
    source = by_code(session, code=code)
    if source.closed_at is None:
        source.closed_at = now
        session.flush()
        versions.bump(session, name=CATALOGUE)
        audit.record(
            session,
            now=now,
            principal=principal,
            action="close source",
            object_kind="source",
            object_id=code,
        )
    return source


def issue_key(
    session: Session,
    *,
    source_code: str,
    label: str,
    scopes: Collection[str] = (EVENTS_WRITE, MANIFESTS_WRITE),
    expires_at: datetime | None = None,
    created_by: str,
    now: datetime,
) -> IssuedKey:
    """Issue a new key to a source. Its text is in the answer and nowhere else.

    Args:
        label: says where the key will live, for example `production`.
        scopes: some of `sources.model.SCOPES`.
        expires_at: first instant at which it no longer works; None for never.
        created_by: who asks, as the audit trail names principals.

    Raises:
        SourceUnknown: no source has that code.
        KeyInvalid: a scope is unknown, none is given, or it would have ended already.
    """
    source = by_code(session, code=source_code)
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise KeyInvalid(f"A key's scopes are some of {', '.join(SCOPES)}.")
    if expires_at is not None and expires_at <= now:
        raise KeyInvalid("A key must end after it begins.")
    key = make_key()
    row = ServiceKeyRow(
        id=new_id("key", now=now),
        source_id=source.id,
        prefix=key.prefix,
        secret_sha256=key.sha256,
        label=label,
        scopes=sorted(set(scopes)),
        created_at=now,
        created_by=created_by,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    versions.bump(session, name=CATALOGUE)
    audit.record(
        session,
        now=now,
        principal=created_by,
        action="issue key",
        object_kind="source",
        object_id=source_code,
        facts={"key": row.id, "prefix": key.prefix, "label": label, "scopes": row.scopes},
    )
    return IssuedKey(row.id, key.prefix, tuple(row.scopes), expires_at, key.text)


def rotate_key(
    session: Session, *, key_id: str, ends_at: datetime, principal: str, now: datetime
) -> RotatedKey:
    """Issue a key that may do what another may, and let the other end by itself.

    Both work until then, so that a service changes over without a gap. A new key lasts as long
    as the old one was meant to; one without an end is followed by one without an end.

    Args:
        ends_at: first instant at which the old key no longer works, at most
            `OVERLAP_MAX` ahead; an earlier end that it has already stays.

    Raises:
        KeyUnknown: there is no such key.
        KeyInvalid: the key has ended or is revoked, or its end is past or too far ahead.
    """
    old = key_by_id(session, key_id=key_id)
    source = session.get_one(SourceRow, old.source_id)
    if not usable(old, source, now=now):
        raise KeyInvalid("The key no longer works, so there is nothing to rotate. Issue a new one.")
    if ends_at < now:
        raise KeyInvalid("The old key cannot end in the past.")
    if ends_at > now + OVERLAP_MAX:
        raise KeyInvalid(f"The old key ends within {OVERLAP_MAX.days} days of its rotation.")
    issued = issue_key(
        session,
        source_code=source.code,
        label=old.label,
        scopes=old.scopes,
        expires_at=None if old.expires_at is None else now + (old.expires_at - old.created_at),
        created_by=principal,
        now=now,
    )
    old.expires_at = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
    session.flush()
    versions.bump(session, name=CATALOGUE)
    audit.record(
        session,
        now=now,
        principal=principal,
        action="rotate key",
        object_kind="service key",
        object_id=key_id,
        facts={"prefix": old.prefix, "by": issued.id, "ends_at": old.expires_at.isoformat()},
    )
    return RotatedKey(issued, key_id, old.expires_at)


def revoke_key(session: Session, *, key_id: str, principal: str, now: datetime) -> ServiceKeyRow:
    """Revoke a key from this instant on; safe to repeat.

    Raises:
        KeyUnknown: there is no such key.
    """
    key = key_by_id(session, key_id=key_id)
    if key.revoked_at is None:
        key.revoked_at = now
        session.flush()
        versions.bump(session, name=CATALOGUE)
        audit.record(
            session,
            now=now,
            principal=principal,
            action="revoke key",
            object_kind="service key",
            object_id=key_id,
            facts={"prefix": key.prefix},
        )
    return key


def authenticate(session: Session, *, key: Key | None, now: datetime) -> SourcePrincipal:
    """Return the source that a key proves.

    Raises:
        KeyRefused: there is no key, or it is unknown, revoked, past its end, or its
            source is closed. The sentence does not say which.
    """
    found = None if key is None else key_by_prefix(session, prefix=key.prefix)
    if key is None or found is None:
        raise KeyRefused("Send a valid service key as 'Authorization: Bearer pgk_…'.")
    row, source = found
    if not key.matches(row.secret_sha256) or not usable(row, source, now=now):
        raise KeyRefused("Send a valid service key as 'Authorization: Bearer pgk_…'.")
    return principal_of(row, source)


def usable(row: ServiceKeyRow, source: SourceRow, *, now: datetime) -> bool:
    """Return whether a key whose secret was right may be used at `now`."""
    return (
        row.revoked_at is None
        and (row.expires_at is None or now < row.expires_at)
        and source.closed_at is None
    )


def principal_of(row: ServiceKeyRow, source: SourceRow) -> SourcePrincipal:
    """Return who a key stands for."""
    return SourcePrincipal(source.id, source.code, row.id, row.prefix, frozenset(row.scopes))


def note_use(session: Session, *, key_ids: Collection[str], now: datetime) -> None:
    """Note that keys were used, to the nearest `LAST_USED_GRAIN`."""
    session.execute(
        update(ServiceKeyRow)
        .where(
            ServiceKeyRow.id.in_(sorted(key_ids)),
            or_(
                ServiceKeyRow.last_used_at.is_(None),
                ServiceKeyRow.last_used_at <= now - LAST_USED_GRAIN,
            ),
        )
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
