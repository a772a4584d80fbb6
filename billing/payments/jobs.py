"""What the scheduler may ask of money in: each job finds due work and does it.

Work is done one invoice, refund or event a transaction, and no call to the gateway is made
inside one. When the gateway is down a job stops early and the next run goes on.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta

from billing.payments import clearing, mirror, prepaid, push, reminders
from billing.payments.configured import gateway_of
from billing.payments.conservation import check_books
from billing.payments.gateway import Gateway, GatewayRefused, GatewayUnavailable
from billing.payments.mirror import about
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.errors import Conflict
from metering.kit.jobruns import Job
from metering.kit.logs import get_logger
from metering.periods import london_day

_log = get_logger(__name__)

PRINCIPAL = "job:payments"
_PATIENCE = 3
"""Calls in one run that may go unanswered before it is left to the next."""


class BooksDiffer(Conflict):
    """The ledger is not what invoices, payments and bank lines come to; no money moved meanwhile
    is lost, but a person must find out why before more is settled."""

    code = "books-differ"
    title = "The ledger and the documents differ"


def clear(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Post what is not in the ledger, use credit notes and prepaid credit, confirm matches."""
    counts = Counter({"posted": 0, "credits": 0, "prepaid": 0, "matched": 0})
    with database.snapshot() as session:
        unposted = clearing.unposted(session)
    for account_id, document_id in unposted:
        with database.transaction() as session:
            clearing.post_document(
                session,
                account_id=account_id,
                document_id=document_id,
                principal=PRINCIPAL,
                now=now,
            )
        counts["posted"] += 1
    with database.snapshot() as session:
        credits = clearing.unused_credit(session)
    for account_id, note_id in credits:
        with database.transaction() as session:
            counts["credits"] += clearing.apply_credit(
                session, account_id=account_id, credit_note_id=note_id, principal=PRINCIPAL, now=now
            )
    with database.snapshot() as session:
        drawing = prepaid.to_draw(session)
    for account_id in drawing:
        with database.transaction() as session:
            counts["prepaid"] += prepaid.draw(
                session, account_id=account_id, principal=PRINCIPAL, now=now
            )
    with database.transaction() as session:
        counts["matched"] += clearing.match_certain(session, principal=PRINCIPAL, now=now)
    return counts


def push_all(database: Database, gateway: Gateway, *, now: datetime) -> Mapping[str, int]:
    """Push invoices, credit notes, refunds, and what was settled by other means."""

    def invoice(account_id: str, invoice_id: str) -> None:
        push.push_invoice(database, gateway, account_id=account_id, invoice_id=invoice_id, now=now)

    def credit(account_id: str, note_id: str) -> None:
        push.push_credit(database, gateway, account_id=account_id, credit_note_id=note_id, now=now)

    def close(account_id: str, invoice_id: str) -> None:
        push.close_elsewhere(
            database, gateway, account_id=account_id, invoice_id=invoice_id, now=now
        )

    def refund(account_id: str, refund_id: str) -> None:
        push.push_refund(
            database,
            gateway,
            account_id=account_id,
            refund_id=refund_id,
            principal=PRINCIPAL,
            now=now,
        )

    counts: Counter[str] = Counter()
    # Credit notes before closing: what they take off must not be marked as paid.
    for name, waiting, do in (
        ("invoices", push.waiting_invoices, invoice),
        ("credit_notes", push.waiting_credits, credit),
        ("closed", push.settled_elsewhere, close),
        ("refunds", push.waiting_refunds, refund),
    ):
        with database.snapshot() as session:
            pairs = waiting(session)
        for account_id, subject_id in pairs:
            try:
                do(account_id, subject_id)
            except GatewayRefused as refusal:
                _log.warning("gateway refused", what=name, id=subject_id, detail=refusal.detail)
                counts["refused"] += 1
            except GatewayUnavailable as refusal:
                # One that keeps failing must not hold up the others; a gateway that is down must.
                counts["unavailable"] += 1
                if counts["unavailable"] >= _PATIENCE:
                    raise
                _log.warning("gateway unavailable", what=name, id=subject_id, detail=refusal.detail)
            else:
                counts[name] += 1
    return counts


