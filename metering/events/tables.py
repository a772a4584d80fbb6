"""Usage events as they arrived, exactly once, for ever.

`event_keys` holds identity, unpartitioned; `usage_events` is partitioned by
London month and has no unique index of its own, since a unique index on each
partition would let an id pass twice on the two sides of a month end.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Quantity, UtcDateTime


class IngestBatchRow(Base):
    """One ingest transaction. The roll-up claims it once by setting `claimed_at`."""

    __tablename__ = "ingest_batches"
    __table_args__ = (
        Index("ix_ingest_batches_unclaimed", "id", postgresql_where=text("claimed_at IS NULL")),
        Index("ix_ingest_batches_source_id_received_at", "source_id", "received_at"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(Integer, ForeignKey("sources.id"))
    received_at: Mapped[datetime]
    received: Mapped[int] = mapped_column(Integer)
    accepted: Mapped[int] = mapped_column(Integer)
    duplicate: Mapped[int] = mapped_column(Integer)
    conflict: Mapped[int] = mapped_column(Integer)
    rejected: Mapped[int] = mapped_column(Integer)
    claimed_at: Mapped[datetime | None]


# The identity of an event is the pair (source, id). An id that is a canonical
# lower-case UUID is its own key; any other text is hashed to a UUID version 8
# and kept beside the event.
event_keys = Table(
    "event_keys",
    Base.metadata,
    Column("source_id", Integer, nullable=False),
    Column("event_key", Uuid, nullable=False),
    Column("fingerprint", Uuid, nullable=False),
    # When the usage happened: by it a withdrawal finds the event in its month.
    Column("occurred_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source_id", "event_key"),
    info={"citus": "distributed", "distribution_column": "event_key"},
)

# An event is withdrawn at most once, which the primary key holds even when two ask at once.
event_withdrawals = Table(
    "event_withdrawals",
    Base.metadata,
    Column("source_id", Integer, nullable=False),
    Column("event_key", Uuid, nullable=False),
    Column("withdrawn_by", Uuid, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source_id", "event_key"),
    info={"citus": "distributed", "distribution_column": "event_key"},
)

# One row for each meter that an event feeds. `kind`: 0 usage, 1 withdrawal.
usage_events = Table(
    "usage_events",
    Base.metadata,
    Column("period_month", Date, nullable=False),
    Column("subject_id", Integer, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("meter_id", Integer, nullable=False),
    Column("dimension_set_id", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("event_key", Uuid, nullable=False),
    Column("event_id", Text),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("batch_id", Uuid, nullable=False),
    # What the columns above do not hold: the value a unique meter counts, the id and
    # reason of a withdrawal.
    Column("detail", JSONB),
    CheckConstraint("kind IN (0, 1)", name="kind"),
    CheckConstraint("extract(day FROM period_month) = 1", name="period_month"),
    # Without summaries of the newest pages the roll-up would read them all each time. It makes
    # them itself (`partitions.summarise`), where partitions are not those of a cluster.
    Index(
        "ix_usage_events_batch_id",
        "batch_id",
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on", "pages_per_range": "32"},
    ),
    Index(
        "ix_usage_events_subject_id_meter_id_occurred_at", "subject_id", "meter_id", "occurred_at"
    ),
    info={"citus": "distributed", "distribution_column": "subject_id"},
    postgresql_partition_by="RANGE (period_month)",
)


class ArchivedMonthRow(Base):
    """A month whose raw events were moved to a file, and what proves that file."""

    __tablename__ = "archived_months"
    __table_args__ = ({"info": {"citus": "local"}},)

    month: Mapped[date] = mapped_column(primary_key=True)
    file: Mapped[str]
    sha256: Mapped[str]
    event_rows: Mapped[int]
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    archived_at: Mapped[datetime]
    archived_by: Mapped[str]


class ArchivedLevelRow(Base):
    """The last level of an archived month, which later months go on from.

    One for each subject, meter (`latest` or `time-weighted`) and dimension set with an event
    in the month that was not withdrawn.
    """

    __tablename__ = "archived_levels"
    __table_args__ = (
        PrimaryKeyConstraint("subject_id", "meter_id", "dimension_set_id", "month"),
        {"info": {"citus": "distributed", "distribution_column": "subject_id"}},
    )

    subject_id: Mapped[int] = mapped_column(Integer)
    meter_id: Mapped[int] = mapped_column(Integer)
    dimension_set_id: Mapped[int] = mapped_column(Integer)
    month: Mapped[date]
    occurred_at: Mapped[datetime]
    quantity: Mapped[Decimal] = mapped_column(Quantity)


class QuarantinedEventRow(Base):
    """A refused or conflicting event, kept with its reason; patient-like values masked."""

    __tablename__ = "quarantined_events"
    __table_args__ = (
        CheckConstraint("fate IN ('rejected', 'conflict')", name="fate"),
        CheckConstraint("status IN ('open', 'replayed', 'dismissed')", name="status"),
        Index(
            "ix_quarantined_events_source_id_status_received_at",
            "source_id",
            "status",
            "received_at",
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(Integer, ForeignKey("sources.id"))
    batch_id: Mapped[UUID]
    received_at: Mapped[datetime]
    event_id: Mapped[str | None]
    fate: Mapped[str]
    code: Mapped[str]
    pointer: Mapped[str]
    detail: Mapped[str]
    body: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(server_default="open")
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
