"""Reads for the month-end pages that no feature has: documents made, months that could start."""

from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from billing.invoices.tables import DocumentRow, InvoiceRow
from billing.runs import queries
from billing.runs.tables import BillRunRow
from metering.periods import Month


@dataclass(frozen=True)
class DocumentProgress:
    """How many issued invoices and credit notes of a run have their files."""

    issued: int
    made: int

    @property
    def is_done(self) -> bool:
        """Whether every issued document has its files."""
        return self.made == self.issued


def document_progress(session: Session, *, run_id: str) -> DocumentProgress:
    """Return how far the files of a run's issued invoices are."""
    ours = (InvoiceRow.run_id == run_id, InvoiceRow.status.in_(("issued", "settled")))
    issued = session.scalar(select(func.count()).select_from(InvoiceRow).where(*ours)) or 0
    made = (
        session.scalar(
            select(func.count())
            .select_from(InvoiceRow)
            .where(
                *ours,
                # Whether there is one, not which: an invoice has half a dozen.
                exists().where(
                    DocumentRow.account_id == InvoiceRow.account_id,
                    DocumentRow.invoice_id == InvoiceRow.id,
                ),
            )
        )
        or 0
    )
    return DocumentProgress(issued, made)


def run_of_month(session: Session, month: str) -> BillRunRow:
    """Return the run of a month written `2026-04`.

    Raises:
        RunUnknown: it has none, or is no month.
    """
    try:
        found = queries.run_of(session, month=Month.parse(month))
    except ValueError:
        found = None
    if found is None:
        raise queries.RunUnknown(f"The month {month} has no bill run.")
    return found


def next_month(session: Session, *, current: Month) -> Month:
    """Return the month whose run comes next: after the latest one, else the last that ended."""
    latest = session.scalar(select(func.max(BillRunRow.month)))
    return current.previous if latest is None else Month.of_day(latest).next
