"""Close the month as two people do it, and write what it issued."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.demo.check import Recomputed, recompute
from billing.invoices import queries as invoice_queries
from billing.invoices.model import Invoice
from billing.invoices.supplier import Supplier
from billing.jobs import ALL_JOBS
from billing.money import sum_pounds
from billing.runs import operations, queries, work
from metering.events.tables import IngestBatchRow
from metering.kit import jobruns
from metering.kit.clock import Clock
from metering.kit.db import Database
from metering.kit.errors import Unavailable
from metering.kit.jobruns import JobAlreadyRunning
from metering.periods import Month


class MonthEndStuck(Unavailable):
    """The month could not be closed: a job of the demonstration failed."""

    code = "month-end-stuck"
    title = "The month could not be closed"


@dataclass(frozen=True)
class Figures:
    """What the month came to."""

    trusts_billed: int
    events: int
    net: Decimal
    vat: Decimal
    total: Decimal
    pool_saving: Decimal
    checks: tuple[Recomputed, ...]

    @property
    def conserved(self) -> bool:
        """Whether the independent recomputation agrees with the invoices, price by price."""
        return all(check.agrees for check in self.checks)

    @property
    def recomputed_net(self) -> Decimal:
        """What the raw events come to by the independent recomputation."""
        return sum((check.from_events for check in self.checks), Decimal("0.00"))


def work_off(
    database: Database,
    job_name: str,
    *,
    left: Callable[[Database], int],
    clock: Clock,
    tell: Callable[[int], None] = lambda _left: None,
) -> None:
    """Have a job of the scheduler's done until nothing is left for it.

    The scheduler does it anyway; this runs its next turn at once instead of waiting for it.

    Args:
        left: how much there is still to do.
        tell: told so, a few times a second.

    Raises:
        MonthEndStuck: the job fails.
    """
    job = jobruns.check_names(ALL_JOBS)[job_name]
    with ThreadPoolExecutor(1) as threads:
        while waiting := left(database):
            tell(waiting)
            turn = threads.submit(jobruns.run_job, database, job, clock=clock, started_by="demo")
            while not turn.done():
                tell(left(database))
                wait([turn], timeout=0.3)
            try:
                made = turn.result()
            except JobAlreadyRunning:
                time.sleep(0.3)
                continue
            if made.outcome != "succeeded":
                raise MonthEndStuck(f"The job {job.name} failed: {made.error}")
    tell(0)


def waiting_batches(database: Database) -> int:
    """Return how many accepted batches are not in the readings yet."""
    with database.snapshot() as session:
        return session.scalars(
            select(func.count())
            .select_from(IngestBatchRow)
            .where(IngestBatchRow.claimed_at.is_(None), IngestBatchRow.accepted > 0)
        ).one()


def waiting_documents(database: Database) -> int:
    """Return how many issued invoices have no documents yet."""
    with database.snapshot() as session:
        return len(invoice_queries.without_documents(session, limit=1_000_000))


def close_month(
    database: Database,
    *,
    month: Month,
    supplier: Supplier,
    starter: str,
    approver: str,
    clock: Clock,
) -> str:
    """Start, draft, approve and issue the month's run, from wherever it stands; return its id.

    Args:
        starter, approver: ids of the two people whose eyes are four.

    Raises:
        RunBlocked: a check of the run fails.
    """
    with database.transaction() as session:
        run_id = operations.start_run(
            session, month=month, supplier=supplier, principal=starter, now=clock()
        ).id
    if _status(database, run_id) == "open":
        work.draft_run(database, run_id=run_id, now=clock())
    if _status(database, run_id) == "drafted":
        with database.transaction() as session:
            operations.approve_run(session, run_id=run_id, principal=approver, now=clock())
    if _status(database, run_id) == "approved":
        work.issue_run(database, run_id=run_id, principal=approver, now=clock())
    return run_id


def _status(database: Database, run_id: str) -> str:
    with database.snapshot() as session:
        return queries.run(session, run_id=run_id).status


def issued(session: Session, *, run_id: str) -> list[Invoice]:
    """Return the documents that the run issued, by number."""
    rows = invoice_queries.invoices(session, run_id=run_id, statuses=("issued", "settled"))
    return [invoice_queries.read(row) for row in sorted(rows, key=lambda row: row.number or "")]


def figures(database: Database, *, month: Month, run_id: str) -> Figures:
    """Return what the month came to, with the independent recomputation."""
    with database.snapshot() as session:
        documents = issued(session, run_id=run_id)
        events = session.scalars(select(func.coalesce(func.sum(IngestBatchRow.accepted), 0))).one()
    # A transaction: the recomputation keeps its prices in a temporary table.
    with database.transaction() as session:
        checks = recompute(session, month=month)
    return Figures(
        trusts_billed=len({document.buyer.ods_code for document in documents}),
        events=events,
        net=sum_pounds([document.net for document in documents]),
        vat=sum_pounds([document.vat for document in documents]),
        total=sum_pounds([document.total for document in documents]),
        pool_saving=sum_pounds([document.pool_saving for document in documents]),
        checks=tuple(checks),
    )