def apply_events(database: Database, gateway: Gateway, *, now: datetime) -> Mapping[str, int]:
    """Look again at whatever signed events tell of; several about one thing are one look."""
    with database.snapshot() as session:
        waiting = mirror.waiting_events(session)
    by_object: dict[tuple[str, str], list[str]] = {}
    for row in waiting:
        by_object.setdefault((about(row), row.object_id), []).append(row.id)
    counts = Counter({"events": 0, "payments": 0})
    for (kind, object_id), event_ids in by_object.items():
        try:
            counts["payments"] += _look(database, gateway, kind, object_id, now)
            outcome, error = "applied", None
        except (GatewayRefused, GatewayUnavailable) as refusal:
            outcome, error = "failed", refusal.detail
        with database.transaction() as session:
            for event_id in event_ids:
                mirror.finish_event(
                    session, event_id=event_id, outcome=outcome, error=error, now=now
                )
        counts["events" if error is None else "failed"] += len(event_ids)
    return counts


def look_again(database: Database, gateway: Gateway, *, now: datetime) -> Mapping[str, int]:
    """Look at open invoices of which nothing was heard for long: a webhook may be lost."""
    with database.snapshot() as session:
        stale = mirror.stale_invoices(session, now=now)
    counts = Counter({"invoices": 0, "payments": 0})
    for remote_id in stale:
        counts["payments"] += _look(database, gateway, "invoice", remote_id, now)
        counts["invoices"] += 1
    return counts


def write_reminders(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Write the reminders that are due, leaving out what is disputed."""
    with database.snapshot() as session:
        due = reminders.due(session, on=london_day(now))
    written = 0
    for one in due:
        with database.transaction() as session:
            written += reminders.write(session, reminder=one, now=now) is not None
    return {"reminders": written}


def check(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Check that the ledger is what happened, to the penny.

    Raises:
        BooksDiffer: naming each difference.
    """
    with database.snapshot() as session:
        found = check_books(session, on=london_day(now))
    if found:
        told = "; ".join(
            f"{one.what}: ledger {one.ledger}, documents {one.documents}" for one in found
        )
        raise BooksDiffer(f"{told}.")
    return {"differences": 0}


def _look(database: Database, gateway: Gateway, kind: str, object_id: str, now: datetime) -> int:
    if kind == "refund":
        refund = gateway.read_refund(object_id)
        if not refund.refund_id:
            return 0
        with database.transaction() as session:
            push.follow_refund(
                session,
                remote=refund,
                account_id=refund.account_id,
                refund_id=refund.refund_id,
                principal=PRINCIPAL,
                now=now,
            )
        return 0
    remote = gateway.invoice(object_id)
    if not remote.invoice_id or remote.status == "draft":
        return 0
    with database.transaction() as session:
        return mirror.follow_invoice(session, remote=remote, principal=PRINCIPAL, now=now)


GatewayWork = Callable[..., Mapping[str, int]]


def _with_gateway(work: GatewayWork) -> Callable[..., Mapping[str, int]]:
    """Return the job of `work`, which has nothing to do where no keys are set."""

    def job(database: Database, *, now: datetime) -> Mapping[str, int]:
        gateway = gateway_of(Settings.from_environment(os.environ))
        return {} if gateway is None else work(database, gateway, now=now)

    return job


JOBS: Sequence[Job] = (
    Job(
        "clear-payments",
        "Posts, uses credit notes, and confirms bank lines whose match is certain.",
        clear,
        every=timedelta(minutes=5),
    ),
    Job(
        "push-to-stripe",
        "Pushes invoices, credit notes and refunds to Stripe, and repairs what was cut off.",
        _with_gateway(push_all),
        every=timedelta(minutes=2),
    ),
    Job(
        "apply-stripe-events",
        "Follows what Stripe's webhooks told of.",
        _with_gateway(apply_events),
        every=timedelta(minutes=1),
    ),
    Job(
        "look-again-at-stripe",
        "Looks at open invoices at Stripe of which nothing was heard for twelve hours.",
        _with_gateway(look_again),
        every=timedelta(hours=1),
    ),
    Job(
        "write-reminders",
        "Writes reminders of invoices that are due or overdue and not disputed.",
        write_reminders,
        at=time(7, 10),
    ),
    Job(
        "check-books",
        "Checks ledger against invoices, payments and bank lines.",
        check,
        at=time(5, 10),
    ),
)
