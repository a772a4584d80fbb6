"""What a source itself counted."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Quantity


class ManifestRow(Base):
    """What a source itself counted for a meter over a span of London dates."""

    __tablename__ = "manifests"
    __table_args__ = (
        CheckConstraint("end_on > first_on", name="ends_after_start"),
        Index("ix_manifests_source_id_meter_id_first_on", "source_id", "meter_id", "first_on"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(Integer, ForeignKey("sources.id"))
    meter_id: Mapped[int] = mapped_column(Integer, ForeignKey("meters.id"))
    subject_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("organisations.id"))
    first_on: Mapped[date]
    end_on: Mapped[date]
    declared_count: Mapped[int]
    declared_quantity: Mapped[Decimal] = mapped_column(Quantity)
    received_at: Mapped[datetime]
