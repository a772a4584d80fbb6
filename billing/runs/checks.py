"""The checks before invoices: what must hold, and what a person should know."""

from sqlalchemy.orm import Session

from billing.charges import queries as charges
from billing.runs import reconciling
from billing.runs.declared import manifest_faults
from billing.runs.model import Check, Outcome
from metering.periods import Month


def run_checks(session: Session, *, month: Month) -> tuple[Check, ...]:
    """Return every check of the month; rate its charges first."""
    return (
        _added_up(session),
        _conservation(session, month),
        _strays(session, month),
        _manifests(session, month),
        _parked(session, month),
    )


def _added_up(session: Session) -> Check:
    pending = reconciling.pending_batches(session)
    return Check(
        name="usage-added-up",
        outcome=Outcome.FAIL if pending else Outcome.PASS,
        detail=f"{pending:,} batches of usage are not yet in the readings."
        if pending
        else "All accepted usage is in the readings.",
    )


def _conservation(session: Session, month: Month) -> Check:
    rows = reconciling.reconcile_month(session, month=month)
    wrong = [row for row in rows if row.differences]
    if not wrong:
        return Check(
            name="conservation",
            outcome=Outcome.PASS,
            detail=f"Events, readings, rated and parked usage agree for {len(rows):,} "
            "organisations and meters.",
        )
    first = wrong[0]
    return Check(
        name="conservation",
        outcome=Outcome.FAIL,
        detail=f"{len(wrong):,} do not add up, first {first.organisation} {first.meter}: "
        f"{'; '.join(first.differences)}.",
    )


def _strays(session: Session, month: Month) -> Check:
    strays = reconciling.strayed_events(session, month=month)
    return Check(
        name="events-in-their-month",
        outcome=Outcome.FAIL if strays else Outcome.PASS,
        detail=f"{strays:,} events are kept in a month in which they did not happen."
        if strays
        else "Every event is kept in the London month in which it happened.",
    )


def _manifests(session: Session, month: Month) -> Check:
    faults = manifest_faults(session, month=month)
    if not faults:
        return Check(
            name="manifests",
            outcome=Outcome.PASS,
            detail="What services counted themselves agrees with what arrived.",
        )
    blocking = any(policy == "wait" for _, policy, _ in faults)
    return Check(
        name="manifests",
        outcome=Outcome.FAIL if blocking else Outcome.WARN,
        detail=f"{len(faults)} manifests disagree or are missing: {faults[0][2]}",
    )


def _parked(session: Session, month: Month) -> Check:
    parked = charges.parked(session, month=month)
    if not parked:
        return Check(name="parked-usage", outcome=Outcome.PASS, detail="No usage is set aside.")
    codes = sorted({row.code for row in parked})
    organisations = {row.organisation for row in parked}
    return Check(
        name="parked-usage",
        outcome=Outcome.WARN,
        detail=f"Usage of {len(organisations)} organisations is set aside and will not be "
        f"invoiced ({', '.join(codes)}).",
    )
