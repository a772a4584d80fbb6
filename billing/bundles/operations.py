"""Ask for a bundle; a job makes it, see `work`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.orm import Session

from billing.bundles.tables import BundlePartRow, BundleRow
from billing.invoices import queries as invoices
from billing.invoices.tables import InvoiceRow
from billing.runs import queries as runs
from metering.kit import audit
from metering.kit.errors import Conflict, Invalid, NotFound
from metering.kit.ids import new_id
from metering.periods import Month

KEPT = timedelta(days=7)
"""How long a finished bundle is kept; it can be made again, the same to the byte."""


class BundleUnknown(NotFound):
    """There is no such bundle, or it is no longer kept."""

    code = "bundle-unknown"
    title = "No such bundle"


class BundleMonthsWrong(Invalid):
    """A bundle is of months from a first to a last."""

    code = "bundle-months-wrong"
    title = "Those months make no bundle"


class NothingToBundle(Conflict):
    """Nothing that was asked for is issued yet, so there are no documents."""

    code = "nothing-to-bundle"
    title = "There are no documents"


class BundleNotReady(Conflict):
    """The bundle is still being made, or could not be."""

    code = "bundle-not-ready"
    title = "The bundle is not ready"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which issued documents: a run's, or an account's of billing months first to last."""

    run_id: str | None = None
    account_id: str | None = None
    first: date | None = None
    last: date | None = None

    @property
    def condition(self) -> ColumnElement[bool]:
        """What holds for each of them."""
        issued = InvoiceRow.status.in_(invoices.DONE)
        if self.run_id is not None:
            return issued & (InvoiceRow.run_id == self.run_id)
        return (
            issued
            & (InvoiceRow.account_id == self.account_id)
            & (InvoiceRow.month >= self.first)
            & (InvoiceRow.month <= self.last)
        )

    @classmethod
    def of(cls, row: BundleRow) -> "Selection":
        """Return what a bundle was asked for."""
        return cls(
            run_id=row.run_id,
            account_id=row.account_id,
            first=row.first_month,
            last=row.last_month,
        )


def ask_for_bundle(session: Session, *, run_id: str, principal: str, now: datetime) -> BundleRow:
    """Ask for all documents of a run in one zip; a job makes it.

    Raises:
        RunUnknown; NothingToBundle.
    """
    runs.run(session, run_id=run_id)
    return _ask(session, Selection(run_id=run_id), principal=principal, now=now)


def ask_for_account_bundle(
    session: Session,
    *,
    account_id: str,
    first: Month,
    last: Month,
    principal: str,
    now: datetime,
) -> BundleRow:
    """Ask for the documents of an account's invoices for billing months first to last.

    Raises:
        BundleMonthsWrong; NothingToBundle.
    """
    if last.first_day < first.first_day:
        raise BundleMonthsWrong("The last month is before the first.")
    selection = Selection(account_id=account_id, first=first.first_day, last=last.first_day)
    return _ask(session, selection, principal=principal, now=now)


def _ask(session: Session, selection: Selection, *, principal: str, now: datetime) -> BundleRow:
    under_way = session.scalars(
        _bundles(selection).where(BundleRow.status.in_(("waiting", "running"))).limit(1)
    ).first()
    if under_way is not None:
        # Asking twice makes nothing twice.
        return under_way
    total = session.scalar(select(func.count()).select_from(InvoiceRow).where(selection.condition))
    if not total:
        raise NothingToBundle("Nothing of that is issued yet.")
    row = BundleRow(
        id=new_id("bnd", now=now),
        run_id=selection.run_id,
        account_id=selection.account_id,
        first_month=selection.first,
        last_month=selection.last,
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
    facts: dict[str, Any] = {"bundle": row.id, "documents": total}
    if selection.first is not None and selection.last is not None:
        facts |= {
            "first": str(Month.of_day(selection.first)),
            "last": str(Month.of_day(selection.last)),
        }
    audit.record(
        session,
        now=now,
        principal=principal,
        action="ask for bundle",
        object_kind="account" if selection.run_id is None else "bill run",
        object_id=selection.run_id or selection.account_id or "",
        facts=facts,
    )
    return row


def bundle(session: Session, *, bundle_id: str, account_id: str | None = None) -> BundleRow:
    """Return a bundle; of one account where given, as the portal must.

    Raises:
        BundleUnknown: there is none with this id.
    """
    row = session.get(BundleRow, bundle_id, populate_existing=True)
    if row is None or (account_id is not None and row.account_id != account_id):
        raise BundleUnknown(f"There is no bundle {bundle_id}.")
    return row


def bundles(session: Session, *, selection: Selection, limit: int = 5) -> Sequence[BundleRow]:
    """Return the latest bundles of a run, or of an account whatever their months."""
    if selection.run_id is not None:
        statement = _bundles(selection)
    else:
        statement = select(BundleRow).where(BundleRow.account_id == selection.account_id)
    return session.scalars(
        statement.order_by(BundleRow.asked_at.desc(), BundleRow.id.desc()).limit(limit)
    ).all()


def _bundles(selection: Selection) -> Select[BundleRow]:
    return select(BundleRow).where(
        BundleRow.run_id.is_not_distinct_from(selection.run_id),
        BundleRow.account_id.is_not_distinct_from(selection.account_id),
        BundleRow.first_month.is_not_distinct_from(selection.first),
        BundleRow.last_month.is_not_distinct_from(selection.last),
    )


def forget_bundles(session: Session, *, before: datetime) -> int:
    """Throw away bundles that were finished before an instant; return how many."""
    old = select(BundleRow.id).where(BundleRow.finished_at < before)
    session.execute(delete(BundlePartRow).where(BundlePartRow.bundle_id.in_(old)))
    gone = session.scalars(
        delete(BundleRow).where(BundleRow.finished_at < before).returning(BundleRow.id)
    ).all()
    return len(gone)
