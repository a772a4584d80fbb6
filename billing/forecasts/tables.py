"""Forecasts as they were made, day by day, so that budgets and pages read one figure."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class ForecastRow(Base):
    """What an account's month was expected to come to, without VAT, on a London day.

    `to_date`: charged by then. `parts`: by service and meter, see `model.parts_json`.
    """

    __tablename__ = "forecasts"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "month", "made_on"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    month: Mapped[date]
    made_on: Mapped[date]
    to_date: Mapped[Decimal] = mapped_column(Pounds)
    low: Mapped[Decimal] = mapped_column(Pounds)
    expected: Mapped[Decimal] = mapped_column(Pounds)
    high: Mapped[Decimal] = mapped_column(Pounds)
    parts: Mapped[list[Any]]
    made_at: Mapped[datetime]
