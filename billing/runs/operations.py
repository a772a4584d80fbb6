"""A bill run step by step: start, draft, hold, approve by another, issue.

Every step may be repeated, stopped anywhere and begun by two at once: each takes the run's or
the account's row first and looks where it stands.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.charges.operations import freeze_month, rate_charges, thaw_month
from billing.invoices import operations as invoices
from billing.invoices import queries as invoice_queries
from billing.invoices.keeping import discard_drafts
from billing.invoices.model import Treatment
from billing.invoices.supplier import Supplier
from billing.invoices.tables import InvoiceRow
from billing.money import NOUGHT
from billing.runs import queries
from billing.runs.checks import run_checks
from billing.runs.drafting import lock_account, move_account
from billing.runs.model import GRACE_DAYS, Check, Outcome, may_start_at
from billing.runs.services import service_sums
from billing.runs.tables import BillRunAccountRow, BillRunRow
from billing.tariffs.operations import FourEyes, note_invoiced
from metering.kit import audit
from metering.kit.errors import Conflict, Invalid
from metering.kit.ids import new_id
from metering.periods import Month, london, show_date


class MonthNotOver(Invalid):
    """A run starts when the month has ended and its last usage had time to come."""

    code = "month-not-over"
    title = "The month is not over"


class EarlierRunUnfinished(Conflict):
    """Months are invoiced in order: the run before is not issued yet."""

    code = "earlier-run-unfinished"
    title = "An earlier month is not issued"


class RunStanding(Conflict):
    """The run is not at the step that this one follows."""

    code = "bill-run-standing"
    title = "The run is not at that step"


class RunBlocked(Conflict):
    """A check says that the invoices would be wrong."""

    code = "bill-run-blocked"
    title = "A check stops the run"


def start_run(
    session: Session,
    *,
    month: Month,
    supplier: Supplier,
    principal: str,
    now: datetime,
    grace_days: int = GRACE_DAYS,
    smallest_invoice: Decimal = NOUGHT,
) -> BillRunRow:
    """Start the run of a London month, or return the one there is.

    Args:
        smallest_invoice: pounds without VAT below which what is due is carried over to the
            next month; never in March, the last month of the NHS year.

    Raises:
        MonthNotOver: it has not ended, or the days of grace have not.
        EarlierRunUnfinished: the month before has a run that is not issued.
    """
    opens_at = may_start_at(month, grace_days=grace_days)
    if now < opens_at:
        raise MonthNotOver(
            f"{month.name} can be invoiced from {show_date(london(opens_at).date())}."
        )
    before = queries.run_of(session, month=month.previous)
    if before is not None and before.status != "issued":
        raise EarlierRunUnfinished(f"The run of {month.previous.name} is {before.status}.")
    made = session.execute(
        upsert(BillRunRow)
        .values(
            id=new_id("run", now=now),
            month=month.first_day,
            status="open",
            started_at=now,
            started_by=principal,
            checks=[],
            supplier=supplier.to_content(),
            smallest_invoice=smallest_invoice,
        )
        .on_conflict_do_nothing(index_elements=["month"])
        .returning(BillRunRow.id)
    ).first()
    row = queries.run_of(session, month=month)
    assert row is not None
    if made is not None:
        add_accounts(session, run_id=row.id, now=now)
        _note(session, "start bill run", row, principal, now, {"month": str(month)})
    return row


def add_accounts(session: Session, *, run_id: str, now: datetime) -> None:
    """Put every account into the run that is not in it yet."""
    session.execute(
        text(
            "INSERT INTO bill_run_accounts (run_id, account_id, status, changed_at) "
            "SELECT :run_id, id, 'waiting', :now FROM accounts "
            "ON CONFLICT (run_id, account_id) DO NOTHING"
        ),
        {"run_id": run_id, "now": now},
    )


def check_run(session: Session, *, run_id: str) -> tuple[Check, ...]:
    """Run the checks again and keep how they came out."""
    row = queries.run(session, run_id=run_id, for_update=True)
    found = run_checks(session, month=Month.of_day(row.month))
    row.checks = [check.to_json() for check in found]
    session.flush()
    return found


def begin_drafting(session: Session, *, run_id: str, now: datetime) -> None:
    """Close the month's pools and check it, so that accounts can be drafted.

    Raises:
        RunStanding: the run is approved or issued.
        RunBlocked: a check fails.
    """
    row = queries.run(session, run_id=run_id, for_update=True)
    if row.status not in {"open", "drafted"}:
        raise RunStanding(f"The run of {Month.of_day(row.month).name} is {row.status}.")
    freeze_month(session, month=Month.of_day(row.month), now=now)
    add_accounts(session, run_id=run_id, now=now)
    row.services = None
    checks = run_checks(session, month=Month.of_day(row.month))
    row.checks = [check.to_json() for check in checks]
    session.flush()
    refuse_blocked(checks)


def refuse_blocked(checks: tuple[Check, ...]) -> None:
    """Raise RunBlocked where a check fails."""
    failed = [check for check in checks if check.outcome is Outcome.FAIL]
    if failed:
        raise RunBlocked(
            " ".join(check.detail for check in failed), checks=[check.name for check in failed]
        )


def finish_drafting(session: Session, *, run_id: str, now: datetime) -> str:
    """Mark the run drafted once no account waits, and keep its sums; return the run's status."""
    row = queries.run(session, run_id=run_id, for_update=True)
    if row.status not in {"open", "drafted"} or queries.accounts_at(
        session, run_id=run_id, status="waiting"
    ):
        return row.status
    row.services = [item.to_json() for item in service_sums(session, run_id=run_id)]
    if row.status == "open":
        row.status = "drafted"
        row.drafted_at = now
    session.flush()
    return row.status


