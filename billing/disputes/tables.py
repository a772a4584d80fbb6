"""Disputes and their messages."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds, Quantity


class DisputeRow(Base):
    """A query about an invoice or one of its lines; one open at a time for each."""

    __tablename__ = "disputes"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "invoice_id"], ["invoices.account_id", "invoices.id"]),
        CheckConstraint(
            "status IN ('open', 'waiting', 'credited', 'explained', 'withdrawn')", name="status"
        ),
        CheckConstraint(
            "reason IN ('not-ours', 'quantity', 'price', 'duplicate', 'vat', 'order', 'other')",
            name="reason",
        ),
        CheckConstraint("amount >= 0", name="amount_not_below_nought"),
        CheckConstraint("quantity > 0", name="quantity_above_nought"),
        CheckConstraint(
            "(status = 'credited') = (credit_note_id IS NOT NULL)", name="credited_by_note"
        ),
        CheckConstraint("(status = 'open') = (respond_by IS NOT NULL)", name="open_has_timer"),
        Index(
            "uq_disputes_one_open",
            "account_id",
            "invoice_id",
            func.coalesce(text("line_number"), text("0")),
            unique=True,
            postgresql_where=text("status IN ('open', 'waiting')"),
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    invoice_id: Mapped[str]
    line_number: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str]
    quantity: Mapped[Decimal | None] = mapped_column(Quantity)
    amount: Mapped[Decimal] = mapped_column(Pounds)
    status: Mapped[str]
    raised_by: Mapped[str]
    raised_at: Mapped[datetime]
    response_days: Mapped[int] = mapped_column(Integer)
    respond_by: Mapped[date | None]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    credit_note_id: Mapped[str | None]


class DisputeMessageRow(Base):
    """What either side wrote; never changed."""

    __tablename__ = "dispute_messages"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "dispute_id", "number"),
        ForeignKeyConstraint(["account_id", "dispute_id"], ["disputes.account_id", "disputes.id"]),
        CheckConstraint("side IN ('trust', 'central')", name="side"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    dispute_id: Mapped[str]
    number: Mapped[int] = mapped_column(Integer)
    side: Mapped[str]
    by: Mapped[str]
    text: Mapped[str]
    written_at: Mapped[datetime]
