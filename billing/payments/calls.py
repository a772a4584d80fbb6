"""Calls to the gateway that happen once: key stored, called, answer stored; repaired by asking.

No call is made inside a transaction. Whatever is interrupted between two steps is found
`pending` by the next run, which first asks the gateway whether it happened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.payments.funds import note
from billing.payments.gateway import GatewayRefused
from billing.payments.tables import GatewayCallRow
from metering.kit.db import Database
from metering.kit.errors import NotFound
from metering.kit.ids import new_id

_KEY_LIFE = timedelta(hours=25)
"""Stripe forgets a key after a day, and remembers even a fault of its own until then."""


class CallUnknown(NotFound):
    """No call of this kind about this subject was refused."""

    code = "gateway-call-unknown"
    title = "No such refused call"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One thing to be done once at the gateway.

    Attributes:
        action: what, for example `invoice`.
        subject_id: about which of paygo's things; once for each action.
        find: asks the gateway whether it happened; returns its id, or None.
        do: does it under the given idempotency key; returns its id.
    """

    account_id: str
    action: str
    subject_id: str
    find: Callable[[], str | None]
    do: Callable[[str], str]


def once(database: Database, call: Call, *, now: datetime) -> str:
    """Do the call unless it was done; return the gateway's id of what came of it.

    Raises:
        GatewayUnavailable: it may or may not have happened; the next run asks.
        GatewayRefused: it was refused, now or before; see `allow_again`.
    """
    with database.transaction() as session:
        row = _begin(session, call, now)
        if row.status == "done":
            assert row.remote_id is not None
            return row.remote_id
        if row.status == "refused":
            raise GatewayRefused(row.error or "Refused before.")
        key, tried = row.idempotency_key, row.tries > 1
    try:
        remote_id = (call.find() if tried else None) or call.do(key)
    except GatewayRefused as refusal:
        with database.transaction() as session:
            _finish(session, call, now, remote_id=None, error=refusal.detail)
        raise
    with database.transaction() as session:
        _finish(session, call, now, remote_id=remote_id, error=None)
    return remote_id


def refused(session: Session) -> list[GatewayCallRow]:
    """Return the calls that wait for a person, oldest first."""
    return list(
        session.scalars(
            select(GatewayCallRow)
            .where(GatewayCallRow.status == "refused")
            .order_by(GatewayCallRow.first_tried_at, GatewayCallRow.id)
        )
    )


def refuse(session: Session, call: Call, *, reason: str, now: datetime) -> None:
    """Record that paygo itself will not go on with a call until a person has looked."""
    _begin(session, call, now)
    _finish(session, call, now, remote_id=None, error=reason)


def allow_again(
    session: Session, *, account_id: str, call_id: str, principal: str, now: datetime
) -> GatewayCallRow:
    """Let a refused call be tried again, under a new key, once its cause was put right.

    Raises:
        CallUnknown: see the class.
    """
    row = session.get(GatewayCallRow, (account_id, call_id), with_for_update=True)
    if row is None or row.status != "refused":
        raise CallUnknown("No call with this id was refused.")
    row.status, row.error, row.finished_at = "pending", None, None
    row.first_tried_at = now
    row.idempotency_key = _key(row.action, row.subject_id, now)
    session.flush()
    note(session, "allow gateway call again", call_id, principal, now, {"action": row.action})
    return row


def _begin(session: Session, call: Call, now: datetime) -> GatewayCallRow:
    session.execute(
        insert(GatewayCallRow)
        .values(
            account_id=call.account_id,
            id=new_id("gwc", now=now),
            action=call.action,
            subject_id=call.subject_id,
            idempotency_key=_key(call.action, call.subject_id, now),
            status="pending",
            tries=0,
            first_tried_at=now,
        )
        .on_conflict_do_nothing()
    )
    row = _row(session, call)
    if row.status == "pending":
        if now - row.first_tried_at > _KEY_LIFE:
            row.first_tried_at, row.idempotency_key = now, _key(call.action, call.subject_id, now)
        row.tries += 1
    session.flush()
    return row


def _finish(
    session: Session, call: Call, now: datetime, *, remote_id: str | None, error: str | None
) -> None:
    row = _row(session, call)
    row.status = "refused" if remote_id is None else "done"
    row.remote_id, row.error, row.finished_at = remote_id, error, now
    session.flush()


def _row(session: Session, call: Call) -> GatewayCallRow:
    return session.execute(
        select(GatewayCallRow)
        .where(
            GatewayCallRow.account_id == call.account_id,
            GatewayCallRow.action == call.action,
            GatewayCallRow.subject_id == call.subject_id,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).scalar_one()


def _key(action: str, subject_id: str, now: datetime) -> str:
    return f"paygo-{action}-{subject_id}-{int(now.timestamp())}"
