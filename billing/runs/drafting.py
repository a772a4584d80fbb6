"""One account's drafts in a run: made, or the account parked, held or carried over with why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.accounts.queries import AccountUnknown
from billing.charges import queries as charges
from billing.invoices.catalogue import Catalogue
from billing.invoices.composing import NothingToCredit
from billing.invoices.drafting import (
    CORRECTION_MONTHS,
    Composed,
    Gathered,
    compose_documents,
    gather,
)
from billing.invoices.keeping import discard_drafts, keep_draft
from billing.invoices.supplier import Supplier
from billing.money import show_pounds, sum_pounds
from billing.runs import queries
from billing.runs.checklist import Wanted, checklist
from billing.runs.model import Outcome
from billing.runs.tables import BillRunAccountRow
from metering.kit.errors import Conflict
from metering.periods import Month


class AccountNotInRun(Conflict):
    """The account is not in the run, or not where it could be held or released."""

    code = "account-not-in-run"
    title = "The account is not there"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What an account is drafted from, read for many together.

    Attributes:
        gathered: None where there is no such account.
        changed_at: when the account's place in the run had last changed as this was read.
        fault: why nothing can be drafted, in a sentence.
    """

    gathered: Gathered | None
    changed_at: datetime
    fault: str | None


def prepare_accounts(
    session: Session,
    *,
    run_id: str,
    account_ids: Sequence[str],
    correction_months: int = CORRECTION_MONTHS,
) -> dict[str, Prepared]:
    """Read what these accounts of a run are drafted from; those that are not in it are left out."""
    month = Month.of_day(queries.run(session, run_id=run_id).month)
    standings = session.execute(
        select(BillRunAccountRow.account_id, BillRunAccountRow.changed_at).where(
            BillRunAccountRow.run_id == run_id, BillRunAccountRow.account_id.in_(account_ids)
        )
    ).all()
    faults: dict[str, str] = {}
    for row in charges.parked(session, month=month, account_ids=account_ids):
        if row.code == "account-contradiction" and row.account_id is not None:
            faults.setdefault(row.account_id, row.detail)
    gathered = gather(
        session, account_ids=account_ids, month=month, correction_months=correction_months
    )
    return {
        account_id: Prepared(
            gathered=gathered.get(account_id),
            changed_at=changed_at,
            fault=faults.get(account_id),
        )
        for account_id, changed_at in standings
    }


def draft_account(
    session: Session,
    *,
    run_id: str,
    account_id: str,
    catalogue: Catalogue,
    now: datetime,
    correction_months: int = CORRECTION_MONTHS,
    prepared: Prepared | None = None,
) -> str:
    """Draft one account's documents; return its status.

    An account that is not waiting, or whose run is past drafting, is left as it is.

    Args:
        prepared: read before, with others; it is read again where the account has been
            touched since.
    """
    standing = lock_account(session, run_id=run_id, account_id=account_id)
    run = queries.run(session, run_id=run_id)
    if standing.status != "waiting" or run.status not in {"open", "drafted"}:
        return standing.status
    month = Month.of_day(run.month)
    if prepared is None or prepared.changed_at != standing.changed_at:
        prepared = prepare_accounts(
            session,
            run_id=run_id,
            account_ids=[account_id],
            correction_months=correction_months,
        )[account_id]
    if prepared.fault is not None:
        return move_account(session, standing, "parked", now, prepared.fault)
    if prepared.gathered is None:
        raise AccountUnknown(f"There is no account {account_id}.")
    try:
        composed = compose_documents(
            prepared.gathered,
            month=month,
            supplier=Supplier.read(run.supplier),
            catalogue=catalogue,
            now=now,
        )
    except (NothingToCredit, ValueError) as contradiction:
        return move_account(session, standing, "parked", now, str(contradiction))
    if not composed.invoices:
        return move_account(session, standing, "nothing-due", now, None)
    small = _carried_over(composed, month=month, smallest=run.smallest_invoice)
    if small is not None:
        return move_account(session, standing, "carried-over", now, small)
    discard_drafts(session, account_id=account_id, run_id=run_id)
    for invoice, draft in zip(composed.invoices, composed.drafts, strict=True):
        keep_draft(
            session,
            invoice=invoice,
            keys=draft.keys,
            now=now,
            run_id=run_id,
            credits_invoice_id=None if draft.credits is None else draft.credits[2],
            credit_basis=None if draft.credits is None else "overcharge",
            words=catalogue.usage,
        )
    found = [
        checklist(
            invoice,
            wanted=Wanted(
                order_required=composed.order_required,
                hold_when_spent=order is not None and order.hold_when_spent,
                order_value=None if order is None else order.value,
                cost_codes=composed.cost_codes,
            ),
        )
        for invoice, order in zip(composed.invoices, composed.orders, strict=True)
    ]
    kept = [
        {"document": invoice.id, "checks": [check.to_json() for check in checks]}
        for invoice, checks in zip(composed.invoices, found, strict=True)
    ]
    failed = [check.detail for checks in found for check in checks if check.outcome is Outcome.FAIL]
    if failed:
        reason = " ".join(dict.fromkeys(failed))
        return move_account(session, standing, "held", now, reason, checklist=kept)
    return move_account(session, standing, "drafted", now, None, checklist=kept)


def _carried_over(composed: Composed, *, month: Month, smallest: Decimal) -> str | None:
    """Return why nothing is sent yet, None where documents go out.

    What gives money back is never held back, nor is anything in the year's last month or of
    an account that is closed.
    """
    net = sum_pounds([draft.net for draft in composed.drafts])
    credits = any(draft.credits is not None for draft in composed.drafts)
    if net >= smallest or credits or composed.is_closed or month.financial_month == 12:
        return None
    return (
        f"{show_pounds(net)} without VAT is below {show_pounds(smallest)}; it goes on the next "
        "month's invoice."
    )


def park_account(
    session: Session, *, run_id: str, account_id: str, reason: str, now: datetime
) -> None:
    """Set an account aside whose drafting failed; the others go on."""
    standing = lock_account(session, run_id=run_id, account_id=account_id)
    if standing.status == "waiting":
        discard_drafts(session, account_id=account_id, run_id=run_id)
        move_account(session, standing, "parked", now, reason)


def lock_account(session: Session, *, run_id: str, account_id: str) -> BillRunAccountRow:
    """Return an account's row in a run, locked to the end of the transaction.

    Raises:
        AccountNotInRun: it has none.
    """
    row = session.scalar(
        select(BillRunAccountRow)
        .where(BillRunAccountRow.run_id == run_id, BillRunAccountRow.account_id == account_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise AccountNotInRun(f"The account {account_id} is not in the run.")
    return row


def move_account(
    session: Session,
    standing: BillRunAccountRow,
    status: str,
    now: datetime,
    reason: str | None,
    *,
    checklist: list[dict[str, Any]] | None = None,
) -> str:
    """Let an account go to a status, for a reason that people read; return the status.

    Args:
        checklist: how its drafts came out; None leaves what is there.
    """
    changes: dict[str, Any] = {"status": status, "reason": reason, "changed_at": now}
    if checklist is not None:
        changes["checklist"] = checklist
    session.execute(
        update(BillRunAccountRow)
        .where(
            BillRunAccountRow.run_id == standing.run_id,
            BillRunAccountRow.account_id == standing.account_id,
        )
        .values(changes)
        # The row at hand was locked to be looked at; nobody looks at it again.
        .execution_options(synchronize_session=False)
    )
    return status
