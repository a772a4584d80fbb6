"""Webhook endpoints: add, change, rotate the secret, pause, resume, end, send again."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from billing.notifications.model import SECRET_OVERLAP, Owner, checked_kinds, webhook_url
from billing.notifications.operations import note, owner_of
from billing.notifications.queries import EndpointUnknown
from billing.notifications.sealing import Vault, new_secret
from billing.notifications.tables import DeliveryRow, WebhookEndpointRow
from metering.kit.errors import Conflict
from metering.kit.ids import new_id


class NewEndpoint(NamedTuple):
    """An endpoint and its secret, which is shown this once."""

    row: WebhookEndpointRow
    secret: str


class EndpointEnded(Conflict):
    """The webhook endpoint has been ended for good."""

    code = "webhook-endpoint-ended"
    title = "The webhook endpoint has ended"


def add_endpoint(
    session: Session,
    *,
    owner: Owner,
    url: str,
    kinds: Collection[str],
    vault: Vault,
    allow_private: bool,
    principal: str,
    now: datetime,
) -> NewEndpoint:
    """Add a webhook endpoint. Its secret is in the answer and cannot be shown again.

    Args:
        allow_private: setting PAYGO_WEBHOOK_ALLOW_PRIVATE; also allows http.

    Raises:
        WebhookUrlInvalid, KindUnknown.
    """
    webhook_url(url, allow_insecure=allow_private)
    secret = new_secret()
    row = WebhookEndpointRow(
        id=new_id("whe", now=now),
        account_id=owner.account_id,
        source_id=owner.source_id,
        url=url,
        kinds=checked_kinds(kinds, channel="webhook"),
        secret=vault.seal(secret),
        status="active",
        failures=0,
        created_at=now,
        created_by=principal,
    )
    session.add(row)
    session.flush()
    note(session, "add webhook endpoint", row.id, principal, now, owner, kinds=row.kinds)
    return NewEndpoint(row, secret)


def change_endpoint(
    session: Session,
    *,
    owner: Owner,
    endpoint_id: str,
    url: str,
    kinds: Collection[str],
    allow_private: bool,
    principal: str,
    now: datetime,
) -> WebhookEndpointRow:
    """Change where an endpoint is and what it is told; its secret stays.

    What waits for it goes to the new address.

    Raises:
        EndpointUnknown, EndpointEnded, WebhookUrlInvalid, KindUnknown.
    """
    webhook_url(url, allow_insecure=allow_private)
    row = _endpoint(session, owner, endpoint_id)
    row.url, row.kinds = url, checked_kinds(kinds, channel="webhook")
    session.flush()
    note(session, "change webhook endpoint", row.id, principal, now, owner, kinds=row.kinds)
    return row


def rotate_secret(
    session: Session,
    *,
    owner: Owner,
    endpoint_id: str,
    vault: Vault,
    principal: str,
    now: datetime,
    overlap: timedelta = SECRET_OVERLAP,
) -> NewEndpoint:
    """Give an endpoint a new secret; the old one signs beside it for `overlap`.

    Args:
        overlap: nought where the old secret is known to others.

    Raises:
        EndpointUnknown, EndpointEnded.
    """
    row = _endpoint(session, owner, endpoint_id)
    secret = new_secret()
    kept = overlap > timedelta(0)
    row.previous_secret, row.previous_until = (row.secret, now + overlap) if kept else (None, None)
    row.secret = vault.seal(secret)
    session.flush()
    note(session, "rotate webhook secret", row.id, principal, now, owner)
    return NewEndpoint(row, secret)


def resume_endpoint(
    session: Session, *, owner: Owner, endpoint_id: str, principal: str, now: datetime
) -> WebhookEndpointRow:
    """Send to a paused endpoint again, first what waited, with all attempts before it.

    Raises:
        EndpointUnknown, EndpointEnded.
    """
    row = _endpoint(session, owner, endpoint_id)
    row.status, row.status_reason, row.failures, row.failing_since = "active", None, 0, None
    session.flush()
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.endpoint_id == row.id, DeliveryRow.status == "waiting")
        .values(tries=0, due_at=now)
    )
    note(session, "resume webhook endpoint", row.id, principal, now, owner)
    return row


def pause_endpoint(
    session: Session, *, owner: Owner, endpoint_id: str, reason: str, principal: str, now: datetime
) -> WebhookEndpointRow:
    """Keep what is for an endpoint until it is resumed.

    Raises:
        EndpointUnknown, EndpointEnded.
    """
    row = _endpoint(session, owner, endpoint_id)
    row.status, row.status_reason = "paused", reason
    session.flush()
    note(session, "pause webhook endpoint", row.id, principal, now, owner, reason=reason)
    return row


def end_endpoint(
    session: Session, *, owner: Owner, endpoint_id: str, principal: str, now: datetime
) -> None:
    """End an endpoint for good: its secrets are forgotten, what waits for it is cancelled.

    Raises:
        EndpointUnknown, EndpointEnded.
    """
    row = _endpoint(session, owner, endpoint_id)
    row.status, row.status_reason, row.ended_at = "ended", None, now
    row.secret, row.previous_secret, row.previous_until = "", None, None
    session.flush()
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.endpoint_id == row.id, DeliveryRow.status == "waiting")
        .values(status="cancelled", last_error="The endpoint ended.")
    )
    note(session, "end webhook endpoint", row.id, principal, now, owner)


def replay_dead(
    session: Session, *, owner: Owner, endpoint_id: str, principal: str, now: datetime
) -> int:
    """Send everything again that died on the way to an endpoint; return how much that is.

    Raises:
        EndpointUnknown, EndpointEnded.
    """
    endpoint = _endpoint(session, owner, endpoint_id)
    count = len(
        session.execute(
            update(DeliveryRow)
            .where(DeliveryRow.endpoint_id == endpoint.id, DeliveryRow.status == "dead")
            .values(status="waiting", tries=0, due_at=now)
            .returning(DeliveryRow.id)
        ).all()
    )
    note(session, "replay dead deliveries", endpoint.id, principal, now, owner, count=count)
    return count


def _endpoint(session: Session, owner: Owner, endpoint_id: str) -> WebhookEndpointRow:
    row = session.get(WebhookEndpointRow, endpoint_id, with_for_update=True, populate_existing=True)
    if row is None or owner_of(row) != owner:
        raise EndpointUnknown(f"There is no webhook endpoint {endpoint_id}.")
    if row.status == "ended":
        raise EndpointEnded("The endpoint has ended; add a new one.")
    return row
