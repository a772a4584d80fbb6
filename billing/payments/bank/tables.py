"""Bank statements as imported, what their lines were found to be, and payers' own advices."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class BankStatementRow(Base):
    """A statement file that was imported; the same file again is the same row."""

    __tablename__ = "bank_statements"
    __table_args__ = (
        UniqueConstraint("sha256"),
        CheckConstraint("format IN ('csv', 'camt.053')", name="format"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    format: Mapped[str]
    file_name: Mapped[str]
    line_count: Mapped[int] = mapped_column(Integer)
    imported_at: Mapped[datetime]
    imported_by: Mapped[str]


class BankLineRow(Base):
    """One movement on our bank account: `amount` is positive when it came in.

    `line_key` is the bank's own reference or, where it gives none, a digest of the line and of
    its place among equal lines of that day: a line that comes again adds nothing.
    `identified` is how much of it is known to be something, with the sign of `amount`.
    """

    __tablename__ = "bank_lines"
    __table_args__ = (
        UniqueConstraint("bank_account", "line_key"),
        CheckConstraint("amount <> 0", name="not_nought"),
        CheckConstraint(
            "(amount > 0 AND identified BETWEEN 0 AND amount)"
            " OR (amount < 0 AND identified BETWEEN amount AND 0)",
            name="identified_at_most_once",
        ),
        Index(
            "ix_bank_lines_unmatched", "booked_on", postgresql_where=text("identified <> amount")
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    statement_id: Mapped[str] = mapped_column(ForeignKey("bank_statements.id"))
    bank_account: Mapped[str]
    line_key: Mapped[str]
    booked_on: Mapped[date]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    counterparty: Mapped[str]
    counterparty_account: Mapped[str]
    reference: Mapped[str]
    details: Mapped[str]
    identified: Mapped[Decimal] = mapped_column(Pounds, server_default="0")
    imported_at: Mapped[datetime]


class BankLineUseRow(Base):
    """What a part of a bank line was found to be, and how that was undone.

    `subject_id`: the payment, refund or payout that it is; empty when it was set aside.
    """

    __tablename__ = "bank_line_uses"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('payment', 'refund', 'returned', 'payout', 'set-aside')", name="kind"
        ),
        CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone_by_someone"),
        Index("ix_bank_line_uses_bank_line_id", "bank_line_id"),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    bank_line_id: Mapped[str] = mapped_column(ForeignKey("bank_lines.id"))
    kind: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"))
    subject_id: Mapped[str]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    reason: Mapped[str]
    made_at: Mapped[datetime]
    made_by: Mapped[str]
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None]
    undo_reason: Mapped[str | None]


class RemittanceAdviceRow(Base):
    """A payer's own list of what a payment is for."""

    __tablename__ = "remittance_advices"
    __table_args__ = (UniqueConstraint("sha256"), {"info": {"citus": "local"}})

    id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    payer: Mapped[str]
    reference: Mapped[str]
    paid_on: Mapped[date]
    total: Mapped[Decimal] = mapped_column(Pounds)
    items: Mapped[list[Any]]
    imported_at: Mapped[datetime]
    imported_by: Mapped[str]