def hold_account(
    session: Session, *, run_id: str, account_id: str, reason: str, principal: str, now: datetime
) -> None:
    """Leave an account out of the run; what it owes goes on a later month's invoice.

    Raises:
        AccountNotInRun: it is not in the run, or is issued.
        RunStanding: the run is approved.
    """
    run = _before_approval(session, run_id)
    standing = lock_account(session, run_id=run_id, account_id=account_id)
    move_account(session, standing, "held", now, reason)
    _note(session, "hold account", run, principal, now, {"account": account_id, "reason": reason})


def release_account(
    session: Session,
    *,
    run_id: str,
    account_id: str,
    principal: str,
    now: datetime,
    over_order: bool = False,
) -> None:
    """Put a held, parked or drafted account back to be drafted again.

    Args:
        over_order: take a held draft as it is, though it goes beyond its purchase order or
            fails another check of the list.

    Raises:
        AccountNotInRun: it is not in the run.
        RunStanding: the run is approved.
    """
    run = _before_approval(session, run_id)
    standing = lock_account(session, run_id=run_id, account_id=account_id)
    drafts = invoice_queries.invoices(
        session, account_id=account_id, run_id=run_id, statuses=("draft",)
    )
    if over_order and standing.status == "held" and drafts:
        move_account(session, standing, "drafted", now, f"Let through as it is by {principal}")
    else:
        discard_drafts(session, account_id=account_id, run_id=run_id)
        standing = lock_account(session, run_id=run_id, account_id=account_id)
        move_account(session, standing, "waiting", now, None)
        session.execute(
            update(BillRunRow).where(BillRunRow.id == run_id).values(status="open", services=None)
        )
    _note(session, "release account", run, principal, now, {"account": account_id})


def reopen_run(session: Session, *, run_id: str, principal: str, now: datetime) -> None:
    """Throw the drafts away and open the month's pools again, before anything is approved.

    Accounts that a person held stay held.
    """
    run = _before_approval(session, run_id)
    for account_id in session.scalars(
        select(BillRunAccountRow.account_id).where(BillRunAccountRow.run_id == run_id)
    ).all():
        discard_drafts(session, account_id=account_id, run_id=run_id)
    session.execute(
        update(BillRunAccountRow)
        .where(BillRunAccountRow.run_id == run_id, BillRunAccountRow.status != "held")
        .values(status="waiting", reason=None, changed_at=now)
    )
    thaw_month(session, month=Month.of_day(run.month))
    session.execute(
        update(BillRunRow)
        .where(BillRunRow.id == run_id)
        .values(status="open", drafted_at=None, wanted=None, services=None)
    )
    _note(session, "reopen bill run", run, principal, now, {})


