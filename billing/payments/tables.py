"""Money received, what it was set against, and where it came from."""

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
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class PaymentRow(Base):
    """Money recognised as an account's; `source_ref` is the bank line or Stripe's payment.

    `allocated` and `refunded` are kept by triggers; the check makes spending it twice impossible.
    """

    __tablename__ = "payments"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        CheckConstraint("source IN ('bank', 'stripe')", name="source"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint(
            "allocated >= 0 AND refunded >= 0 AND allocated + refunded <= amount",
            name="never_more_than_amount",
        ),
        CheckConstraint(
            "reversed_at IS NULL OR allocated + refunded = 0", name="reversed_is_unused"
        ),
        Index(
            "uq_payments_account_id_stripe",
            "account_id",
            "source_ref",
            unique=True,
            postgresql_where=text("source = 'stripe'"),
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    source: Mapped[str]
    source_ref: Mapped[str]
    received_on: Mapped[date]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    allocated: Mapped[Decimal] = mapped_column(Pounds, server_default="0")
    refunded: Mapped[Decimal] = mapped_column(Pounds, server_default="0")
    reference: Mapped[str]
    made_at: Mapped[datetime]
    made_by: Mapped[str]
    reversed_at: Mapped[datetime | None]


class PrepaidRow(Base):
    """A payment made in advance, drawn on London dates `[granted_on, ends_on)`."""

    __tablename__ = "prepaid_credits"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "payment_id"),
        ForeignKeyConstraint(["account_id", "payment_id"], ["payments.account_id", "payments.id"]),
        CheckConstraint("ends_on IS NULL OR ends_on > granted_on", name="ends_after_grant"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    payment_id: Mapped[str]
    granted_on: Mapped[date]
    ends_on: Mapped[date | None]
    held_by: Mapped[str]
    held_at: Mapped[datetime]


class AllocationRow(Base):
    """A part of a payment or credit note set against an invoice, or a debt written off.

    Append-only: undoing adds the opposite row, and can be done once.
    `effective_on` is when the debt was in fact covered: the day the money was received.
    """

    __tablename__ = "allocations"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        ForeignKeyConstraint(
            ["account_id", "invoice_id"], ["receivables.account_id", "receivables.document_id"]
        ),
        ForeignKeyConstraint(["account_id", "payment_id"], ["payments.account_id", "payments.id"]),
        ForeignKeyConstraint(
            ["account_id", "credit_note_id"], ["receivables.account_id", "receivables.document_id"]
        ),
        ForeignKeyConstraint(
            ["account_id", "undoes"], ["allocations.account_id", "allocations.id"]
        ),
        UniqueConstraint("account_id", "undoes"),
        CheckConstraint("kind IN ('payment', 'credit', 'write-off')", name="kind"),
        CheckConstraint("(kind = 'payment') = (payment_id IS NOT NULL)", name="payment"),
        CheckConstraint("(kind = 'credit') = (credit_note_id IS NOT NULL)", name="credit_note"),
        CheckConstraint("amount <> 0 AND (amount > 0) = (undoes IS NULL)", name="negative_undoes"),
        Index("ix_allocations_account_id_invoice_id", "account_id", "invoice_id"),
        Index("ix_allocations_account_id_payment_id", "account_id", "payment_id"),
        Index("ix_allocations_made_at", "made_at"),
        Index("ix_allocations_effective_on", "effective_on"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    invoice_id: Mapped[str]
    kind: Mapped[str]
    payment_id: Mapped[str | None]
    credit_note_id: Mapped[str | None]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    undoes: Mapped[str | None]
    effective_on: Mapped[date]
    reason: Mapped[str]
    made_at: Mapped[datetime]
    made_by: Mapped[str]


class RefundRow(Base):
    """Money given back, out of a payment or a credit note; a failed one frees its amount."""

    __tablename__ = "refunds"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        ForeignKeyConstraint(["account_id", "payment_id"], ["payments.account_id", "payments.id"]),
        ForeignKeyConstraint(
            ["account_id", "credit_note_id"], ["receivables.account_id", "receivables.document_id"]
        ),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(payment_id IS NULL) <> (credit_note_id IS NULL)", name="one_origin"),
        CheckConstraint("via IN ('bank', 'stripe')", name="via"),
        CheckConstraint("status IN ('requested', 'sent', 'failed')", name="status"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    payment_id: Mapped[str | None]
    credit_note_id: Mapped[str | None]
    amount: Mapped[Decimal] = mapped_column(Pounds)
    via: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str]
    remote_id: Mapped[str | None]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]


class GatewayCallRow(Base):
    """One thing asked of Stripe, recorded with its idempotency key before the call.

    `done` holds what Stripe answered in `remote_id`; `pending` may or may not have
    happened there, and the repair asks; `refused` needs a person.
    """

    __tablename__ = "gateway_calls"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "id"),
        UniqueConstraint("account_id", "action", "subject_id"),
        CheckConstraint("status IN ('pending', 'done', 'refused')", name="status"),
        Index("ix_gateway_calls_open", "status", postgresql_where=text("status = 'pending'")),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    id: Mapped[str]
    action: Mapped[str]
    subject_id: Mapped[str]
    idempotency_key: Mapped[str]
    status: Mapped[str]
    remote_id: Mapped[str | None]
    error: Mapped[str | None]
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    first_tried_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class StripeInvoiceRow(Base):
    """What Stripe says of a pushed invoice: a mirror, never the truth about money owed."""

    __tablename__ = "stripe_invoices"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "invoice_id"),
        ForeignKeyConstraint(
            ["account_id", "invoice_id"], ["receivables.account_id", "receivables.document_id"]
        ),
        Index("ix_stripe_invoices_stripe_id", "stripe_id"),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    invoice_id: Mapped[str]
    stripe_id: Mapped[str]
    status: Mapped[str]
    amount_remaining: Mapped[Decimal] = mapped_column(Pounds)
    hosted_url: Mapped[str | None]
    mirrored_at: Mapped[datetime]


class WebhookEventRow(Base):
    """A signed event from Stripe, stored once as it came; a job applies it."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('waiting', 'applied', 'ignored', 'failed')", name="outcome"),
        Index(
            "ix_webhook_events_waiting", "received_at", postgresql_where=text("outcome = 'waiting'")
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    object_id: Mapped[str]
    content: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(server_default="waiting")
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    error: Mapped[str | None]
    applied_at: Mapped[datetime | None]


class ReminderScheduleRow(Base):
    """When an account is reminded: days after the due date (negative: before), none for never."""

    __tablename__ = "reminder_schedules"
    __table_args__ = ({"info": {"citus": "reference"}},)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    days: Mapped[list[Any]]
    changed_at: Mapped[datetime]
    changed_by: Mapped[str]


class ReminderRow(Base):
    """A reminder written for an invoice, once for each step; `sent_at` when it was announced."""

    __tablename__ = "reminders"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "invoice_id", "step"),
        ForeignKeyConstraint(
            ["account_id", "invoice_id"], ["receivables.account_id", "receivables.document_id"]
        ),
        {"info": {"citus": "distributed", "distribution_column": "account_id"}},
    )

    account_id: Mapped[str]
    invoice_id: Mapped[str]
    step: Mapped[int] = mapped_column(Integer)
    to: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    written_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
