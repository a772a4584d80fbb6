"""What usage comes to, month to date: made again whenever its inputs change."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, ExactPounds, Pounds, Quantity


class MonthRatingRow(Base):
    """The state of a month's rating for everyone.

    `fingerprint`: of every input, so that a pass that finds it unchanged ends at once.
    `positions`: where groups and the pool stand in the financial year after this month.
    `frozen_at`: when a bill run took the pool totals for good.
    `amount`: pounds that the month's charges come to, kept by each pass that writes some.
    """

    __tablename__ = "month_ratings"
    __table_args__ = ({"info": {"citus": "local"}},)

    month: Mapped[date] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    positions: Mapped[list[Any]]
    rated_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]
    amount: Mapped[Decimal] = mapped_column(Pounds, server_default="0.00")


class RatingRow(Base):
    """The state of an account's rating for a month: what it was worked out from.

    `charge_marks`: of its charges, so that equal ones are not written again; None where they
    were written before marks were kept. See `keeping.ChargeKeeper`.

    `positions`: where the account stands in the financial year after this month.
    """

    __tablename__ = "ratings"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "month"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    month: Mapped[date]
    input_fingerprint: Mapped[str]
    charge_marks: Mapped[bytes | None]
    rated_at: Mapped[datetime]
    readings_at: Mapped[datetime | None]
    positions: Mapped[list[Any]]


class ChargeRow(Base):
    """What one price comes to for one account in one month, with its working.

    `working` is kept as facts; `facts.read_working` puts it into words.

    `meter` is empty for an amount that counts nothing; `group_code` and `terms_code` are
    empty where there is none. `vat` is the tariff's own treatment.
    """

    __tablename__ = "charges"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        Index("ix_charges_account_id_month", "account_id", "month"),
        # With the amounts, so that national sums read the index alone.
        Index(
            "ix_charges_month_tariff_code",
            "month",
            "tariff_code",
            "account_id",
            postgresql_include=["amount", "quantity", "meter", "unit"],
        ),
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
    group_code: Mapped[str]
    terms_code: Mapped[str]
    vat: Mapped[str]
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

    `blended_price` is for showing, `blended_fraction` (`numerator/denominator`) is exact.
    `frozen_at` is set when a bill run closes the month: late usage is then rated at this
    blended price and nobody else's amount moves. `true_up` is what the nation's use would
    come to at today's total, less what it comes to at the frozen price.
    """

    __tablename__ = "pool_totals"
    __table_args__ = (
        PrimaryKeyConstraint(
            "month", "version_id", "price_key", "scope", "group_code", "terms_code"
        ),
        {"info": {"citus": "local"}},
    )

    month: Mapped[date]
    version_id: Mapped[str] = mapped_column(ForeignKey("tariff_versions.id"))
    price_key: Mapped[str]
    scope: Mapped[str]
    group_code: Mapped[str]
    terms_code: Mapped[str]
    label: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(ExactPounds)
    joint_quantity: Mapped[Decimal] = mapped_column(ExactPounds)
    joint_amount: Mapped[Decimal] = mapped_column(ExactPounds)
    blended_price: Mapped[Decimal | None] = mapped_column(ExactPounds)
    blended_fraction: Mapped[str | None]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    saving: Mapped[Decimal] = mapped_column(Pounds)
    true_up: Mapped[Decimal] = mapped_column(ExactPounds)
    member_count: Mapped[int]
    taken_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]


class PoolShareRow(Base):
    """What a member came to in a pool when it was frozen; `exact` is `numerator/denominator`."""

    __tablename__ = "pool_shares"
    __table_args__ = (
        PrimaryKeyConstraint(
            "account_id", "month", "version_id", "price_key", "scope", "group_code", "terms_code"
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    month: Mapped[date]
    version_id: Mapped[str]
    price_key: Mapped[str]
    scope: Mapped[str]
    group_code: Mapped[str]
    terms_code: Mapped[str]
    exact: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(Pounds)


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
    dimensions: Mapped[dict[str, Any]]
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    code: Mapped[str]
    detail: Mapped[str]
    facts: Mapped[dict[str, Any]]
    parked_at: Mapped[datetime]
