"""Priced promises and their versions."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Integer, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class TariffRow(Base):
    """The prices of one service, through all their versions.

    `invoiced_to`: the first London date whose usage no approved bill run covers; a
    change that reaches before it is retrospective.
    """

    __tablename__ = "tariffs"
    __table_args__ = ({"info": {"citus": "reference"}},)

    code: Mapped[str] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(Integer, ForeignKey("sources.id"), unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    invoiced_to: Mapped[date | None]


class TariffVersionRow(Base):
    """One dated set of prices. Once approved its contents never change.

    `effective_to` is set when a later version is approved; then the version is
    in force on `[effective_from, effective_to)`. One whose whole span a later approval
    takes is superseded.
    """

    __tablename__ = "tariff_versions"
    __table_args__ = (
        CheckConstraint(
            "status IN ('draft', 'submitted', 'approved', 'superseded', 'withdrawn')",
            name="status",
        ),
        CheckConstraint(
            "effective_to IS NULL OR effective_to > effective_from", name="ends_after_start"
        ),
        CheckConstraint(
            "status <> 'approved' OR (approved_by IS NOT NULL AND approved_by <> author)",
            name="four_eyes",
        ),
        UniqueConstraint("tariff_code", "version"),
        ExcludeConstraint(
            ("tariff_code", "="),
            (func.daterange(text("effective_from"), text("effective_to")), "&&"),
            where=text("status = 'approved'"),
            name="ex_tariff_versions_one_in_force",
            using="gist",
        ),
        {"info": {"citus": "reference"}},
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tariff_code: Mapped[str] = mapped_column(ForeignKey("tariffs.code"))
    version: Mapped[str]
    status: Mapped[str]
    effective_from: Mapped[date]
    effective_to: Mapped[date | None]
    content: Mapped[dict[str, Any]]
    author: Mapped[str]
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    retrospective_reason: Mapped[str | None]
