"""An organisation as a payer: what it agreed to, and how it wants to be invoiced."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Date, ForeignKey, Integer, PrimaryKeyConstraint, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class AccountRow(Base):
    """An organisation that owes. One account for each organisation.

    `successor_id`: the account that took over its debts when it closed by merger; what
    is still to be invoiced for its own usage is addressed to that one.
    `order_required`: its drafts without a valid purchase order wait for one.
    """

    __tablename__ = "accounts"
    __table_args__ = ({"info": {"citus": "reference"}},)

    id: Mapped[str] = mapped_column(primary_key=True)
    organisation_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("organisations.id"), unique=True
    )
    name: Mapped[str]
    address: Mapped[list[Any]]
    postcode: Mapped[str]
    email: Mapped[str]
    vat_number: Mapped[str | None]
    payment_terms_days: Mapped[int] = mapped_column(Integer, server_default="30")
    in_nhs_vat_division: Mapped[bool] = mapped_column(server_default="false")
    order_required: Mapped[bool] = mapped_column(server_default="false")
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    successor_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))


class AgreementRow(Base):
    """An account is on a tariff from a London date, up to another or for good.

    `pooled`: its usage joins the national pool of the tariff's pooled prices.
    `group_code`: whom it shares group-scoped tiers with, for instance an ICB.
    Prices, discounts and commitments that differ from the tariff's are local agreements.
    """

    __tablename__ = "agreements"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint("ends_on IS NULL OR ends_on > starts_on", name="ends_after_start"),
        ExcludeConstraint(
            ("account_id", "="),
            ("tariff_code", "="),
            (func.daterange(text("starts_on"), text("ends_on")), "&&"),
            name="ex_agreements_one_at_a_time",
            using="gist",
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    tariff_code: Mapped[str] = mapped_column(ForeignKey("tariffs.code"))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    pooled: Mapped[bool] = mapped_column(server_default="true")
    group_code: Mapped[str | None]
    created_at: Mapped[datetime]


class LocalAgreementRow(Base):
    """Terms that differ from the tariff's, for one account or for every member of a group.

    `ends_on` may be brought forward; nothing else of an approved one ever changes.
    `end_proposed_on`: an earlier end that waits for a second person.
    """

    __tablename__ = "local_agreements"
    __table_args__ = (
        CheckConstraint("(account_id IS NULL) <> (group_code IS NULL)", name="one_owner"),
        CheckConstraint("ends_on IS NULL OR ends_on > starts_on", name="ends_after_start"),
        CheckConstraint("status IN ('proposed', 'approved', 'rejected')", name="status"),
        CheckConstraint(
            "status <> 'approved' OR (decided_by IS NOT NULL AND decided_by <> proposed_by)",
            name="four_eyes",
        ),
        ExcludeConstraint(
            (func.coalesce(text("account_id"), text("''")), "="),
            (func.coalesce(text("group_code"), text("''")), "="),
            ("tariff_code", "="),
            (func.daterange(text("starts_on"), text("ends_on")), "&&"),
            where=text("status = 'approved'"),
            name="ex_local_agreements_one_at_a_time",
            using="gist",
        ),
        {"info": {"citus": "reference"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    group_code: Mapped[str | None]
    tariff_code: Mapped[str] = mapped_column(ForeignKey("tariffs.code"))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    terms: Mapped[dict[str, Any]]
    status: Mapped[str]
    reason: Mapped[str]
    proposed_by: Mapped[str]
    proposed_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    end_proposed_on: Mapped[date | None]
    end_proposed_by: Mapped[str | None]
    end_approved_by: Mapped[str | None]


class PurchaseOrderRow(Base):
    """A purchase order to quote on invoices, for one tariff or for all (`tariff_code` null)."""

    __tablename__ = "purchase_orders"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint("ends_on IS NULL OR ends_on > starts_on", name="ends_after_start"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    number: Mapped[str]
    tariff_code: Mapped[str | None] = mapped_column(ForeignKey("tariffs.code"))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    value: Mapped[Decimal | None] = mapped_column(Pounds)
    hold_when_spent: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime]


class AllocationRuleRow(Base):
    """Which cost centres bear an account's lines of a service, meter and dimensions.

    `shares`: a list of `{"cost_centre", "subjective_code", "percent"}`, percent as text,
    together 100. One rule at a time for the same service, meter and dimensions.
    """

    __tablename__ = "allocation_rules"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint("ends_on IS NULL OR ends_on > starts_on", name="ends_after_start"),
        CheckConstraint("meter IS NULL OR tariff_code IS NOT NULL", name="meter_of_a_tariff"),
        ExcludeConstraint(
            ("account_id", "="),
            (func.coalesce(text("tariff_code"), text("''")), "="),
            (func.coalesce(text("meter"), text("''")), "="),
            ("selector", "="),
            (func.daterange(text("starts_on"), text("ends_on")), "&&"),
            name="ex_allocation_rules_one_at_a_time",
            using="gist",
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    tariff_code: Mapped[str | None] = mapped_column(ForeignKey("tariffs.code"))
    meter: Mapped[str | None]
    dimensions: Mapped[dict[str, Any]]
    selector: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    shares: Mapped[list[Any]]
    created_at: Mapped[datetime]


class VatTreatmentRow(Base):
    """How supplies to an account are taxed from a London date, where the tariff's own
    treatment does not apply (`tariff_code` null: for every service)."""

    __tablename__ = "vat_treatments"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint(
            "treatment IN ('standard', 'zero', 'exempt', 'outside-scope')", name="treatment"
        ),
        ExcludeConstraint(
            ("account_id", "="),
            (func.coalesce(text("tariff_code"), text("''")), "="),
            (func.daterange(text("starts_on"), text("ends_on")), "&&"),
            name="ex_vat_treatments_one_at_a_time",
            using="gist",
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    tariff_code: Mapped[str | None] = mapped_column(ForeignKey("tariffs.code"))
    treatment: Mapped[str]
    reason: Mapped[str]
    starts_on: Mapped[date] = mapped_column(Date)
    ends_on: Mapped[date | None] = mapped_column(Date)
