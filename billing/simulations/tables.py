"""Simulations, kept with the tariff version that they price."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class SimulationRow(Base):
    """Past usage under a version's contents as they were, by whom and when.

    `content_sha256`: of the contents that were priced; a draft that was changed since has
    another. `first_month`, `last_month`: first days, both simulated. `months_done`: progress.
    """

    __tablename__ = "simulations"
    __table_args__ = (
        CheckConstraint("status IN ('waiting', 'running', 'done', 'failed')", name="status"),
        CheckConstraint("last_month >= first_month", name="span"),
        CheckConstraint("(status = 'done') = (result IS NOT NULL)", name="done_has_result"),
        Index("ix_simulations_version_id", "version_id", "asked_at"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("tariff_versions.id"))
    content_sha256: Mapped[str]
    content: Mapped[dict[str, Any]]
    first_month: Mapped[date]
    last_month: Mapped[date]
    status: Mapped[str]
    months_done: Mapped[int] = mapped_column(Integer, server_default="0")
    months_total: Mapped[int] = mapped_column(Integer)
    asked_by: Mapped[str]
    asked_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
