"""What the scheduler may ask of billing: each job finds due work and does it."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from functools import partial

from sqlalchemy.orm import Session

from billing.access import session_operations as sign_ins
from billing.accruals import operations as accruals
from billing.budgets import operations as budgets
from billing.bundles.work import make_bundles
from billing.charges import operations as charges
from billing.documents.render import DOCUMENTS, render_all
from billing.forecasts import operations as forecasts
from billing.invoices import operations as invoices
from billing.invoices import queries as invoice_queries
from billing.invoices.backing import UsageRow, usage_rows
from billing.invoices.drafting import CORRECTION_MONTHS
from billing.invoices.model import Invoice
from billing.invoices.verifying import verify_invoices
from billing.notifications import operations as notifications
from billing.notifications.jobs import deliver, outlets_from
from billing.notifications.model import Attachment
from billing.notifications.rejections import announce_rejected
from billing.payments import jobs as payments
from billing.runs import work as runs
from billing.runs.reconciling import reconcile_month
from billing.simulations.work import do_waiting as simulate
from metering import jobs as metering_jobs
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.jobruns import Job
from metering.kit.logs import get_logger
from metering.kit.processes import die_with_parent
from metering.periods import Month
from metering.readings.month_totals import months_with_readings

_log = get_logger(__name__)

DOCUMENTS_AT_ONCE = 2_000
"""Invoices whose documents one run of the job makes; the rest are the next run's."""
# Making documents is arithmetic and typesetting; below this a second process costs more.
_WORTH_PROCESSES = 20
_PROCESSES = 2


