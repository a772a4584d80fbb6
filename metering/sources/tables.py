"""Hosted services that may send usage, and their keys."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Integer
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class SourceRow(Base):
    """A registered hosted service. `code` is the `source` attribute of its events."""

    __tablename__ = "sources"
    __table_args__ = (
        CheckConstraint("manifest_policy IN ('ignore', 'warn', 'wait')", name="manifest_policy"),
        {"info": {"citus": "reference"}},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    contact_email: Mapped[str | None]
    manifest_policy: Mapped[str] = mapped_column(server_default="warn")
    registered_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class ServiceKeyRow(Base):
    """A secret by which a source proves itself; only its SHA-256 is kept."""

    __tablename__ = "service_keys"
    __table_args__ = ({"info": {"citus": "reference"}},)

    id: Mapped[str] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(Integer, ForeignKey("sources.id"), index=True)
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_sha256: Mapped[str]
    label: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