def approve_run(session: Session, *, run_id: str, principal: str, now: datetime) -> BillRunRow:
    """Approve the drafts; from here nothing of the run changes but that it is issued.

    Raises:
        RunStanding: it is not drafted, or some account still waits.
        FourEyes: the approver started the run.
        RunBlocked: a check fails.
    """
    row = queries.run(session, run_id=run_id, for_update=True)
    month = Month.of_day(row.month)
    if row.status != "drafted":
        raise RunStanding(f"The run of {month.name} is {row.status}, not drafted.")
    if row.started_by == principal:
        raise FourEyes("The person who started a bill run cannot approve it.")
    # Usage that came since the drafts is rated, so that conservation can be seen to hold; it
    # goes on the next month's invoice.
    rate_charges(session, month=month, now=now)
    checks = run_checks(session, month=month)
    row.checks = [check.to_json() for check in checks]
    refuse_blocked(checks)
    row.status = "approved"
    row.approved_at = now
    row.approved_by = principal
    note_invoiced(session, end_day=month.end_day)
    session.flush()
    _note(session, "approve bill run", row, principal, now, {"month": str(month)})
    return row


def want(session: Session, *, run_id: str, work: str, principal: str) -> None:
    """Ask for a run to be drafted or issued; a job does it.

    Raises:
        RunStanding: the run is not at the step before.
    """
    row = queries.run(session, run_id=run_id, for_update=True)
    fitting = {"draft": ("open", "drafted"), "issue": ("approved",)}[work]
    if row.status not in fitting:
        raise RunStanding(f"The run is {row.status}.")
    row.wanted, row.wanted_by = work, principal
    session.flush()


def wanted_done(session: Session, *, run_id: str, work: str) -> None:
    """Note that the work asked for is done."""
    row = queries.run(session, run_id=run_id, for_update=True)
    if row.wanted == work:
        row.wanted, row.wanted_by = None, None
        session.flush()


def issue_account(
    session: Session, *, run_id: str, account_id: str, principal: str, now: datetime
) -> list[str]:
    """Issue one account's drafts of an approved run; return the numbers given.

    Raises:
        RunStanding: the run is not approved.
    """
    standing = lock_account(session, run_id=run_id, account_id=account_id)
    run = queries.run(session, run_id=run_id)
    if run.status not in {"approved", "issued"}:
        raise RunStanding("Only an approved run is issued.")
    if standing.status != "drafted":
        return []
    drafts = invoice_queries.invoices(
        session, account_id=account_id, run_id=run_id, statuses=("draft",), for_update=True
    )
    # Every series in one order, before the audit trail is: two runs cannot wait crosswise.
    series = {
        name: invoices.lock_series(session, series=name, now=now)
        for name in sorted({row.series for row in drafts})
    }
    numbers = []
    for row in sorted(drafts, key=_printing_order):
        issued = invoices.issue_locked(
            session, row=row, series=series[row.series], principal=principal, now=now
        )
        assert issued.number is not None
        numbers.append(issued.number)
    move_account(session, standing, "issued", now, standing.reason)
    return numbers


def _printing_order(row: InvoiceRow) -> tuple[bool, bool, str]:
    """Invoices before credit notes, taxable before outside the scope, then by what is credited."""
    outside = row.content["vat_summaries"][0]["treatment"] == Treatment.OUTSIDE_SCOPE
    return (row.kind != "invoice", outside, row.content.get("credits_number", ""))


def finish_issuing(session: Session, *, run_id: str, now: datetime) -> str:
    """Mark the run issued once every draft is; return the run's status."""
    row = queries.run(session, run_id=run_id, for_update=True)
    if row.status == "approved" and not queries.accounts_at(
        session, run_id=run_id, status="drafted"
    ):
        row.status = "issued"
        row.issued_at = now
        session.flush()
    return row.status


def _before_approval(session: Session, run_id: str) -> BillRunRow:
    row = queries.run(session, run_id=run_id, for_update=True)
    if row.status not in {"open", "drafted"}:
        raise RunStanding(f"The run is {row.status}; its drafts stand.")
    return row


def _note(
    session: Session,
    action: str,
    run: BillRunRow,
    principal: str,
    now: datetime,
    facts: dict[str, Any],
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="bill run",
        object_id=run.id,
        facts=facts,
    )
