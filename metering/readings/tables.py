"""Daily totals: the one thing that billing reads."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Quantity

WHOLE_DAY = -1
"""The `hour` of a reading that covers its whole London day."""


class ReadingRow(Base):
    """A meter's total for a subject, a dimension set and a London day.

    `hour` is the London clock hour (0 to 23) for a meter with time-of-day
    bands, else `WHOLE_DAY`. The hour that the autumn clock change repeats is
    one clock hour.
    """

    __tablename__ = "readings"
    __table_args__ = (
        CheckConstraint("hour BETWEEN -1 AND 23", name="hour"),
        Index("ix_readings_used_on_meter_id", "used_on", "meter_id"),
        {"info": {"citus": "distributed", "distribution_column": "subject_id"}},
    )

    subject_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    meter_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    used_on: Mapped[date] = mapped_column(primary_key=True)
    dimension_set_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    hour: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="-1")
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    event_count: Mapped[int]
    updated_at: Mapped[datetime]
