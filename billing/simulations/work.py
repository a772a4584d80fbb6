"""Doing simulations: read in one snapshot, progress and result in transactions of their own."""

from datetime import datetime, timedelta
from functools import partial

from billing.simulations import operations, queries
from billing.simulations.pricing import Progress, compare
from billing.tariffs.model import parse_tariff
from metering.kit.db import Database
from metering.kit.errors import Refusal
from metering.kit.logs import get_logger
from metering.periods import Month

_log = get_logger(__name__)
_LOST_AFTER = timedelta(hours=1)


def run_simulation(
    database: Database, *, simulation_id: str, now: datetime, progress: Progress | None = None
) -> None:
    """Do a simulation that was begun; what goes wrong is kept with it and raised.

    Args:
        progress: told of months done, besides the row.
    """

    def tell(done: int, total: int) -> None:
        with database.transaction() as session:
            operations.note_progress(session, simulation_id=simulation_id, months_done=done)
        if progress is not None:
            progress(done, total)

    try:
        with database.snapshot() as session:
            row = queries.simulation(session, simulation_id=simulation_id)
            comparison = compare(
                session,
                tariff=parse_tariff(row.content),
                first=Month.of_day(row.first_month),
                last=Month.of_day(row.last_month),
                progress=tell,
            )
        database.retrying(
            partial(operations.finish, simulation_id=simulation_id, comparison=comparison, now=now)
        )
    except Exception as error:
        # A work item's edge: the reason is kept for whoever asked.
        reason = error.detail if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"
        with database.transaction() as session:
            operations.fail(session, simulation_id=simulation_id, reason=reason, now=now)
        raise


def do_waiting(database: Database, *, now: datetime) -> dict[str, int]:
    """Do the simulations that people asked for; return how many were done, failed and lost."""
    counts = {"done": 0, "failed": 0, "lost": 0}
    with database.transaction() as session:
        counts["lost"] = operations.give_up(session, asked_before=now - _LOST_AFTER, now=now)
    with database.snapshot() as session:
        ids = queries.waiting(session)
    for simulation_id in ids:
        with database.transaction() as session:
            begun = operations.begin(session, simulation_id=simulation_id)
        if not begun:
            continue
        try:
            run_simulation(database, simulation_id=simulation_id, now=now)
            counts["done"] += 1
        except Exception:
            _log.exception("simulation failed", simulation=simulation_id)
            counts["failed"] += 1
    return counts
