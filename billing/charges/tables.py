"""What usage comes to, month to date: made again whenever its inputs change."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, ExactPounds, Pounds, Quantity


class RatingRow(Base):
    """The state of an account's rating for a month: what it was worked out from."""

    __tablename__ = "ratings"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "month"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    month: Mapped[date]
    input_fingerprint: Mapped[str]
    rated_at: Mapped[datetime]
    readings_at: Mapped[datetime | None]


class ChargeRow(Base):
    """What one price comes to for one account in one month, with its working."""

    __tablename__ = "charges"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        Index("ix_charges_account_id_month", "account_id", "month"),
        Index("ix_charges_month_tariff_code", "month", "tariff_code"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    month: Mapped[date]
    tariff_code: Mapped[str] = mapped_column(ForeignKey("tariffs.code"))
    version_id: Mapped[str] = mapped_column(ForeignKey("tariff_versions.id"))
    price_key: Mapped[str]
    label: Mapped[str]
    meter: Mapped[str]
    unit: Mapped[str]
    scope: Mapped[str]
    dimensions: Mapped[dict[str, Any]]
    band: Mapped[str | None]
    first_on: Mapped[date]
    end_on: Mapped[date]
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    exact: Mapped[Decimal] = mapped_column(ExactPounds)
    amount: Mapped[Decimal] = mapped_column(Pounds)
    alone_amount: Mapped[Decimal | None] = mapped_column(Pounds)
    working: Mapped[list[Any]]


class PoolTotalRow(Base):
    """A shared price's joint quantity and blended price for a month.

    `frozen_at` is set when the month closes; late usage is then rated at this
    blended price and nobody else's amount moves.
    """

    __tablename__ = "pool_totals"
    __table_args__ = ({"info": {"citus": "local"}},)

    month: Mapped[date] = mapped_column(primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("tariff_versions.id"), primary_key=True)
    price_key: Mapped[str] = mapped_column(primary_key=True)
    group_code: Mapped[str] = mapped_column(primary_key=True, server_default="")
    joint_quantity: Mapped[Decimal] = mapped_column(Quantity)
    joint_amount: Mapped[Decimal] = mapped_column(ExactPounds)
    alone_amount: Mapped[Decimal] = mapped_column(ExactPounds)
    member_count: Mapped[int]
    taken_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]


class ParkedUsageRow(Base):
    """Usage that could not be rated, with the reason; never a nought."""

    __tablename__ = "parked_usage"
    __table_args__ = (
        Index("ix_parked_usage_month", "month"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    organisation: Mapped[str]
    meter: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    code: Mapped[str]
    detail: Mapped[str]
    facts: Mapped[dict[str, Any]]
    parked_at: Mapped[datetime]
