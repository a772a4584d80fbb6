"""What is measured, as the database has it now.

Everything is read at the scrape, so that any worker of any machine answers the same, and
nothing is lost when a process ends. Each read is bounded: an hour, a month, or an index of
what is open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from billing.charges.tables import ParkedUsageRow
from billing.invoices.tables import InvoiceRow
from metering.events.tables import IngestBatchRow, QuarantinedEventRow
from metering.kit.jobruns import Job, last_runs, last_successes
from metering.kit.tables import AuditEntryRow, JobRunRow
from metering.periods import Month
from metering.sources.tables import SourceRow

RATE_WINDOW = timedelta(hours=1)
_MONTHS = 3
_DAY, _MONTH = timedelta(days=1), timedelta(days=31)
_PENCE = 100


@dataclass(frozen=True)
class Metric:
    """A gauge's name, meaning and labels.

    No label is named `job` or `instance`: these Prometheus sets itself at the scrape, and it
    would rename ours.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One value of a metric. Money is whole pence, so that no fraction is lost."""

    metric: Metric
    value: int
    labels: tuple[str, ...] = ()


EVENTS = Metric(
    "paygo_events_last_hour",
    "Usage events received in the last hour, by source and fate.",
    ("source", "fate"),
)
REFUSED = Metric(
    "paygo_events_refused_last_hour",
    "Events put into quarantine in the last hour, by source and reason.",
    ("source", "code"),
)
QUARANTINE = Metric(
    "paygo_quarantine_open", "Events in quarantine that wait for a decision.", ("source",)
)
LAG = Metric(
    "paygo_readings_lag_seconds",
    "Age of the oldest stored batch that is not yet in the readings; 0 when there is none.",
)
JOB_AGE = Metric(
    "paygo_job_age_seconds",
    "Seconds since the job last succeeded; where it never did, since paygo was first used.",
    ("job_name",),
)
JOB_INTERVAL = Metric(
    "paygo_job_interval_seconds", "How often the job is meant to run.", ("job_name",)
)
JOB_FAILED = Metric(
    "paygo_job_failed", "1 where the job's latest run failed or was abandoned.", ("job_name",)
)
INVOICED = Metric(
    "paygo_invoiced_pence",
    "Net pence invoiced for usage of the month, less credit notes.",
    ("month",),
)
OUTSTANDING = Metric("paygo_invoices_unpaid", "Issued invoices that are not settled, all accounts.")
PARKED = Metric("paygo_parked_usage", "Rows of usage set aside because nothing prices them.")
RECONCILED = Metric(
    "paygo_reconciliation_differences",
    "Sums that were not conserved from event to invoice, in the last reconciliation.",
)
FAULTS = Metric(
    "paygo_document_faults",
    "Issued documents that were not as sealed, in the last reconciliation.",
)
METRICS = (
    EVENTS,
    REFUSED,
    QUARANTINE,
    LAG,
    JOB_AGE,
    JOB_INTERVAL,
    JOB_FAILED,
    INVOICED,
    OUTSTANDING,
    PARKED,
    RECONCILED,
    FAULTS,
)


def samples(session: Session, *, now: datetime, jobs: Sequence[Job]) -> Iterator[Sample]:
    """Yield every sample at `now`; `jobs` says how often each job is meant to run."""
    yield from _events(session, now=now)
    yield from _jobs(session, now=now, jobs=jobs)
    yield from _money(session, now=now)


def _events(session: Session, *, now: datetime) -> Iterator[Sample]:
    since = now - RATE_WINDOW
    fates = ("accepted", "duplicate", "conflict", "rejected")
    received = session.execute(
        select(
            SourceRow.code,
            *(func.coalesce(func.sum(getattr(IngestBatchRow, fate)), 0) for fate in fates),
        )
        .outerjoin(
            IngestBatchRow,
            (IngestBatchRow.source_id == SourceRow.id) & (IngestBatchRow.received_at >= since),
        )
        .where(SourceRow.closed_at.is_(None))
        .group_by(SourceRow.code)
        .order_by(SourceRow.code)
    )
    for source, *counts in received:
        for fate, count in zip(fates, counts, strict=True):
            yield Sample(EVENTS, count, (source, fate))
    refused = session.execute(
        select(SourceRow.code, QuarantinedEventRow.code, func.count())
        .join(QuarantinedEventRow, QuarantinedEventRow.source_id == SourceRow.id)
        .where(
            # All three, so that the index on source, status and instant is of use.
            QuarantinedEventRow.status.in_(("open", "replayed", "dismissed")),
            QuarantinedEventRow.received_at >= since,
        )
        .group_by(SourceRow.code, QuarantinedEventRow.code)
    )
    for source, code, count in refused:
        yield Sample(REFUSED, count, (source, code))
    waiting = session.execute(
        select(SourceRow.code, func.count())
        .join(QuarantinedEventRow, QuarantinedEventRow.source_id == SourceRow.id)
        .where(QuarantinedEventRow.status == "open")
        .group_by(SourceRow.code)
    )
    for source, count in waiting:
        yield Sample(QUARANTINE, count, (source,))
    oldest = session.scalar(
        select(func.min(IngestBatchRow.received_at)).where(IngestBatchRow.claimed_at.is_(None))
    )
    yield Sample(LAG, 0 if oldest is None else _seconds(now - oldest))


def _seconds(age: timedelta) -> int:
    return max(0, round(age.total_seconds()))


def _interval(job: Job) -> timedelta:
    if job.every is not None:
        return job.every
    return _DAY if job.day is None else _MONTH


def _jobs(session: Session, *, now: datetime, jobs: Sequence[Job]) -> Iterator[Sample]:
    for job in jobs:
        yield Sample(JOB_INTERVAL, _seconds(_interval(job)), (job.name,))
    succeeded = last_successes(session)
    begun = _first_used(session)
    for name in sorted({*succeeded, *(job.name for job in jobs)}):
        since = succeeded.get(name, begun)
        if since is not None:
            yield Sample(JOB_AGE, _seconds(now - since), (name,))
    for name, run in sorted(last_runs(session).items()):
        yield Sample(JOB_FAILED, int(run.outcome in {"failed", "abandoned"}), (name,))
    counts = session.scalar(
        select(JobRunRow.counts)
        .where(JobRunRow.job == "reconcile", JobRunRow.outcome == "succeeded")
        .order_by(JobRunRow.started_at.desc())
        .limit(1)
    )
    if counts is not None:
        yield Sample(RECONCILED, int(counts.get("differences", 0)))
        yield Sample(FAULTS, int(counts.get("faults", 0)))


def _first_used(session: Session) -> datetime | None:
    """Return when the first act or run of a job was recorded, None in an unused database."""
    acts = select(AuditEntryRow.at).where(AuditEntryRow.position == 1)
    return session.scalar(acts) or session.scalar(select(func.min(JobRunRow.started_at)))


def _money(session: Session, *, now: datetime) -> Iterator[Sample]:
    last = Month.of(now)
    months = [last.shift(-back) for back in range(_MONTHS)]
    net = case((InvoiceRow.kind == "credit-note", -InvoiceRow.net), else_=InvoiceRow.net)
    invoiced: dict[date, Decimal] = dict(
        session.execute(
            select(InvoiceRow.month, func.sum(net))
            .where(
                InvoiceRow.status.in_(("issued", "settled")),
                InvoiceRow.month.in_([month.first_day for month in months]),
            )
            .group_by(InvoiceRow.month)
        ).all()
    )
    for month in months:
        pence = invoiced.get(month.first_day, Decimal(0)) * _PENCE
        yield Sample(INVOICED, int(pence), (str(month),))
    unpaid = session.scalar(
        select(func.count())
        .select_from(InvoiceRow)
        .where(InvoiceRow.status == "issued", InvoiceRow.kind == "invoice")
    )
    yield Sample(OUTSTANDING, unpaid or 0)
    yield Sample(PARKED, session.scalar(select(func.count()).select_from(ParkedUsageRow)) or 0)
