"""Doing a run's work: one account a transaction, so that it can be stopped anywhere.

Call these from a command or a job, never inside a transaction. Running them again, or twice
at once, goes on where the work stands.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

from billing.charges.operations import rate_charges
from billing.invoices.catalogue import load_catalogue
from billing.invoices.drafting import CORRECTION_MONTHS
from billing.runs import operations, queries
from billing.runs.drafting import Prepared, draft_account, park_account, prepare_accounts
from metering.kit.db import Database, is_transient
from metering.kit.errors import Refusal
from metering.kit.logs import get_logger
from metering.periods import Month
from metering.readings.month_totals import months_with_readings

_log = get_logger(__name__)

_READ_TOGETHER = 25
"""Accounts whose charges are in memory at once: few enough that what was read is still so."""


def rate_open_months(
    database: Database, *, last: Month, now: datetime, correction_months: int = CORRECTION_MONTHS
) -> dict[str, int]:
    """Rate each month with usage that is still open, in order, a transaction each."""
    counts = {"months": 0, "accounts": 0, "written": 0, "parked": 0, "faults": 0}
    with database.snapshot() as session:
        months = months_with_readings(session, first=last.shift(-correction_months), last=last)
    for month in months:
        with database.transaction() as session:
            done = rate_charges(session, month=month, now=now)
        counts["months"] += 1
        counts["accounts"] += done.rated
        counts["written"] += done.written
        counts["parked"] += done.parked
        counts["faults"] += done.faults
    return counts


def draft_run(
    database: Database,
    *,
    run_id: str,
    now: datetime,
    correction_months: int = CORRECTION_MONTHS,
) -> dict[str, int]:
    """Rate, freeze, check, and draft every account that waits; return accounts by status.

    Raises:
        RunUnknown, RunStanding, RunBlocked.
    """
    with database.snapshot() as session:
        month = Month.of_day(queries.run(session, run_id=run_id).month)
    rate_open_months(database, last=month, now=now, correction_months=correction_months)
    blocked: operations.RunBlocked | None = None
    with database.transaction() as session:
        try:
            operations.begin_drafting(session, run_id=run_id, now=now)
        except operations.RunBlocked as refusal:
            # How the checks came out is kept, so that people can see what stops the run.
            blocked = refusal
    if blocked is not None:
        raise blocked
    with database.snapshot() as session:
        catalogue = load_catalogue(session)
        waiting = queries.accounts_at(session, run_id=run_id, status="waiting")
    for account_id, prepared in _prepared(
        database, run_id=run_id, account_ids=waiting, correction_months=correction_months
    ):
        try:
            database.retrying(
                partial(
                    draft_account,
                    run_id=run_id,
                    account_id=account_id,
                    catalogue=catalogue,
                    now=now,
                    correction_months=correction_months,
                    prepared=prepared,
                )
            )
        except Exception as fault:
            if is_transient(fault):
                # The database's trouble, not the account's: the run goes on where it stands.
                raise
            # A work item's edge: one account's trouble must not stop the run.
            _log.exception("account cannot be drafted", run=run_id, account=account_id)
            with database.transaction() as session:
                park_account(
                    session,
                    run_id=run_id,
                    account_id=account_id,
                    reason=f"{type(fault).__name__}: {fault}"[:500],
                    now=now,
                )
    with database.transaction() as session:
        operations.finish_drafting(session, run_id=run_id, now=now)
        operations.wanted_done(session, run_id=run_id, work="draft")
        return queries.counts(session, run_id=run_id)


def _prepared(
    database: Database, *, run_id: str, account_ids: Sequence[str], correction_months: int
) -> Iterator[tuple[str, Prepared | None]]:
    """Yield each account with what it is drafted from, read some accounts at a time."""
    for start in range(0, len(account_ids), _READ_TOGETHER):
        part = account_ids[start : start + _READ_TOGETHER]
        found: dict[str, Prepared] = {}
        try:
            with database.snapshot() as session:
                found = prepare_accounts(
                    session,
                    run_id=run_id,
                    account_ids=part,
                    correction_months=correction_months,
                )
        except Exception as fault:
            # Each is read again on its own, in a transaction that is tried again where the
            # database asks for it; an account that cannot be read is parked there.
            _log.warning("accounts cannot be read together", run=run_id, detail=str(fault)[:500])
        for account_id in part:
            yield account_id, found.get(account_id)


def issue_run(database: Database, *, run_id: str, principal: str, now: datetime) -> dict[str, int]:
    """Issue every drafted account of an approved run; return documents and accounts issued.

    Raises:
        RunUnknown, RunStanding.
    """
    counts = {"accounts": 0, "documents": 0}
    with database.snapshot() as session:
        drafted = queries.accounts_at(session, run_id=run_id, status="drafted")
        if queries.run(session, run_id=run_id).status not in {"approved", "issued"}:
            raise operations.RunStanding("Only an approved run is issued.")
    for account_id in drafted:
        numbers = database.retrying(
            partial(
                operations.issue_account,
                run_id=run_id,
                account_id=account_id,
                principal=principal,
                now=now,
            )
        )
        counts["accounts"] += bool(numbers)
        counts["documents"] += len(numbers)
    with database.transaction() as session:
        operations.finish_issuing(session, run_id=run_id, now=now)
        operations.wanted_done(session, run_id=run_id, work="issue")
    return counts


def do_wanted(database: Database, *, now: datetime) -> dict[str, int]:
    """Draft or issue the runs for which a person asked; return how many of each."""
    counts = {"drafted": 0, "issued": 0, "refused": 0}
    with database.snapshot() as session:
        wanted = [(row.id, row.wanted, row.wanted_by) for row in queries.wanted(session)]
    for run_id, work, principal in wanted:
        try:
            if work == "draft":
                draft_run(database, run_id=run_id, now=now)
                counts["drafted"] += 1
            else:
                issue_run(database, run_id=run_id, principal=principal or "job", now=now)
                counts["issued"] += 1
        except Refusal as refusal:
            _log.warning("run cannot go on", run=run_id, work=work, detail=refusal.detail)
            counts["refused"] += 1
            with database.transaction() as session:
                operations.wanted_done(session, run_id=run_id, work=work or "")
    return counts
