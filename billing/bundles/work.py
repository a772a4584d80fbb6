"""Making and reading bundles: a transaction for each part, so that it can be stopped anywhere.

Call these from a view or a job, never inside a transaction.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from sqlalchemy import delete, func, select

from billing.bundles.operations import (
    KEPT,
    BundleNotReady,
    Selection,
    bundle,
    forget_bundles,
)
from billing.bundles.packing import pack
from billing.bundles.tables import BundlePartRow, BundleRow
from billing.documents.render import available, file_name, render_all
from billing.invoices import queries as invoices
from billing.invoices.backing import usage_rows
from billing.invoices.tables import DocumentRow, InvoiceRow
from metering.kit.db import Database, Scope, is_transient
from metering.kit.logs import get_logger

_log = get_logger(__name__)


def content(
    database: Database,
    *,
    bundle_id: str,
    account_id: str | None = None,
    scope: Scope | None = None,
) -> Iterator[bytes]:
    """Yield a finished bundle's bytes, a part at a time.

    Args:
        account_id, scope: whose it must be, and what the reader may see; for the portal.

    Raises:
        BundleUnknown; BundleNotReady.
    """
    with database.snapshot(scope=scope) as session:
        row = bundle(session, bundle_id=bundle_id, account_id=account_id)
        if row.status != "done":
            raise BundleNotReady(f"The bundle is {row.status}.")
        last = session.scalar(
            select(func.max(BundlePartRow.number)).where(BundlePartRow.bundle_id == bundle_id)
        )

    def parts() -> Iterator[bytes]:
        for number in range(1, (last or 0) + 1):
            with database.snapshot(scope=scope) as session:
                yield session.get_one(BundlePartRow, (bundle_id, number)).content

    return parts()


def pack_run(database: Database, *, run_id: str) -> Iterator[bytes]:
    """Yield the zip of a run's documents; see `pack_selection`."""
    return pack_selection(database, selection=Selection(run_id=run_id))


def pack_selection(
    database: Database,
    *,
    selection: Selection,
    told: Callable[[int, int], None] | None = None,
) -> Iterator[bytes]:
    """Yield the zip of issued documents, a piece for each file, in order of number.

    Documents that were kept are taken; those that were not are made, which gives the same
    bytes. So a bundle can be made again at any time, identical.

    Args:
        told: called with how many invoices are packed, of how many.
    """
    with database.snapshot() as session:
        rows = session.execute(
            select(InvoiceRow.account_id, InvoiceRow.id)
            .where(selection.condition)
            .order_by(InvoiceRow.number)
        )
        keys = [(account_id, invoice_id) for account_id, invoice_id in rows]

    def files() -> Iterator[tuple[str, bytes]]:
        for done, (account_id, invoice_id) in enumerate(keys):
            if told is not None:
                told(done, len(keys))
            yield from _documents(database, account_id, invoice_id)
        if told is not None:
            told(len(keys), len(keys))

    return pack(files())


def _documents(database: Database, account_id: str, invoice_id: str) -> list[tuple[str, bytes]]:
    with database.snapshot() as session:
        invoice = invoices.invoice(session, account_id=account_id, invoice_id=invoice_id)
        rows = session.execute(
            select(DocumentRow.name, DocumentRow.content).where(
                DocumentRow.account_id == account_id, DocumentRow.invoice_id == invoice_id
            )
        )
        kept: dict[str, bytes] = dict(rows.all())
        names = available(invoice)
        if not set(names) <= kept.keys():
            kept = render_all(invoice, usage_rows(session, invoice=invoice)) | kept
    folder = f"{invoice.buyer.ods_code}/"
    return [(folder + file_name(invoice, name), kept[name]) for name in names]


def make_bundles(database: Database, *, now: datetime) -> Mapping[str, int]:
    """Make every bundle that was asked for; one that a dead process began is begun anew.

    The job that calls this runs once at a time, so that none is made twice at once.
    """
    counts = {"bundles": 0, "failed": 0}
    with database.transaction() as session:
        forget_bundles(session, before=now - KEPT)
    with database.snapshot() as session:
        waiting = session.scalars(
            select(BundleRow.id)
            .where(BundleRow.status.in_(("waiting", "running")))
            .order_by(BundleRow.asked_at)
        ).all()
    for bundle_id in waiting:
        try:
            _make(database, bundle_id, now)
            counts["bundles"] += 1
        except Exception as fault:
            if is_transient(fault):
                raise  # the database's trouble, not the bundle's: the next run makes it anew
            # A work item's edge: one bundle's trouble must not stop the others.
            _log.exception("bundle cannot be made", bundle=bundle_id)
            counts["failed"] += 1
            with database.transaction() as session:
                session.execute(delete(BundlePartRow).where(BundlePartRow.bundle_id == bundle_id))
                row = bundle(session, bundle_id=bundle_id)
                row.status, row.finished_at = "failed", now
                row.error = f"{type(fault).__name__}: {fault}"[:500]
    return counts


def _make(database: Database, bundle_id: str, now: datetime) -> None:
    with database.transaction() as session:
        session.execute(delete(BundlePartRow).where(BundlePartRow.bundle_id == bundle_id))
        row = bundle(session, bundle_id=bundle_id)
        row.status, row.invoices_done, row.size = "running", 0, 0
        selection = Selection.of(row)
    digest = hashlib.sha256()
    size = 0
    done = 0

    def told(packed: int, _total: int) -> None:
        nonlocal done
        done = packed

    pieces = pack_selection(database, selection=selection, told=told)
    for number, piece in enumerate(pieces, start=1):
        size += len(piece)
        digest.update(piece)
        with database.transaction() as session:
            session.add(BundlePartRow(bundle_id=bundle_id, number=number, content=piece))
            row = bundle(session, bundle_id=bundle_id)
            row.size = size
            row.invoices_done = min(row.invoices_total, done)
    with database.transaction() as session:
        row = bundle(session, bundle_id=bundle_id)
        row.status, row.sha256, row.finished_at = "done", digest.hexdigest(), now
        row.invoices_done = row.invoices_total
