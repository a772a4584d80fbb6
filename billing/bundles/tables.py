"""Bundles that people asked for, kept in parts so that none is ever whole in memory."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class BundleRow(Base):
    """One zip of documents: of a run's, or of an account's for a span of months.

    `first_month` and `last_month`: billing months, both inclusive. `invoices_done` of
    `invoices_total`: progress.
    """

    __tablename__ = "bundles"
    __table_args__ = (
        CheckConstraint("status IN ('waiting', 'running', 'done', 'failed')", name="status"),
        CheckConstraint("(status = 'done') = (sha256 IS NOT NULL)", name="done_has_digest"),
        CheckConstraint("(run_id IS NULL) <> (account_id IS NULL)", name="run_or_account"),
        CheckConstraint(
            "(account_id IS NULL) = (first_month IS NULL)"
            " AND (account_id IS NULL) = (last_month IS NULL)",
            name="account_has_months",
        ),
        {"info": {"citus": "local"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("bill_runs.id"), index=True)
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    first_month: Mapped[date | None]
    last_month: Mapped[date | None]
    status: Mapped[str]
    invoices_done: Mapped[int] = mapped_column(Integer, server_default="0")
    invoices_total: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(BigInteger, server_default="0")
    sha256: Mapped[str | None]
    asked_by: Mapped[str]
    asked_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]


class BundlePartRow(Base):
    """A piece of a bundle's bytes, in order of `number` from 1."""

    __tablename__ = "bundle_parts"
    __table_args__ = ({"info": {"citus": "local"}},)

    bundle_id: Mapped[str] = mapped_column(ForeignKey("bundles.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
