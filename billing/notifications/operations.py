"""Announce what happened; say who is told, by email and by webhook; tell again."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.notifications.model import (
    KINDS,
    Owner,
    checked_address,
    checked_facts,
    checked_kinds,
)
from billing.notifications.queries import DeliveryUnknown, SubscriptionUnknown
from billing.notifications.tables import (
    AnnouncementRow,
    DeliveryAttemptRow,
    DeliveryRow,
    EmailSubscriptionRow,
    WebhookEndpointRow,
)
from metering.kit import audit
from metering.kit.errors import Conflict
from metering.kit.ids import new_id


class AlreadySubscribed(Conflict):
    """The address has an open subscription of this owner already; change that one."""

    code = "already-subscribed"
    title = "The address is subscribed already"


class NotReplayable(Conflict):
    """The delivery cannot be sent again: it is still waiting, or its receiver has ended."""

    code = "delivery-not-replayable"
    title = "The delivery cannot be sent again"


def announce(
    session: Session,
    *,
    kind: str,
    subject_id: str,
    facts: Mapping[str, Any],
    now: datetime,
    account_id: str | None = None,
    source_id: int | None = None,
) -> str:
    """Note, in the caller's transaction, something that people and programs are to be told.

    One insert and no more: who is told is worked out by the job after commit, so that
    nothing here can hold up what happened. Whoever subscribes later is not told of it.

    Args:
        kind: one of `model.KINDS`.
        subject_id: what it happened to. The same kind and subject is announced once; a
            repeat changes nothing. Where it can happen again, make the id say which time.
        facts: as the kind declares; amounts as Decimal, London days as date.
        account_id, source_id: whose news it is; exactly one.

    Returns:
        The id of the announcement, of the earlier one for a repeat.

    Raises:
        ValueError: the facts are not what the kind declares, not exactly one owner, or a
            kind with a document for a source, which has none.
    """
    Owner(account_id=account_id, source_id=source_id)
    checked = checked_facts(kind, facts)
    if KINDS[kind].attachment is not None and account_id is None:
        raise ValueError(f"{kind} belongs to an account")
    made = session.scalar(
        insert(AnnouncementRow)
        .values(
            id=new_id("ann", now=now),
            kind=kind,
            subject_id=subject_id,
            account_id=account_id,
            source_id=source_id,
            facts=checked,
            announced_at=now,
        )
        .on_conflict_do_nothing(index_elements=["kind", "subject_id"])
        .returning(AnnouncementRow.id)
    )
    return (
        made
        or session.scalars(
            select(AnnouncementRow.id).where(
                AnnouncementRow.kind == kind, AnnouncementRow.subject_id == subject_id
            )
        ).one()
    )


def subscribe(
    session: Session,
    *,
    owner: Owner,
    address: str,
    kinds: Collection[str],
    principal: str,
    now: datetime,
) -> EmailSubscriptionRow:
    """Let an address be told of some kinds.

    Raises:
        AddressInvalid, KindUnknown, AlreadySubscribed.
    """
    statement = (
        insert(EmailSubscriptionRow)
        .values(
            id=new_id("sub", now=now),
            account_id=owner.account_id,
            source_id=owner.source_id,
            address=checked_address(address),
            kinds=checked_kinds(kinds, channel="email"),
            created_at=now,
            created_by=principal,
        )
        .on_conflict_do_nothing()
        .returning(EmailSubscriptionRow)
    )
    row = session.scalar(statement)
    if row is None:
        raise AlreadySubscribed(f"{address.strip()} is subscribed already; change its kinds.")
    note(session, "subscribe address", row.id, principal, now, owner, kinds=row.kinds)
    return row


def change_subscription(
    session: Session,
    *,
    owner: Owner,
    subscription_id: str,
    kinds: Collection[str],
    principal: str,
    now: datetime,
) -> EmailSubscriptionRow:
    """Choose other kinds for a subscribed address.

    Raises:
        SubscriptionUnknown, KindUnknown.
    """
    row = _subscription(session, owner, subscription_id)
    row.kinds = checked_kinds(kinds, channel="email")
    session.flush()
    note(session, "change subscription", row.id, principal, now, owner, kinds=row.kinds)
    return row


def end_subscription(
    session: Session, *, owner: Owner, subscription_id: str, principal: str, now: datetime
) -> None:
    """Tell an address no more, not even what is waiting for it.

    Raises:
        SubscriptionUnknown: there is no such open subscription.
    """
    row = _subscription(session, owner, subscription_id)
    row.ended_at = now
    session.flush()
    session.execute(
        update(DeliveryRow)
        .where(
            DeliveryRow.subscription_id == row.id,
            DeliveryRow.status.in_(("waiting", "not-configured")),
        )
        .values(status="cancelled", last_error="The subscription ended.")
    )
    note(session, "end subscription", row.id, principal, now, owner)


def replay(
    session: Session, *, delivery_id: str, principal: str, now: datetime, owner: Owner | None = None
) -> DeliveryRow:
    """Send a delivery again, under its old id, whether it was delivered, died or was kept.

    Args:
        owner: whose it must be; None for the central team.

    Raises:
        DeliveryUnknown: there is none, or it is another owner's.
        NotReplayable: it is waiting already, or its endpoint or subscription has ended.
    """
    found = session.execute(
        select(DeliveryRow, AnnouncementRow)
        .join(AnnouncementRow, AnnouncementRow.id == DeliveryRow.announcement_id)
        .where(DeliveryRow.id == delivery_id)
        .with_for_update(of=DeliveryRow)
    ).first()
    if found is None or (owner is not None and owner_of(found[1]) != owner):
        raise DeliveryUnknown(f"There is no delivery {delivery_id}.")
    row, announcement = found
    if row.status in ("waiting", "cancelled"):
        raise NotReplayable(f"The delivery is {row.status}; only one that has ended is sent again.")
    if _receiver_ended(session, row):
        raise NotReplayable("The endpoint or the subscription has ended.")
    row.status, row.tries, row.due_at, row.delivered_at = "waiting", 0, now, None
    session.flush()
    note(session, "replay delivery", row.id, principal, now, owner_of(announcement))
    return row


def forget_deliveries(session: Session, *, before: datetime) -> int:
    """Delete deliveries that ended before `before`, their attempts too; return how many.

    What was announced stays, so nothing is delivered a second time.
    """
    ended = select(DeliveryRow.id).where(
        DeliveryRow.status != "waiting",
        func.coalesce(DeliveryRow.delivered_at, DeliveryRow.due_at) < before,
    )
    session.execute(delete(DeliveryAttemptRow).where(DeliveryAttemptRow.delivery_id.in_(ended)))
    gone = session.execute(delete(DeliveryRow).where(DeliveryRow.id.in_(ended)))
    return cast(CursorResult[Any], gone).rowcount


def owner_of(row: AnnouncementRow | WebhookEndpointRow | EmailSubscriptionRow) -> Owner:
    """Return whose a row is."""
    return Owner(account_id=row.account_id, source_id=row.source_id)


def _receiver_ended(session: Session, row: DeliveryRow) -> bool:
    if row.endpoint_id is not None:
        return session.get_one(WebhookEndpointRow, row.endpoint_id).status == "ended"
    if row.subscription_id is None:
        return False
    return session.get_one(EmailSubscriptionRow, row.subscription_id).ended_at is not None


def _subscription(session: Session, owner: Owner, subscription_id: str) -> EmailSubscriptionRow:
    row = session.get(EmailSubscriptionRow, subscription_id, with_for_update=True)
    if row is None or row.ended_at is not None or owner_of(row) != owner:
        raise SubscriptionUnknown(f"There is no subscription {subscription_id}.")
    return row


def note(
    session: Session,
    action: str,
    object_id: str,
    principal: str,
    now: datetime,
    owner: Owner,
    **facts: Any,
) -> None:
    """Add an act on an owner's notifications to the audit trail."""
    # Neither address nor URL: one is a person's, the other may hold a token.
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="notification",
        object_id=object_id,
        facts={"account": owner.account_id, "source": owner.source_id, **facts},
    )
