"""Entries that balance and never change, and what each issued document still leaves open."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class LedgerEntryRow(Base):
    """One thing that happened, posted once: (`kind`, `subject_id`) is unique.

    `posted_on` is the London date of posting, never an earlier one, so that the journal of
    a period that has ended stays as it was exported.
    `posting_count` and `debits` say what the entry's postings come to; a deferred trigger
    checks at commit that they do, and that debits equal credits.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id"),
        UniqueConstraint("reverses_id"),
        CheckConstraint("(kind = 'undo') = (reverses_id IS NOT NULL)", name="undo_reverses"),
        CheckConstraint("posting_count > 1 OR posting_count = 0", name="two_sides"),
        Index("ix_ledger_entries_posted_on", "posted_on"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[str]
    reverses_id: Mapped[str | None] = mapped_column(ForeignKey("ledger_entries.id"))
    posted_at: Mapped[datetime]
    posted_on: Mapped[date]
    description: Mapped[str]
    posting_count: Mapped[int] = mapped_column(Integer)
    debits: Mapped[Decimal] = mapped_column(Pounds)
    posted_by: Mapped[str]


class LedgerPostingRow(Base):
    """One side of an entry: a debit positive, a credit negative."""

    __tablename__ = "ledger_postings"
    __table_args__ = (
        PrimaryKeyConstraint("entry_id", "number"),
        CheckConstraint("amount <> 0", name="not_nought"),
        CheckConstraint(
            "ledger_account IN ('receivable', 'credit', 'unallocated', 'cash', 'stripe',"
            " 'revenue', 'vat', 'write-off', 'other')",
            name="ledger_account",
        ),
        CheckConstraint("(ledger_account = 'revenue') = (service <> '')", name="revenue_service"),
        Index("ix_ledger_postings_account_id_ledger_account", "account_id", "ledger_account"),
        Index(
            "ix_ledger_postings_ledger_account_service",
            "ledger_account",
            "service",
            postgresql_include=["amount"],
        ),
        {"info": {"citus": "local"}},
    )

    entry_id: Mapped[str] = mapped_column(ForeignKey("ledger_entries.id"))
    number: Mapped[int] = mapped_column(Integer)
    ledger_account: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    service: Mapped[str] = mapped_column(server_default="")
    amount: Mapped[Decimal] = mapped_column(Pounds)


class LedgerCodeRow(Base):
    """The central team's cost centre and subjective code of a ledger account, by service where
    the account is revenue (`service` empty: for every service without a row of its own)."""

    __tablename__ = "ledger_codes"
    __table_args__ = (
        PrimaryKeyConstraint("ledger_account", "service"),
        {"info": {"citus": "local"}},
    )

    ledger_account: Mapped[str]
    service: Mapped[str]
    cost_centre: Mapped[str]
    subjective_code: Mapped[str]


class ReceivableRow(Base):
    """An issued invoice or credit note as money: what of it is settled, used or refunded.

    `allocated` is kept by the trigger on `allocations` and `refunded` by the one on `refunds`,
    so the check below is what makes covering an invoice twice impossible. For a
    credit note `allocated` is what of it was set against invoices.
    """

    __tablename__ = "receivables"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "document_id"),
        ForeignKeyConstraint(["account_id", "document_id"], ["invoices.account_id", "invoices.id"]),
        CheckConstraint("kind IN ('invoice', 'credit-note')", name="kind"),
        CheckConstraint(
            "allocated >= 0 AND refunded >= 0 AND allocated + refunded <= total",
            name="never_more_than_total",
        ),
        CheckConstraint("kind = 'credit-note' OR refunded = 0", name="only_credit_is_refunded"),
        Index("ix_receivables_due_on", "due_on", postgresql_where=text("allocated < total")),
        Index("ix_receivables_number", "number"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    document_id: Mapped[str]
    kind: Mapped[str]
    number: Mapped[str]
    issued_on: Mapped[date]
    due_on: Mapped[date]
    total: Mapped[Decimal] = mapped_column(Pounds)
    allocated: Mapped[Decimal] = mapped_column(Pounds, server_default="0")
    refunded: Mapped[Decimal] = mapped_column(Pounds, server_default="0")
    credits_document_id: Mapped[str | None]
