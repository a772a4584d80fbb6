"""A month end: one month, many accounts, safe to repeat."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, PrimaryKeyConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base, Pounds


class BillRunRow(Base):
    """The run of one London month; there is one for each month.

    `supplier` is who sends the invoices, as set when the run started. What is due below
    `smallest_invoice`, pounds without VAT, is carried over, but never past March.
    `wanted` is work that a person asked for and a job does: `draft` or `issue`, by
    `wanted_by`. `services` is what each service comes to, kept from when every account is
    drafted until a draft may change: `{"tariff", "net", "accounts"}` for each. Invoices refer
    to it, so on a cluster it is a copy on every node.
    """

    __tablename__ = "bill_runs"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'drafted', 'approved', 'issued')", name="status"),
        CheckConstraint("approved_by IS NULL OR approved_by <> started_by", name="four_eyes"),
        CheckConstraint("wanted IN ('draft', 'issue')", name="wanted"),
        {"info": {"citus": "reference"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(unique=True)
    status: Mapped[str]
    started_at: Mapped[datetime]
    started_by: Mapped[str]
    drafted_at: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None]
    issued_at: Mapped[datetime | None]
    checks: Mapped[list[Any]]
    supplier: Mapped[dict[str, Any]]
    smallest_invoice: Mapped[Decimal] = mapped_column(Pounds, server_default="0.00")
    wanted: Mapped[str | None]
    wanted_by: Mapped[str | None]
    services: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))


class BillRunAccountRow(Base):
    """How far one account has come in a run.

    `checklist`: for each draft `{"document", "checks"}`, see `runs.checklist`.
    """

    __tablename__ = "bill_run_accounts"
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "account_id"),
        CheckConstraint(
            "status IN ('waiting', 'drafted', 'nothing-due', 'parked', 'held', 'issued', "
            "'carried-over')",
            name="status",
        ),
        {"info": {"citus": "local"}},
    )

    run_id: Mapped[str] = mapped_column(ForeignKey("bill_runs.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    status: Mapped[str]
    reason: Mapped[str | None]
    checklist: Mapped[list[Any]] = mapped_column(server_default="[]")
    changed_at: Mapped[datetime]
