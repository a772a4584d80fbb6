"""What happened (announcements), whom to tell, and each telling with its attempts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base

_ONE_OWNER = "num_nonnulls(account_id, source_id) = 1"


class AnnouncementRow(Base):
    """Something that happened, written in the transaction in which it did.

    `addressed_at`: when its deliveries were made; null until then.
    """

    __tablename__ = "announcements"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id"),
        CheckConstraint(_ONE_OWNER, name="one_owner"),
        Index(
            "ix_announcements_unaddressed",
            "announced_at",
            "id",
            postgresql_where=text("addressed_at IS NULL"),
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    source_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("sources.id"))
    facts: Mapped[dict[str, Any]]
    announced_at: Mapped[datetime]
    addressed_at: Mapped[datetime | None]


class EmailSubscriptionRow(Base):
    """An address that is told of some kinds; one open row for each owner and address."""

    __tablename__ = "email_subscriptions"
    __table_args__ = (
        CheckConstraint(_ONE_OWNER, name="one_owner"),
        CheckConstraint("cardinality(kinds) > 0", name="has_kinds"),
        Index(
            "uq_email_subscriptions_open_account",
            "account_id",
            func.lower(text("address")),
            unique=True,
            postgresql_where=text("ended_at IS NULL AND account_id IS NOT NULL"),
        ),
        Index(
            "uq_email_subscriptions_open_source",
            "source_id",
            func.lower(text("address")),
            unique=True,
            postgresql_where=text("ended_at IS NULL AND source_id IS NOT NULL"),
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    source_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("sources.id"))
    address: Mapped[str]
    kinds: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    ended_at: Mapped[datetime | None]


class WebhookEndpointRow(Base):
    """Where an owner's programs are told, and the secret that signs, sealed.

    `previous_secret` also signs until `previous_until`, while the receiver changes over.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint(_ONE_OWNER, name="one_owner"),
        CheckConstraint("cardinality(kinds) > 0", name="has_kinds"),
        CheckConstraint("status IN ('active', 'paused', 'ended')", name="status"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_until IS NULL)", name="previous_has_end"
        ),
        Index("ix_webhook_endpoints_account_id", "account_id"),
        Index("ix_webhook_endpoints_source_id", "source_id"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    source_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("sources.id"))
    url: Mapped[str]
    kinds: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    failing_since: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    ended_at: Mapped[datetime | None]


class DeliveryRow(Base):
    """One announcement for one receiver. The id is stable over every attempt and replay.

    `attempts` counts for ever and numbers the attempts; `tries` since it was made, replayed
    or its endpoint resumed. `due_at` of a delivery in hand lies after its lease.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("announcement_id", "channel", "receiver"),
        CheckConstraint("channel IN ('email', 'webhook')", name="channel"),
        CheckConstraint("(channel = 'webhook') = (endpoint_id IS NOT NULL)", name="endpoint"),
        CheckConstraint(
            "status IN ('waiting', 'delivered', 'dead', 'not-configured', 'cancelled')",
            name="status",
        ),
        CheckConstraint("(status = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_at"),
        Index("ix_deliveries_waiting", "due_at", "id", postgresql_where=text("status = 'waiting'")),
        Index("ix_deliveries_endpoint_id", "endpoint_id", "created_at"),
        Index("ix_deliveries_created_at", "created_at", "id"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    announcement_id: Mapped[str] = mapped_column(ForeignKey("announcements.id"))
    channel: Mapped[str]
    receiver: Mapped[str]
    endpoint_id: Mapped[str | None] = mapped_column(ForeignKey("webhook_endpoints.id"))
    subscription_id: Mapped[str | None] = mapped_column(ForeignKey("email_subscriptions.id"))
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer)
    tries: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    created_at: Mapped[datetime]


class DeliveryAttemptRow(Base):
    """One attempt, written before it is made: one without an outcome was cut short."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (
        PrimaryKeyConstraint("delivery_id", "number"),
        CheckConstraint("outcome IN ('delivered', 'retry', 'permanent', 'gone')", name="outcome"),
        {"info": {"citus": "local"}},
    )

    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id"))
    number: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime]
    outcome: Mapped[str | None]
    status: Mapped[int | None] = mapped_column(Integer)
    milliseconds: Mapped[int | None] = mapped_column(Integer)
    excerpt: Mapped[str | None]
