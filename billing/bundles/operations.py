"""Ask for a bundle; a job makes it, see `work`."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.bundles.tables import BundleRow
from billing.invoices import queries as invoices
from billing.invoices.tables import InvoiceRow
from billing.runs import queries as runs
from metering.kit import audit
from metering.kit.errors import Conflict, NotFound
from metering.kit.ids import new_id


class BundleUnknown(NotFound):
    """There is no such bundle."""

    code = "bundle-unknown"
    title = "No such bundle"


class NothingToBundle(Conflict):
    """Nothing of the run is issued yet, so it has no documents."""

    code = "nothing-to-bundle"
    title = "The run has no documents"


class BundleNotReady(Conflict):
    """The bundle is still being made, or could not be."""

    code = "bundle-not-ready"
    title = "The bundle is not ready"


def ask_for_bundle(session: Session, *, run_id: str, principal: str, now: datetime) -> BundleRow:
    """Ask for all documents of a run in one zip; a job makes it.

    Raises:
        RunUnknown; NothingToBundle.
    """
    runs.run(session, run_id=run_id)
    total = session.scalar(
        select(func.count()).where(
            InvoiceRow.run_id == run_id, InvoiceRow.status.in_(invoices.DONE)
        )
    )
    if not total:
        raise NothingToBundle("Nothing of the run is issued yet.")
    row = BundleRow(
        id=new_id("bnd", now=now),
        run_id=run_id,
        status="waiting",
        invoices_done=0,
        invoices_total=total,
        size=0,
        sha256=None,
        asked_by=principal,
        asked_at=now,
        finished_at=None,
        error=None,
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        now=now,
        principal=principal,
        action="ask for bundle",
        object_kind="bill run",
        object_id=run_id,
        facts={"bundle": row.id, "documents": total},
    )
    return row


def bundle(session: Session, *, bundle_id: str) -> BundleRow:
    """Return a bundle.

    Raises:
        BundleUnknown: there is none with this id.
    """
    row = session.get(BundleRow, bundle_id, populate_existing=True)
    if row is None:
        raise BundleUnknown(f"There is no bundle {bundle_id}.")
    return row
