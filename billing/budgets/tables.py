"""Budgets, cost centres and the warnings given."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class BudgetRow(Base):
    """Pounds without VAT that an account means to spend in a month or a financial year.

    For everything, one service (`tariff_code`) or one cost centre. `shares`: percent of
    `amount` at which to warn.
    """

    __tablename__ = "budgets"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint("per IN ('month', 'financial-year')", name="per"),
        CheckConstraint("tariff_code IS NULL OR cost_centre IS NULL", name="one_scope"),
        CheckConstraint("amount > 0", name="amount_above_nought"),
        Index(
            "ix_budgets_one_open",
            "account_id",
            "per",
            text("coalesce(tariff_code, '')"),
            text("coalesce(cost_centre, '')"),
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    per: Mapped[str]
    tariff_code: Mapped[str | None] = mapped_column(ForeignKey("tariffs.code"))
    cost_centre: Mapped[str | None]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    shares: Mapped[list[Any]]
    set_by: Mapped[str]
    set_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class BudgetWarningRow(Base):
    """A warning that was given: once for a share, a basis and a span (`starts_on` its month)."""

    __tablename__ = "budget_warnings"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "budget_id", "starts_on", "basis", "share_percent"),
        ForeignKeyConstraint(["account_id", "budget_id"], ["budgets.account_id", "budgets.id"]),
        CheckConstraint("basis IN ('spent', 'forecast')", name="basis"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    budget_id: Mapped[str]
    starts_on: Mapped[date]
    basis: Mapped[str]
    share_percent: Mapped[int] = mapped_column(Integer)
    amount: Mapped[Decimal] = mapped_column(Pounds)
    warned_at: Mapped[datetime]
