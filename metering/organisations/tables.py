"""Bodies by ODS code, and what became of those that closed."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from metering.kit.columns import Base


class OrganisationRow(Base):
    """A body with an ODS code. Its small `id` is the `subject_id` of usage.

    Dates are half-open: `closed_from` is the first London date on which the
    body no longer exists.
    """

    __tablename__ = "organisations"
    __table_args__ = (
        CheckConstraint(
            "closed_from IS NULL OR closed_from > opened_on", name="closes_after_opening"
        ),
        CheckConstraint("ods_code ~ '^[A-Z0-9]{3,10}$'", name="ods_code_form"),
        {"info": {"citus": "reference"}},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    ods_code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]
    postcode: Mapped[str | None]
    opened_on: Mapped[date | None]
    closed_from: Mapped[date | None]
    registered_at: Mapped[datetime]


class SuccessionRow(Base):
    """`successor` takes over from `predecessor` on a London date (merge, split or rename)."""

    __tablename__ = "successions"
    __table_args__ = ({"info": {"citus": "reference"}},)

    predecessor_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("organisations.id"), primary_key=True
    )
    successor_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("organisations.id"), primary_key=True
    )
    effective_on: Mapped[date]