def forget_sign_ins(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Forget tries to sign in, and sessions, that are older than the privacy page says."""
    keep = timedelta(days=Settings.from_environment(os.environ).keep_sign_ins_days)
    with database.transaction() as session:
        return sign_ins.forget_old(session, before=now - keep)


def forget_deliveries(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Forget finished emails and webhooks; what was announced is kept, so none goes twice."""
    keep = timedelta(days=Settings.from_environment(os.environ).keep_deliveries_days)
    with database.transaction() as session:
        return {"forgotten": notifications.forget_deliveries(session, before=now - keep)}


def rate_month_to_date(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Bring the charges of this month and the last up to the readings."""
    return runs.rate_open_months(database, last=Month.of(now), now=now, correction_months=1)


def rate_earlier_months(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Bring the charges of every month that is still open to corrections up to the readings."""
    return runs.rate_open_months(database, last=Month.of(now), now=now)


def work_bill_runs(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Draft or issue the runs for which a person asked."""
    return runs.do_wanted(database, now=now)


def make_documents(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Make the documents of issued invoices that have none; they are kept for good."""
    with database.snapshot() as session:
        waiting = invoice_queries.without_documents(session, limit=DOCUMENTS_AT_ONCE)
    counts = {"invoices": 0, "documents": 0, "failed": 0}
    with _renderer(len(waiting)) as render_each:
        for (account_id, invoice_id), documents in render_each(
            (key, *_whole(database, *key)) for key in waiting
        ):
            if documents is None:
                counts["failed"] += 1
                continue
            with database.transaction() as session:
                counts["documents"] += invoices.keep_documents(
                    session,
                    account_id=account_id,
                    invoice_id=invoice_id,
                    documents={
                        name: (DOCUMENTS[name].media_type, content)
                        for name, content in documents.items()
                    },
                    now=now,
                )
            counts["invoices"] += 1
    return counts


_Key = tuple[str, str]
_Work = tuple[_Key, Invoice, list[UsageRow]]
_Made = tuple[_Key, dict[str, bytes] | None]


def _whole(database: Database, account_id: str, invoice_id: str) -> tuple[Invoice, list[UsageRow]]:
    with database.snapshot() as session:
        invoice = invoice_queries.invoice(session, account_id=account_id, invoice_id=invoice_id)
        return invoice, usage_rows(session, invoice=invoice)


def _render(work: _Work) -> _Made:
    """Render one invoice; None where it fails, so that the others have theirs."""
    key, invoice, rows = work
    try:
        return key, render_all(invoice, rows)
    except Exception:
        _log.exception("documents cannot be made", invoice=invoice.id)
        return key, None


@contextmanager
def _renderer(count: int) -> Iterator[Callable[[Iterable[_Work]], Iterable[_Made]]]:
    """Yield what renders invoices in order: in this process, or in several for many."""
    if count < _WORTH_PROCESSES:
        yield lambda works: map(_render, works)
        return
    # Spawned, not forked: the scheduler has threads and open connections.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        _PROCESSES, mp_context=context, initializer=die_with_parent, initargs=(os.getpid(),)
    ) as pool:
        yield lambda works: _ahead(pool, works)


def _ahead(pool: ProcessPoolExecutor, works: Iterable[_Work]) -> Iterator[_Made]:
    """Keep the processes busy, but never hold more than a few invoices' usage at once."""
    waiting: deque[Future[_Made]] = deque()
    for work in works:
        waiting.append(pool.submit(_render, work))
        if len(waiting) >= 4 * _PROCESSES:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def announce_rejected_usage(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Announce to each source how much of its usage was refused since the last time."""
    return database.retrying(partial(announce_rejected, now=now))


def deliver_notifications(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Send what was announced, by email and webhook."""
    settings = Settings.from_environment(os.environ)
    return deliver(database, now=now, outlets=outlets_from(settings, find_document=_kept))


def _kept(session: Session, account_id: str, invoice_id: str, name: str) -> Attachment | None:
    kept = invoice_queries.kept_document(
        session, account_id=account_id, invoice_id=invoice_id, name=name
    )
    if kept is None:
        return None
    number, media_type, content = kept
    return Attachment(f"{number}{DOCUMENTS[name].suffix}", media_type, content)


def refresh_true_ups(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Work out what late usage of closed months leaves to the central team."""
    changed = 0
    with database.snapshot() as session:
        last = Month.of(now)
        months = months_with_readings(session, first=last.shift(-CORRECTION_MONTHS), last=last)
    for month in months:
        with database.transaction() as session:
            changed += charges.refresh_true_ups(session, month=month)
    return {"months": len(months), "changed": changed}


def reconcile(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Check conservation of every open month, and every seal; log what does not hold."""
    last = Month.of(now)
    counts = {"compared": 0, "underway": 0, "differences": 0, "documents": 0, "faults": 0}
    with database.snapshot() as session:
        for month in months_with_readings(session, first=last.shift(-CORRECTION_MONTHS), last=last):
            for row in reconcile_month(session, month=month, ended=month < last, moving=True):
                counts["compared"] += 1
                counts["underway"] += bool(row.underway)
                if row.differences:
                    counts["differences"] += 1
                    _log.error(
                        "usage does not add up",
                        month=str(month),
                        organisation=row.organisation,
                        meter=row.meter,
                        differences=row.differences,
                    )
        verified = verify_invoices(session)
    counts["documents"] = verified.documents
    counts["faults"] = len(verified.faults)
    for fault in verified.faults:
        _log.error("an issued document does not hold", number=fault.number, what=fault.what)
    return counts


def forecast(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Foretell the present month on charges that are up to date."""
    rate_month_to_date(database, now=now)
    with database.transaction() as session:
        return {"accounts": forecasts.make_forecasts(session, now=now)}


def warn_of_budgets(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Warn of each share that a budget has newly reached."""
    with database.transaction() as session:
        return {"warnings": budgets.warn(session, now=now)}


def take_accruals(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Keep last month's accruals, once, from its first working day on."""
    with database.snapshot() as session:
        month = accruals.due(session, now=now)
    if month is None:
        return {"rows": 0}
    runs.rate_open_months(database, last=month, now=now)
    with database.transaction() as session:
        rows = accruals.take_accruals(session, month=month, principal="job:take-accruals", now=now)
    return {"rows": rows or 0}


JOBS: tuple[Job, ...] = (
    Job(
        "rate-month-to-date",
        "Rates this month's and last month's usage that changed.",
        rate_month_to_date,
        every=timedelta(minutes=5),
    ),
    Job(
        "rate-earlier-months",
        "Rates usage of earlier months that came late or was withdrawn.",
        rate_earlier_months,
        every=timedelta(hours=6),
    ),
    Job(
        "work-bill-runs",
        "Drafts or issues the bill runs for which a person asked.",
        work_bill_runs,
        every=timedelta(seconds=30),
    ),
    Job(
        "make-documents",
        "Makes the documents of invoices that were issued.",
        make_documents,
        every=timedelta(minutes=1),
    ),
    Job(
        "announce-rejected-usage",
        "Tells hosted services how much of their usage was rejected.",
        announce_rejected_usage,
        every=timedelta(minutes=15),
    ),
    Job(
        "deliver-notifications",
        "Sends emails and webhooks, and tries again those that failed.",
        deliver_notifications,
        every=timedelta(seconds=15),
    ),
    Job(
        "refresh-true-ups",
        "Works out what late usage of closed months leaves to the central team.",
        refresh_true_ups,
        at=time(4, 10),
    ),
    Job(
        "reconcile",
        "Checks that usage is conserved and that every issued document is as it was sealed.",
        reconcile,
        at=time(4, 40),
    ),
    Job(
        "forecast",
        "Foretells what this month comes to for every account.",
        forecast,
        at=time(5, 10),
    ),
    Job(
        "warn-of-budgets",
        "Warns accounts of budgets that are reached.",
        warn_of_budgets,
        every=timedelta(hours=1),
    ),
    Job(
        "take-accruals",
        "Keeps what is not invoiced at the month's end, on the first working day after it.",
        take_accruals,
        at=time(5, 40),
    ),
    Job(
        "make-bundles",
        "Packs the documents of a bill run for which a person asked into one file.",
        make_bundles,
        every=timedelta(seconds=15),
    ),
    Job(
        "simulate",
        "Prices past usage under the draft tariffs that people asked to simulate.",
        simulate,
        every=timedelta(seconds=5),
        grace=timedelta(minutes=1),
    ),
    Job(
        "forget-sign-ins",
        "Forgets old tries to sign in and sessions.",
        forget_sign_ins,
        at=time(3, 20),
    ),
    Job(
        "forget-deliveries",
        "Forgets old emails and webhooks that are finished.",
        forget_deliveries,
        at=time(3, 30),
    ),
    *payments.JOBS,
)

ALL_JOBS: tuple[Job, ...] = (*metering_jobs.JOBS, *JOBS)
"""The jobs table: of metering and of billing."""
