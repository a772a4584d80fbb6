"""Reads of subscriptions, endpoints and deliveries, as frozen models ready for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Row, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from billing.accounts.tables import AccountRow
from billing.notifications.model import CENTRAL_KINDS, KINDS, Owner
from billing.notifications.tables import (
    AnnouncementRow,
    DeliveryAttemptRow,
    DeliveryRow,
    EmailSubscriptionRow,
    WebhookEndpointRow,
)
from metering.kit.errors import NotFound
from metering.sources.tables import SourceRow

SORT_KEYS: Mapping[str, InstrumentedAttribute[Any]] = {
    "what": AnnouncementRow.kind,
    "when": DeliveryRow.created_at,
    "state": DeliveryRow.status,
}


class SubscriptionUnknown(NotFound):
    """There is no such open subscription, or it is another owner's."""

    code = "email-subscription-unknown"
    title = "No such email subscription"


class EndpointUnknown(NotFound):
    """There is no such webhook endpoint, or it is another owner's."""

    code = "webhook-endpoint-unknown"
    title = "No such webhook endpoint"


class DeliveryUnknown(NotFound):
    """There is no such delivery, or it is another owner's."""

    code = "delivery-unknown"
    title = "No such delivery"


@dataclass(frozen=True)
class Subscription:
    """An address and the kinds it is told of."""

    id: str
    address: str
    kinds: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class Endpoint:
    """A webhook endpoint as a page shows it, without its secret.

    Attributes:
        status: `active`, `paused` or `ended`; `status_reason` says why it is paused.
        rotating_until: until when the previous secret signs too.
        failures: in a row, since `failing_since`.
        waiting, dead: deliveries of it in those states.
    """

    id: str
    url: str
    kinds: tuple[str, ...]
    status: str
    status_reason: str | None
    rotating_until: datetime | None
    failures: int
    failing_since: datetime | None
    created_at: datetime
    created_by: str
    waiting: int
    dead: int


@dataclass(frozen=True)
class Delivery:
    """One telling of one announcement to one receiver.

    Attributes:
        id: also the `webhook-id` header, and the local part of an email's Message-ID.
        owner: the account's name or the source's.
        receiver: the email address, or the host of the endpoint.
        due_at: when it is tried next, None where it is not waiting.
    """

    id: str
    kind: str
    kind_title: str
    subject_id: str
    owner: str
    channel: str
    receiver: str
    endpoint_id: str | None
    status: str
    attempts: int
    due_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None
    announced_at: datetime


