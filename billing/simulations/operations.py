"""Asking for a simulation, and keeping what it says with the draft."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.simulations import queries
from billing.simulations.model import LONGEST_MONTHS, Comparison, content_hash
from billing.simulations.tables import SimulationRow
from billing.tariffs import queries as tariffs
from metering.kit import audit
from metering.kit.errors import Invalid
from metering.kit.ids import new_id
from metering.periods import Month


class SimulationSpanInvalid(Invalid):
    """A simulation is of past or present months, the first before the last, 24 at most."""

    code = "simulation-span-invalid"
    title = "These months cannot be simulated"


def ask_for_simulation(
    session: Session,
    *,
    version_id: str,
    first: Month,
    last: Month,
    principal: str,
    now: datetime,
    status: str = "waiting",
) -> SimulationRow:
    """Ask for a version's contents, as they are now, to be priced on past usage.

    Args:
        first, last: both are simulated.
        status: `waiting` for the job to do it, `running` where the caller does.

    Raises:
        TariffVersionUnknown, SimulationSpanInvalid.
    """
    version = tariffs.version(session, version_id=version_id)
    check_span(first, last, now=now)
    row = SimulationRow(
        id=new_id("sim", now=now),
        version_id=version_id,
        content_sha256=content_hash(version.content),
        content=version.content,
        first_month=first.first_day,
        last_month=last.first_day,
        status=status,
        months_done=0,
        months_total=(last.year - first.year) * 12 + last.month - first.month + 1,
        asked_by=principal,
        asked_at=now,
        finished_at=None,
        error=None,
        result=None,
    )
    session.add(row)
    session.flush()
    _note(session, "ask for simulation", row, principal, now, {"first": str(first)})
    return row


def check_span(first: Month, last: Month, *, now: datetime) -> None:
    """Refuse months that cannot be simulated.

    Raises:
        SimulationSpanInvalid: see the class.
    """
    if last < first or last > Month.of(now) or last >= first.shift(LONGEST_MONTHS):
        raise SimulationSpanInvalid(
            f"A simulation is of at most {LONGEST_MONTHS} months, in order, up to the present one."
        )


def begin(session: Session, *, simulation_id: str) -> bool:
    """Take a waiting simulation to do; say whether it was there to take."""
    return bool(
        session.execute(
            update(SimulationRow)
            .where(SimulationRow.id == simulation_id, SimulationRow.status == "waiting")
            .values(status="running")
            .returning(SimulationRow.id)
            .execution_options(synchronize_session=False)
        ).all()
    )


def note_progress(session: Session, *, simulation_id: str, months_done: int) -> None:
    """Say how far a running simulation has come."""
    session.execute(
        update(SimulationRow)
        .where(SimulationRow.id == simulation_id, SimulationRow.status == "running")
        .values(months_done=months_done)
    )


def finish(
    session: Session, *, simulation_id: str, comparison: Comparison, now: datetime
) -> SimulationRow:
    """Keep what a running simulation says; afterwards it never changes."""
    row = queries.simulation(session, simulation_id=simulation_id)
    if row.status != "running":
        raise queries.SimulationNotDone(f"The simulation {row.id} is {row.status}.")
    row.status, row.result, row.finished_at = "done", comparison.to_json(), now
    row.months_done = row.months_total
    session.flush()
    _note(
        session,
        "simulate tariff version",
        row,
        row.asked_by,
        now,
        {
            "charged": str(comparison.charged),
            "simulated": str(comparison.simulated),
            "content_sha256": row.content_sha256,
        },
    )
    return row


def fail(session: Session, *, simulation_id: str, reason: str, now: datetime) -> None:
    """Mark a simulation that could not be finished, with the reason."""
    session.execute(
        update(SimulationRow)
        .where(SimulationRow.id == simulation_id, SimulationRow.status != "done")
        .values(status="failed", error=reason[:500], finished_at=now)
    )


def give_up(session: Session, *, asked_before: datetime, now: datetime) -> int:
    """Mark simulations as failed whose process ended before they did; return how many."""
    lost = session.scalars(
        select(SimulationRow.id).where(
            SimulationRow.status == "running", SimulationRow.asked_at < asked_before
        )
    ).all()
    for simulation_id in lost:
        fail(
            session,
            simulation_id=simulation_id,
            reason="The process that ran it ended before it did.",
            now=now,
        )
    return len(lost)


def _note(
    session: Session,
    action: str,
    row: SimulationRow,
    principal: str,
    now: datetime,
    facts: Mapping[str, Any],
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="tariff version",
        object_id=row.version_id,
        facts={"simulation": row.id, **facts},
    )
