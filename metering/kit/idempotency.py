"""`Idempotency-Key`: the same request sent again gets the same answer.

What is asked must itself be safe to repeat (an event's identity, a manifest's
place), since a crash after the work and before the answer is remembered lets
it run twice. The key only keeps the answer the same.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from metering.kit.db import Database
from metering.kit.errors import Invalid, Malformed
from metering.kit.tables import IdempotencyKeyRow

HEADER = "Idempotency-Key"
_FORM = re.compile(r'"?[\x21-\x7e]{1,255}"?')


class IdempotencyKeyUnreadable(Malformed):
    """An `Idempotency-Key` has 1 to 255 printable characters."""

    code = "idempotency-key-unreadable"
    title = "The idempotency key could not be read"


class IdempotencyKeyReused(Invalid):
    """An `Idempotency-Key` was sent before with another request. Make a new one."""

    code = "idempotency-key-reused"
    title = "The idempotency key belongs to another request"


@dataclass(frozen=True)
class Answer:
    """A status, and a JSON body or None."""

    status: int
    body: dict[str, Any] | None


def once(
    database: Database,
    *,
    scope: str,
    key: str | None,
    request: bytes | Callable[[], str],
    now: datetime,
    work: Callable[[], Answer],
) -> Answer:
    """Return the remembered answer to a request, or do the work and remember its answer.

    Args:
        scope: whose keys, for what: two callers never meet.
        key: the header; without it the work is simply done.
        request: all that makes the request what it is, or a function that gives the SHA-256 of
            that in hexadecimal digits; it is called once, before `work` and where there is a key.

    Raises:
        IdempotencyKeyUnreadable: the header is not right.
        IdempotencyKeyReused: the key came with another request before.
    """
    if key is None:
        return work()
    if not _FORM.fullmatch(key):
        raise IdempotencyKeyUnreadable("An Idempotency-Key has 1 to 255 printable characters.")
    digest = hashlib.sha256(request).hexdigest() if isinstance(request, bytes) else request()
    with database.snapshot() as session:
        before = _remembered(session, scope=scope, key=key, digest=digest)
    if before is not None:
        return before
    answer = work()
    with database.transaction() as session:
        session.execute(
            insert(IdempotencyKeyRow)
            .values(
                scope=scope,
                key=key,
                request_sha256=digest,
                status=answer.status,
                answer=answer.body,
                created_at=now,
            )
            .on_conflict_do_nothing()
        )
        # Of two that ran at once, both give the answer that was remembered first.
        return _remembered(session, scope=scope, key=key, digest=digest) or answer


def _remembered(session: Session, *, scope: str, key: str, digest: str) -> Answer | None:
    row = session.scalar(
        select(IdempotencyKeyRow).where(
            IdempotencyKeyRow.scope == scope, IdempotencyKeyRow.key == key
        )
    )
    if row is None:
        return None
    if row.request_sha256 != digest:
        raise IdempotencyKeyReused("This Idempotency-Key came with another request before.")
    return Answer(row.status, row.answer)


def forget(session: Session, *, before: datetime) -> int:
    """Forget answers older than `before`; return how many."""
    old = IdempotencyKeyRow.created_at < before
    count = session.scalar(select(func.count()).select_from(IdempotencyKeyRow).where(old)) or 0
    session.execute(delete(IdempotencyKeyRow).where(old))
    return count
