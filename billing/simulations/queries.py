"""Reads of simulations."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from billing.simulations.model import Comparison, content_hash, read_comparison
from billing.simulations.tables import SimulationRow
from billing.tariffs.tables import TariffVersionRow
from metering.kit.errors import Conflict, NotFound


class SimulationUnknown(NotFound):
    """There is no such simulation."""

    code = "simulation-unknown"
    title = "No such simulation"


class SimulationNotDone(Conflict):
    """The simulation has no result: it still runs, or it failed."""

    code = "simulation-not-done"
    title = "The simulation is not done"


def simulation(session: Session, *, simulation_id: str) -> SimulationRow:
    """Return a simulation.

    Raises:
        SimulationUnknown: there is none with this id.
    """
    row = session.get(SimulationRow, simulation_id)
    if row is None:
        raise SimulationUnknown(f"There is no simulation {simulation_id}.")
    return row


def simulations(session: Session, *, version_id: str) -> Sequence[SimulationRow]:
    """Return a version's simulations, latest first, without their results."""
    return session.scalars(
        select(SimulationRow)
        .where(SimulationRow.version_id == version_id)
        .order_by(SimulationRow.asked_at.desc(), SimulationRow.id.desc())
        .options(defer(SimulationRow.result, raiseload=True))
    ).all()


def waiting(session: Session) -> Sequence[str]:
    """Return the ids of simulations that wait for the job, oldest first."""
    return session.scalars(
        select(SimulationRow.id)
        .where(SimulationRow.status == "waiting")
        .order_by(SimulationRow.asked_at, SimulationRow.id)
    ).all()


def result(row: SimulationRow) -> Comparison:
    """Return what a finished simulation says.

    Raises:
        SimulationNotDone: it has no result.
    """
    if row.result is None:
        raise SimulationNotDone(row.error or f"The simulation {row.id} is {row.status}.")
    return read_comparison(row.result)


def is_current(row: SimulationRow, *, version: TariffVersionRow) -> bool:
    """Say whether the version's contents are still those that were simulated."""
    return row.content_sha256 == content_hash(version.content)
