"""Tables of the plumbing: audit trail, idempotency, job runs, cache versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class AuditEntryRow(Base):
    """One act by one principal; append-only, each entry sealed over the one before."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_object_kind_object_id", "object_kind", "object_id"),
        Index("ix_audit_entries_principal", "principal"),
        Index("ix_audit_entries_action", "action"),
        {"info": {"citus": "local"}},
    )

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    principal: Mapped[str]
    action: Mapped[str]
    object_kind: Mapped[str]
    object_id: Mapped[str]
    facts: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]
    previous_seal: Mapped[str]
    seal: Mapped[str]


class IdempotencyKeyRow(Base):
    """The remembered answer to a request that carried an `Idempotency-Key`."""

    __tablename__ = "idempotency_keys"
    __table_args__ = ({"info": {"citus": "local"}},)

    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class JobRunRow(Base):
    """One run of one scheduled job."""

    __tablename__ = "job_runs"
    __table_args__ = (
        CheckConstraint(
            "outcome IN ('running', 'succeeded', 'failed', 'abandoned')", name="outcome"
        ),
        Index("ix_job_runs_job_started_at", "job", "started_at"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str]
    counts: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    started_by: Mapped[str]


class CacheVersionRow(Base):
    """A counter that moves whenever rows that processes keep in memory change."""

    __tablename__ = "cache_versions"
    __table_args__ = ({"info": {"citus": "local"}},)

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
