"""Accruals as they were taken: finance books these figures, so they never change."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class AccrualRow(Base):
    """What an account owes without VAT for a service's use of a month, not yet invoiced.

    `month`: at whose end; `usage_month`: in which it was used, the same or an earlier one.
    """

    __tablename__ = "accruals"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "month", "tariff_code", "usage_month"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    month: Mapped[date]
    tariff_code: Mapped[str] = mapped_column(ForeignKey("tariffs.code"))
    usage_month: Mapped[date]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    taken_at: Mapped[datetime]


class AccrualTakenRow(Base):
    """That a month's accruals were taken, even where there were none."""

    __tablename__ = "accruals_taken"
    __table_args__ = ({"info": {"citus": "local"}},)

    month: Mapped[date] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime]
    taken_by: Mapped[str]