@dataclass(frozen=True)
class DeliveryPage:
    """One page of deliveries, the newest first; `total` counts all pages."""

    items: tuple[Delivery, ...]
    total: int
    page: int
    page_size: int


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt; `outcome` is None while it goes on or where it was cut short."""

    number: int
    started_at: datetime
    outcome: str | None
    status: int | None
    milliseconds: int | None
    excerpt: str | None


@dataclass(frozen=True)
class DeliveryDetail:
    """A delivery with what it says and every attempt, the newest first."""

    delivery: Delivery
    facts: dict[str, Any]
    attempts: tuple[DeliveryAttempt, ...]


def subscriptions(session: Session, *, owner: Owner) -> tuple[Subscription, ...]:
    """Return the open subscriptions of an owner, by address."""
    rows = session.scalars(
        select(EmailSubscriptionRow)
        .where(_owned(EmailSubscriptionRow, owner), EmailSubscriptionRow.ended_at.is_(None))
        .order_by(func.lower(EmailSubscriptionRow.address))
    )
    return tuple(
        Subscription(row.id, row.address, tuple(row.kinds), row.created_at) for row in rows
    )


def endpoints(session: Session, *, owner: Owner | None = None) -> tuple[Endpoint, ...]:
    """Return the endpoints of an owner (None: of everyone) that have not ended, oldest first."""
    statement = select(WebhookEndpointRow).where(WebhookEndpointRow.status != "ended")
    if owner is not None:
        statement = statement.where(_owned(WebhookEndpointRow, owner))
    return _endpoints(session, statement.order_by(WebhookEndpointRow.id))


def endpoint(session: Session, *, endpoint_id: str, owner: Owner | None = None) -> Endpoint:
    """Return one endpoint, also one that has ended.

    Raises:
        EndpointUnknown: there is none, or it is another owner's.
    """
    statement = select(WebhookEndpointRow).where(WebhookEndpointRow.id == endpoint_id)
    if owner is not None:
        statement = statement.where(_owned(WebhookEndpointRow, owner))
    for found in _endpoints(session, statement):
        return found
    raise EndpointUnknown(f"There is no webhook endpoint {endpoint_id}.")


def deliveries(
    session: Session,
    *,
    owner: Owner | None = None,
    channel: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    endpoint_id: str | None = None,
    subject_id: str | None = None,
    sort: str = "when",
    descending: bool = True,
    page: int = 1,
    page_size: int = 50,
) -> DeliveryPage:
    """Return one page of deliveries that match every filter given, by one of `SORT_KEYS`."""
    wanted: list[ColumnElement[bool]] = []
    if owner is not None:
        wanted.append(_owned(AnnouncementRow, owner))
        wanted.append(AnnouncementRow.kind.not_in(CENTRAL_KINDS))
    for column, value in (
        (DeliveryRow.channel, channel),
        (DeliveryRow.status, status),
        (AnnouncementRow.kind, kind),
        (DeliveryRow.endpoint_id, endpoint_id),
        (AnnouncementRow.subject_id, subject_id),
    ):
        if value is not None:
            wanted.append(column == value)
    total = session.scalar(
        select(func.count())
        .select_from(DeliveryRow)
        .join(AnnouncementRow, AnnouncementRow.id == DeliveryRow.announcement_id)
        .where(*wanted)
    )
    rows = session.execute(
        _delivery_rows()
        .where(*wanted)
        .order_by(
            SORT_KEYS[sort].desc() if descending else SORT_KEYS[sort].asc(),
            DeliveryRow.created_at.desc(),
            DeliveryRow.id.desc(),
        )
        .limit(page_size)
        .offset((page - 1) * page_size)
    )
    return DeliveryPage(tuple(_delivery(row) for row in rows), total or 0, page, page_size)


def delivery(session: Session, *, delivery_id: str, owner: Owner | None = None) -> DeliveryDetail:
    """Return one delivery with every attempt.

    Raises:
        DeliveryUnknown: there is none, or it is another owner's.
    """
    statement = _delivery_rows().where(DeliveryRow.id == delivery_id)
    if owner is not None:
        statement = statement.where(
            _owned(AnnouncementRow, owner), AnnouncementRow.kind.not_in(CENTRAL_KINDS)
        )
    row = session.execute(statement).first()
    if row is None:
        raise DeliveryUnknown(f"There is no delivery {delivery_id}.")
    attempts = session.scalars(
        select(DeliveryAttemptRow)
        .where(DeliveryAttemptRow.delivery_id == delivery_id)
        .order_by(DeliveryAttemptRow.number.desc())
    )
    return DeliveryDetail(
        _delivery(row),
        dict(row[1].facts),
        tuple(
            DeliveryAttempt(
                one.number, one.started_at, one.outcome, one.status, one.milliseconds, one.excerpt
            )
            for one in attempts
        ),
    )


def counts_by_status(session: Session) -> dict[tuple[str, str], int]:
    """Return the number of deliveries by channel and status, for a page or a metric."""
    rows = session.execute(
        select(DeliveryRow.channel, DeliveryRow.status, func.count()).group_by(
            DeliveryRow.channel, DeliveryRow.status
        )
    )
    return {(channel, status): count for channel, status, count in rows}


def unaddressed(session: Session, *, limit: int) -> Sequence[str]:
    """Return the oldest announcements whose deliveries have not been made."""
    return session.scalars(
        select(AnnouncementRow.id)
        .where(AnnouncementRow.addressed_at.is_(None))
        .order_by(AnnouncementRow.announced_at, AnnouncementRow.id)
        .limit(limit)
    ).all()


def _owned(
    table: type[AnnouncementRow | EmailSubscriptionRow | WebhookEndpointRow], owner: Owner
) -> ColumnElement[bool]:
    if owner.account_id is not None:
        return table.account_id == owner.account_id
    return table.source_id == owner.source_id


def _endpoints(session: Session, statement: Select[WebhookEndpointRow]) -> tuple[Endpoint, ...]:
    rows = session.scalars(statement).all()
    counted = {
        (endpoint_id, status): count
        for endpoint_id, status, count in session.execute(
            select(DeliveryRow.endpoint_id, DeliveryRow.status, func.count())
            .where(
                DeliveryRow.endpoint_id.in_([row.id for row in rows]),
                or_(DeliveryRow.status == "waiting", DeliveryRow.status == "dead"),
            )
            .group_by(DeliveryRow.endpoint_id, DeliveryRow.status)
        )
    }
    return tuple(
        Endpoint(
            id=row.id,
            url=row.url,
            kinds=tuple(row.kinds),
            status=row.status,
            status_reason=row.status_reason,
            rotating_until=row.previous_until,
            failures=row.failures,
            failing_since=row.failing_since,
            created_at=row.created_at,
            created_by=row.created_by,
            waiting=counted.get((row.id, "waiting"), 0),
            dead=counted.get((row.id, "dead"), 0),
        )
        for row in rows
    )


def _delivery_rows() -> Select[DeliveryRow, AnnouncementRow, str, str, str]:
    return (
        select(
            DeliveryRow, AnnouncementRow, WebhookEndpointRow.url, AccountRow.name, SourceRow.name
        )
        .join(AnnouncementRow, AnnouncementRow.id == DeliveryRow.announcement_id)
        .outerjoin(WebhookEndpointRow, WebhookEndpointRow.id == DeliveryRow.endpoint_id)
        .outerjoin(AccountRow, AccountRow.id == AnnouncementRow.account_id)
        .outerjoin(SourceRow, SourceRow.id == AnnouncementRow.source_id)
    )


def _delivery(row: Row[DeliveryRow, AnnouncementRow, str, str, str]) -> Delivery:
    one, announcement, url, account_name, source_name = row
    return Delivery(
        id=one.id,
        kind=announcement.kind,
        kind_title=KINDS[announcement.kind].title,
        subject_id=announcement.subject_id,
        owner=account_name or source_name,
        channel=one.channel,
        receiver=one.receiver if url is None else (urlsplit(url).hostname or one.receiver),
        endpoint_id=one.endpoint_id,
        status=one.status,
        attempts=one.attempts,
        due_at=one.due_at if one.status == "waiting" else None,
        delivered_at=one.delivered_at,
        last_error=one.last_error,
        announced_at=announcement.announced_at,
    )
