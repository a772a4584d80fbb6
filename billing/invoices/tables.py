"""Invoices: drafts that may change, and issued ones that never do."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds, Quantity


class InvoiceRow(Base):
    """An invoice or a credit note. `content` is the whole document, sealed once issued.

    `credit_basis`, on a credit note: `concession` gives money back and leaves the usage
    invoiced; `rebill` also puts it back to be invoiced again; `overcharge` is the run's own
    answer to corrections that come to less than nothing.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint("kind IN ('invoice', 'credit-note')", name="kind"),
        CheckConstraint("status IN ('draft', 'issued', 'settled', 'discarded')", name="status"),
        CheckConstraint(
            "(status IN ('issued', 'settled')) = (number IS NOT NULL)", name="number_from_issue"
        ),
        CheckConstraint("total = net + vat", name="total_is_net_and_vat"),
        CheckConstraint(
            "(kind = 'credit-note') = (credit_basis IS NOT NULL)", name="credit_note_has_basis"
        ),
        CheckConstraint(
            "credit_basis IN ('concession', 'rebill', 'overcharge')", name="credit_basis"
        ),
        Index("ix_invoices_run_id", "run_id"),
        Index("ix_invoices_number", "number"),
        Index("ix_invoices_account_id_month", "account_id", "month"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("bill_runs.id"))
    kind: Mapped[str]
    status: Mapped[str]
    month: Mapped[date]
    series: Mapped[str]
    number: Mapped[str | None]
    issued_at: Mapped[datetime | None]
    tax_point: Mapped[date | None]
    due_on: Mapped[date | None]
    purchase_order: Mapped[str | None]
    net: Mapped[Decimal] = mapped_column(Pounds)
    vat: Mapped[Decimal] = mapped_column(Pounds)
    total: Mapped[Decimal] = mapped_column(Pounds)
    pool_saving: Mapped[Decimal] = mapped_column(Pounds)
    content: Mapped[dict[str, Any]]
    seal: Mapped[str | None]
    previous_seal: Mapped[str | None]
    credits_invoice_id: Mapped[str | None]
    credit_basis: Mapped[str | None]
    created_at: Mapped[datetime]


class InvoiceLineRow(Base):
    """A charge as printed, rounded once. `credits_line`: the line that a credit note's credits."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "invoice_id", "number"),
        ForeignKeyConstraint(["account_id", "invoice_id"], ["invoices.account_id", "invoices.id"]),
        Index("ix_invoice_lines_account_id_month", "account_id", "month"),
        Index(
            "ix_invoice_lines_sums",
            "account_id",
            "invoice_id",
            postgresql_include=["kind", "tariff_code", "net"],
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    invoice_id: Mapped[str]
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    month: Mapped[date]
    tariff_code: Mapped[str]
    version_id: Mapped[str]
    price_key: Mapped[str]
    meter: Mapped[str]
    description: Mapped[str]
    dimensions: Mapped[dict[str, Any]]
    unit: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(Quantity)
    first_on: Mapped[date]
    end_on: Mapped[date]
    net: Mapped[Decimal] = mapped_column(Pounds)
    vat_treatment: Mapped[str]
    vat_rate_percent: Mapped[Decimal] = mapped_column(Quantity)
    pool_saving: Mapped[Decimal | None] = mapped_column(Pounds)
    charge_id: Mapped[str | None]
    credits_line: Mapped[int | None] = mapped_column(Integer)
    cost_centre: Mapped[str | None]
    subjective_code: Mapped[str | None]
    working: Mapped[list[Any]]


class InvoiceUsageRow(Base):
    """The readings behind a document, as they stood when it was drafted.

    `content`: a JSON list of readings, compressed by zlib; `sha256` is of the JSON, and is in
    the document's sealed content. As its lines, it never changes once the document is issued.
    """

    __tablename__ = "invoice_usage"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "invoice_id"),
        ForeignKeyConstraint(["account_id", "invoice_id"], ["invoices.account_id", "invoices.id"]),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    invoice_id: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str]


class NumberSeriesRow(Base):
    """The counter of one gapless series in one NHS financial year, locked at issue.

    `last_seal` is the head of the series' chain of seals.
    """

    __tablename__ = "number_series"
    __table_args__ = (
        PrimaryKeyConstraint("series", "financial_year"),
        {"info": {"citus": "local"}},
    )

    series: Mapped[str]
    financial_year: Mapped[int] = mapped_column(Integer)
    last_sequence: Mapped[int]
    last_seal: Mapped[str]


class IssuedNumberRow(Base):
    """Each number ever given, once."""

    __tablename__ = "issued_numbers"
    __table_args__ = (
        PrimaryKeyConstraint("series", "financial_year", "sequence"),
        UniqueConstraint("number"),
        {"info": {"citus": "local"}},
    )

    series: Mapped[str]
    financial_year: Mapped[int] = mapped_column(Integer)
    sequence: Mapped[int]
    number: Mapped[str]
    account_id: Mapped[str]
    invoice_id: Mapped[str]
    seal: Mapped[str]


class DocumentRow(Base):
    """A file made from an issued invoice: PDF, CSV, e-invoice."""

    __tablename__ = "documents"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "invoice_id", "name"),
        ForeignKeyConstraint(["account_id", "invoice_id"], ["invoices.account_id", "invoices.id"]),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    invoice_id: Mapped[str]
    name: Mapped[str]
    media_type: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str]
    made_at: Mapped[datetime]
