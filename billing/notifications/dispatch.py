"""The outbox's three short transactions: address what was announced, claim, record.

Nothing here reaches the network. A claim counts the attempt and moves `due_at` beyond a lease
before the first byte is sent, so a process killed at any point leaves a delivery that is
tried again, and one whose sending kills its process comes to an end.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.notifications.model import (
    KINDS,
    LAST_ATTEMPT,
    LATE_MAIL,
    RELAY_PAUSE,
    Attachment,
    Result,
    pause_before,
    should_pause,
)
from billing.notifications.operations import announce
from billing.notifications.tables import (
    AnnouncementRow,
    DeliveryAttemptRow,
    DeliveryRow,
    EmailSubscriptionRow,
    WebhookEndpointRow,
)
from metering.kit import audit
from metering.kit.ids import new_id
from metering.sources.tables import SourceRow

LEASE = timedelta(minutes=15)
"""Longer than any attempt can take; a claim older than this belongs to a process that died."""

PRINCIPAL = "job:deliver-notifications"
_WAIT_FOR_DOCUMENT = timedelta(minutes=2)
_AT_ONCE_TO_ONE = 4

FindDocument = Callable[[Session, str, str, str], Attachment | None]
"""`(session, account_id, invoice_id, name)` to the stored document, None while not yet made."""


@dataclass(frozen=True)
class Parcel:
    """Everything that one attempt needs, read before the network is touched.

    Attributes:
        address: the email address, None for a webhook.
        url, secrets: the endpoint's address and its sealed secrets, the present one first;
            None and empty for an email.
    """

    delivery_id: str
    number: int
    kind: str
    facts: dict[str, Any]
    owner_name: str
    announced_at: datetime
    address: str | None
    url: str | None
    secrets: tuple[str, ...]
    attachment: Attachment | None


def address(
    session: Session, *, announcement_id: str, now: datetime, central: str | None = None
) -> int | None:
    """Make the deliveries of one announcement; return how many, None if another process does.

    Told are those who had subscribed when it was announced, and for some kinds the owner's
    own address. Of an account that closed by merger, its successor is told as well, and at
    the successor's address. What concerns the central team goes to `central` alone.
    """
    row = session.scalar(
        select(AnnouncementRow)
        .where(AnnouncementRow.id == announcement_id, AnnouncementRow.addressed_at.is_(None))
        .with_for_update(skip_locked=True)
    )
    if row is None:
        return None
    kind = KINDS[row.kind]
    wanted: list[dict[str, Any]] = []
    if kind.central:
        wanted = [{"channel": "email", "receiver": central}] if central else []
        return _keep_deliveries(session, row, wanted, now=now)
    heirs = _heirs(session, row)
    if kind.webhook:
        wanted += [
            {"channel": "webhook", "receiver": endpoint_id, "endpoint_id": endpoint_id}
            for endpoint_id in session.scalars(
                select(WebhookEndpointRow.id).where(
                    _told(WebhookEndpointRow, row, heirs), WebhookEndpointRow.status != "ended"
                )
            )
        ]
    mailed: dict[str, dict[str, Any]] = {}
    for one in session.scalars(
        select(EmailSubscriptionRow).where(
            _told(EmailSubscriptionRow, row, heirs), EmailSubscriptionRow.ended_at.is_(None)
        )
    ):
        mailed[one.address.lower()] = {"receiver": one.address, "subscription_id": one.id}
    if kind.always_mailed:
        own = _own_address(session, row, heirs)
        # Not cancelled when a subscription of the same address ends: this one is always told.
        mailed |= {own.lower(): {"receiver": own}} if own else {}
    wanted += [{"channel": "email", **email} for email in mailed.values()]
    return _keep_deliveries(session, row, wanted, now=now)


def _keep_deliveries(
    session: Session, row: AnnouncementRow, wanted: Sequence[Mapping[str, Any]], *, now: datetime
) -> int:
    for one_wanted in wanted:
        session.add(
            DeliveryRow(
                id=new_id("dlv", now=now),
                announcement_id=row.id,
                status="waiting",
                attempts=0,
                tries=0,
                due_at=now,
                created_at=now,
                **one_wanted,
            )
        )
    row.addressed_at = now
    session.flush()
    return len(wanted)


def keep_unsendable_mail(session: Session) -> int:
    """Set waiting email aside, visibly, while no mail relay is configured; return how many."""
    return len(
        session.execute(
            update(DeliveryRow)
            .where(DeliveryRow.channel == "email", DeliveryRow.status == "waiting")
            .values(status="not-configured", last_error="No mail relay is configured.")
            .returning(DeliveryRow.id)
        ).all()
    )


def release_kept_mail(session: Session, *, now: datetime) -> int:
    """Let email that was set aside go, except what is too old to be sent unasked."""
    return len(
        session.execute(
            update(DeliveryRow)
            .where(
                DeliveryRow.channel == "email",
                DeliveryRow.status == "not-configured",
                DeliveryRow.created_at >= now - LATE_MAIL,
            )
            .values(status="waiting", due_at=now, last_error=None)
            .returning(DeliveryRow.id)
        ).all()
    )


def forget_rotated_secrets(session: Session, *, now: datetime) -> None:
    """Delete previous secrets whose overlap has passed."""
    session.execute(
        update(WebhookEndpointRow)
        .where(WebhookEndpointRow.previous_until <= now)
        .values(previous_secret=None, previous_until=None)
    )


def claim(
    session: Session,
    *,
    now: datetime,
    channels: Collection[str],
    limit: int,
    find_document: FindDocument,
) -> list[Parcel] | None:
    """Take due deliveries in hand, few for each receiver so that none holds up the rest.

    An email whose document has not been made yet is put off, without counting an attempt.

    Returns:
        What to send, which may be nothing though more is due; None when nothing is due.
    """
    turn = func.row_number().over(
        partition_by=func.coalesce(DeliveryRow.endpoint_id, "email"),
        order_by=(DeliveryRow.due_at, DeliveryRow.id),
    )
    due = (
        select(DeliveryRow.id.label("id"), DeliveryRow.due_at.label("due_at"), turn.label("turn"))
        .outerjoin(WebhookEndpointRow, WebhookEndpointRow.id == DeliveryRow.endpoint_id)
        .where(
            *_is_due(now),
            DeliveryRow.channel.in_(channels),
            or_(DeliveryRow.endpoint_id.is_(None), WebhookEndpointRow.status == "active"),
        )
        .subquery()
    )
    chosen = (
        select(due.c.id)
        .where(due.c.turn <= _AT_ONCE_TO_ONE)
        .order_by(due.c.due_at, due.c.id)
        .limit(limit)
    )
    rows = session.execute(
        select(DeliveryRow, AnnouncementRow, WebhookEndpointRow, AccountRow.name, SourceRow.name)
        .join(AnnouncementRow, AnnouncementRow.id == DeliveryRow.announcement_id)
        .outerjoin(WebhookEndpointRow, WebhookEndpointRow.id == DeliveryRow.endpoint_id)
        .outerjoin(AccountRow, AccountRow.id == AnnouncementRow.account_id)
        .outerjoin(SourceRow, SourceRow.id == AnnouncementRow.source_id)
        .where(DeliveryRow.id.in_(chosen), *_is_due(now))
        .order_by(DeliveryRow.due_at, DeliveryRow.id)
        .with_for_update(of=DeliveryRow, skip_locked=True)
    ).all()
    if not rows:
        return None
    parcels = []
    for row, announcement, endpoint, account_name, source_name in rows:
        document = KINDS[announcement.kind].attachment if row.channel == "email" else None
        attachment = None
        if document is not None:
            assert announcement.account_id is not None  # `announce` sees to it
            attachment = find_document(
                session, announcement.account_id, announcement.facts["invoice_id"], document
            )
            if attachment is None:
                row.due_at = now + _WAIT_FOR_DOCUMENT
                row.last_error = "Waiting for the document to be made."
                continue
        if row.tries >= LAST_ATTEMPT:  # its last attempt was cut short
            row.status = "dead"
            continue
        row.attempts += 1
        row.tries += 1
        row.due_at = now + LEASE
        session.add(DeliveryAttemptRow(delivery_id=row.id, number=row.attempts, started_at=now))
        parcels.append(
            Parcel(
                delivery_id=row.id,
                number=row.attempts,
                kind=announcement.kind,
                facts=dict(announcement.facts),
                owner_name=account_name or source_name,
                announced_at=announcement.announced_at,
                address=row.receiver if row.channel == "email" else None,
                url=None if endpoint is None else endpoint.url,
                secrets=() if endpoint is None else _secrets(endpoint, now),
                attachment=attachment,
            )
        )
    session.flush()
    return parcels


def record(
    session: Session, *, parcel: Parcel, result: Result, jitter: float, now: datetime
) -> str:
    """Write down how an attempt went and what comes next; return the delivery's new status.

    Args:
        jitter: from 0 to 1; spreads what failed together over the next tenth of the pause.
    """
    endpoint = None
    if parcel.url is not None:
        endpoint = session.scalar(
            select(WebhookEndpointRow)
            .join(DeliveryRow, DeliveryRow.endpoint_id == WebhookEndpointRow.id)
            .where(DeliveryRow.id == parcel.delivery_id)
            .with_for_update(of=WebhookEndpointRow)
        )
    row = session.get_one(DeliveryRow, parcel.delivery_id, with_for_update=True)
    attempt = session.get_one(DeliveryAttemptRow, (parcel.delivery_id, parcel.number))
    attempt.outcome, attempt.status = result.outcome, result.status
    attempt.milliseconds, attempt.excerpt = result.milliseconds, result.excerpt
    if result.outcome == "delivered":
        row.status, row.delivered_at, row.last_error = "delivered", now, None
    elif row.status == "waiting" and row.attempts == parcel.number:
        # Otherwise it was cancelled, or the lease ran out and another attempt decides.
        row.last_error = result.excerpt or f"Answered {result.status}."
        if result.relay_trouble:
            row.tries -= 1
            row.due_at = now + RELAY_PAUSE * (1 + jitter / 10)
        else:
            pause = pause_before(row.tries, retry_after=result.retry_after)
            if result.outcome == "permanent" or pause is None:
                row.status = "dead"
            else:
                row.due_at = now + pause * (1 + jitter / 10)
    if endpoint is not None:
        _count(session, endpoint, result, now)
    session.flush()
    return row.status


def _count(session: Session, endpoint: WebhookEndpointRow, result: Result, now: datetime) -> None:
    if result.outcome == "delivered":
        endpoint.failures, endpoint.failing_since = 0, None
        return
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or now
    gone = result.outcome == "gone"
    if endpoint.status == "active" and (
        gone
        or should_pause(failures=endpoint.failures, failing_since=endpoint.failing_since, now=now)
    ):
        endpoint.status = "paused"
        endpoint.status_reason = (
            "It answered 410 Gone."
            if gone
            else f"It failed {endpoint.failures} times in a row over two days or more."
        )
        announce(
            session,
            kind="webhook.paused",
            subject_id=f"{endpoint.id}:{now.isoformat()}",
            facts={
                "endpoint_id": endpoint.id,
                "failures": endpoint.failures,
                "last_status": result.status,
            },
            now=now,
            account_id=endpoint.account_id,
            source_id=endpoint.source_id,
        )
        audit.record(
            session,
            now=now,
            principal=PRINCIPAL,
            action="pause webhook endpoint",
            object_kind="notification",
            object_id=endpoint.id,
            facts={"reason": endpoint.status_reason},
        )


def _is_due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (DeliveryRow.status == "waiting", DeliveryRow.due_at <= now)


def _told(
    table: type[EmailSubscriptionRow | WebhookEndpointRow],
    row: AnnouncementRow,
    heirs: Sequence[AccountRow],
) -> ColumnElement[bool]:
    owned = (
        table.account_id.in_([account.id for account in heirs])
        if heirs
        else table.source_id == row.source_id
    )
    return owned & table.kinds.contains([row.kind]) & (table.created_at <= row.announced_at)


def _heirs(session: Session, row: AnnouncementRow) -> list[AccountRow]:
    """Return the account that it is about and whoever took over from it; none for a source."""
    found: list[AccountRow] = []
    account_id = row.account_id
    while account_id is not None:
        found.append(session.get_one(AccountRow, account_id))
        account_id = found[-1].successor_id
    return found


def _own_address(session: Session, row: AnnouncementRow, heirs: Sequence[AccountRow]) -> str | None:
    if heirs:
        return heirs[-1].email
    assert row.source_id is not None
    return session.get_one(SourceRow, row.source_id).contact_email


def _secrets(endpoint: WebhookEndpointRow, now: datetime) -> tuple[str, ...]:
    if endpoint.previous_secret is None or endpoint.previous_until is None:
        return (endpoint.secret,)
    if endpoint.previous_until <= now:
        return (endpoint.secret,)
    return (endpoint.secret, endpoint.previous_secret)
