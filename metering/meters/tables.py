"""What is counted, and how."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class MeterRow(Base):
    """What is counted: events of one type from one source, and how they add up.

    `dimensions` maps each dimension's name to `{"label": …, "values": [...] or null}`;
    `filter` maps a dimension to the values that count. Several meters may read one
    event type.
    """

    __tablename__ = "meters"
    __table_args__ = (
        CheckConstraint(
            "aggregation IN ('sum', 'count', 'max', 'min', 'unique', 'latest', 'time-weighted')",
            name="aggregation",
        ),
        CheckConstraint("resolution IN ('day', 'hour')", name="resolution"),
        CheckConstraint(
            "(aggregation = 'count') = (quantity_field IS NULL)", name="quantity_field_unless_count"
        ),
        Index("ix_meters_source_id_event_type", "source_id", "event_type"),
        {"info": {"citus": "reference"}},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    source_id: Mapped[int] = mapped_column(Integer, ForeignKey("sources.id"))
    event_type: Mapped[str]
    aggregation: Mapped[str]
    quantity_field: Mapped[str | None]
    unit: Mapped[str]
    dimensions: Mapped[dict[str, Any]]
    filter: Mapped[dict[str, Any]]
    resolution: Mapped[str] = mapped_column(server_default="day")
    registered_at: Mapped[datetime]


class DimensionSetRow(Base):
    """A dictionary entry: one combination of dimension values, named by a small integer."""

    __tablename__ = "dimension_sets"
    __table_args__ = ({"info": {"citus": "reference"}},)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    fingerprint: Mapped[UUID] = mapped_column(unique=True)
    dimensions: Mapped[dict[str, Any]]
