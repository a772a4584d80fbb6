"""Bring readings up to the events: by claiming batches, or anew from the raw events.

Every ingest transaction writes a batch row. The roll-up claims batches that
nobody has claimed and adds their sums to the readings in the same transaction,
so that a slow committer is never skipped and nothing is added twice.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from metering.events import partitions
from metering.events.batches import OF_BATCHES, by_batch, these
from metering.events.model import WITHDRAWAL
from metering.events.operations import claim_batches
from metering.events.tables import ArchivedLevelRow, usage_events
from metering.meters.model import ADDITIVE, LEVELS
from metering.meters.tables import MeterRow
from metering.periods import LONDON, Month
from metering.readings.anew import work_out_anew, work_out_month
from metering.readings.tables import WHOLE_DAY, ReadingRow

BATCHES_MAX = 1_000
EVENTS_MAX = 200_000
"""Bounds of one roll-up transaction. Each reads what has no summary yet besides its own events."""

# Roll-ups share it; a rebuild has it alone.
_REBUILD_LOCK = 7_201_952
# Meters that are worked out anew, so that an older look can never overwrite a newer one.
_ANEW_LOCK = 7_201_953


@dataclass(frozen=True)
class RollUp:
    """What one roll-up transaction did.

    Attributes:
        batches: claimed; 0 when nothing was due.
        events: accepted events in them.
        readings: rows written.
        anew: pairs of subject and meter that were worked out anew.
    """

    batches: int = 0
    events: int = 0
    readings: int = 0
    anew: int = 0


# London's day and hour, as PostgreSQL says them of an event `e`.
_DAY = "(e.occurred_at AT TIME ZONE :zone)::date"
_HOUR = (
    "CASE WHEN e.meter_id = ANY(:hourly)"
    " THEN extract(hour FROM e.occurred_at AT TIME ZONE :zone)::int"
    f" ELSE {WHOLE_DAY} END"
)
_SUMS = f"""
    SELECT e.subject_id, e.meter_id, {_DAY} AS used_on, e.dimension_set_id, {_HOUR} AS hour,
        sum(e.quantity) AS quantity,
        sum(CASE e.kind WHEN {WITHDRAWAL} THEN -1 ELSE 1 END) AS event_count
"""


def roll_up(session: Session, *, now: datetime) -> RollUp:
    """Claim some batches and add what they hold to the readings, in this transaction.

    Batches that another roll-up is claiming are left to it.

    Returns:
        What was done; call again, in a new transaction, until `batches` is 0.
    """
    _lock(session, _REBUILD_LOCK, shared=True)
    ids, events = claim_batches(session, batches_max=BATCHES_MAX, events_max=EVENTS_MAX, now=now)
    if not ids:
        return RollUp()
    additive, hourly, anew = _meters(session)
    with by_batch(session):
        touched = _touched(session, ids, anew) if anew else {}
    if touched:
        # Taken before any row is written, so that two roll-ups cannot wait for each other.
        _lock(session, _ANEW_LOCK, shared=False)
    with by_batch(session):
        written = _add(session, ids, additive=additive, hourly=hourly, now=now)
    for (subject_id, meter_id), first in sorted(touched.items()):
        written += work_out_anew(
            session,
            subject_id=subject_id,
            meter_id=meter_id,
            aggregation=anew[meter_id],
            months=first,
            now=now,
        )
    return RollUp(len(ids), events, written, len(touched))


def _lock(session: Session, number: int, *, shared: bool) -> None:
    # SCALE: an advisory lock is taken by a bare SELECT alone.
    name = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    session.execute(text(f"SELECT {name}(:number)"), {"number": number})


def _meters(session: Session) -> tuple[list[int], list[int], dict[int, str]]:
    """Return additive meters, those kept by the hour, and the others' aggregations."""
    additive: list[int] = []
    hourly: list[int] = []
    anew: dict[int, str] = {}
    for row in session.execute(select(MeterRow.id, MeterRow.aggregation, MeterRow.resolution)):
        if row.aggregation in ADDITIVE:
            additive.append(row.id)
            if row.resolution == "hour":
                hourly.append(row.id)
        else:
            anew[row.id] = row.aggregation
    return additive, hourly, anew


def _add(
    session: Session,
    batch_ids: Sequence[UUID],
    *,
    additive: Collection[int],
    hourly: Collection[int],
    now: datetime,
) -> int:
    # In the order of the key, so that two roll-ups that meet cannot deadlock.
    done = session.execute(
        text(
            f"""
            INSERT INTO readings (subject_id, meter_id, used_on, dimension_set_id, hour, quantity,
                event_count, updated_at)
            SELECT s.*, CAST(:now AS timestamptz) FROM (
                {_SUMS}
                FROM usage_events e
                WHERE {OF_BATCHES} AND e.meter_id + 0 = ANY(:additive)
                GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
            ) s
            ON CONFLICT (subject_id, meter_id, used_on, dimension_set_id, hour) DO UPDATE SET
                quantity = readings.quantity + EXCLUDED.quantity,
                event_count = readings.event_count + EXCLUDED.event_count,
                updated_at = EXCLUDED.updated_at
            """  # noqa: S608 - only constants are put in
        ),
        {
            **these(batch_ids),
            "additive": list(additive),
            "hourly": list(hourly),
            "zone": LONDON.key,
            "now": now,
        },
    )
    return _rows(done)


def _rows(done: object) -> int:
    return int(getattr(done, "rowcount", 0))


Pair = tuple[int, int]
"""Subject and meter."""


def _touched(
    session: Session, batch_ids: Sequence[UUID], anew: Collection[int]
) -> dict[Pair, set[Month]]:
    """Return the months in which these batches changed meters that cannot be added."""
    rows = session.execute(
        select(usage_events.c.subject_id, usage_events.c.meter_id, usage_events.c.period_month)
        .where(
            text(OF_BATCHES),
            # Not by the index on subjects and meters.
            (usage_events.c.meter_id + 0).in_(list(anew)),
        )
        .distinct(),
        these(batch_ids),
    )
    touched: dict[Pair, set[Month]] = defaultdict(set)
    for row in rows:
        touched[row.subject_id, row.meter_id].add(Month.of_day(row.period_month))
    return touched


def level_pairs(session: Session) -> list[tuple[int, int, str, Month]]:
    """Return subject, meter, aggregation and newest month of every level that has readings."""
    rows = session.execute(
        select(
            ReadingRow.subject_id,
            ReadingRow.meter_id,
            MeterRow.aggregation,
            func.max(ReadingRow.used_on).label("newest"),
        )
        .join(MeterRow, MeterRow.id == ReadingRow.meter_id)
        .where(MeterRow.aggregation.in_(sorted(LEVELS)))
        .group_by(ReadingRow.subject_id, ReadingRow.meter_id, MeterRow.aggregation)
        .order_by(ReadingRow.subject_id, ReadingRow.meter_id)
    )
    return [
        (row.subject_id, row.meter_id, row.aggregation, Month.of_day(row.newest)) for row in rows
    ]


def carry_level(
    session: Session,
    *,
    subject_id: int,
    meter_id: int,
    aggregation: str,
    since: Month,
    now: datetime,
) -> int:
    """Carry a level on to the London day of `now`; return how many readings changed."""
    _lock(session, _REBUILD_LOCK, shared=True)
    _lock(session, _ANEW_LOCK, shared=False)
    return work_out_anew(
        session,
        subject_id=subject_id,
        meter_id=meter_id,
        aggregation=aggregation,
        months=[since],
        now=now,
    )


_FORGET_READING = text(
    """
    DELETE FROM readings
    WHERE subject_id = :subject_id AND meter_id = :meter_id AND used_on = :used_on
        AND dimension_set_id = :dimension_set_id AND hour = :hour
    """
)


def rebuild(session: Session, *, month: Month, now: datetime) -> int:
    """Work out a month's readings from its raw events, and write those that differ.

    Events of batches that no roll-up has claimed yet are left to it. Roll-ups wait.

    Returns:
        The number of readings that differed; 0 proves that readings equal events.

    Raises:
        MonthArchived: the raw events are in a file.
    """
    partitions.refuse_archived(session, month=month)
    _lock(session, _REBUILD_LOCK, shared=False)
    additive, hourly, anew = _meters(session)
    facts = {
        "month": month.first_day,
        "first": month.first_day,
        "end": month.end_day,
        "additive": additive,
        "hourly": hourly,
        "zone": LONDON.key,
        "now": now,
    }
    # One statement, one snapshot: a batch that commits meanwhile is in neither part.
    session.execute(
        text(
            f"""
            CREATE TEMPORARY TABLE due ON COMMIT DROP AS
            {_SUMS}
            FROM usage_events e
            LEFT JOIN ingest_batches b ON b.id = e.batch_id AND b.claimed_at IS NULL
            WHERE e.period_month = :month AND e.meter_id = ANY(:additive) AND b.id IS NULL
            GROUP BY 1, 2, 3, 4, 5
            """
        ),
        facts,
    )
    # By their whole keys: a cluster deletes nothing for want of a row in a table elsewhere.
    gone = session.execute(
        text(
            """
            SELECT r.subject_id, r.meter_id, r.used_on, r.dimension_set_id, r.hour
            FROM readings r
            LEFT JOIN due d ON d.subject_id = r.subject_id AND d.meter_id = r.meter_id
                AND d.used_on = r.used_on AND d.dimension_set_id = r.dimension_set_id
                AND d.hour = r.hour
            WHERE r.used_on >= :first AND r.used_on < :end AND r.meter_id = ANY(:additive)
                AND d.subject_id IS NULL
            """
        ),
        facts,
    ).all()
    if gone:
        session.execute(_FORGET_READING, [dict(row._mapping) for row in gone])
    changed = len(gone) + _rows(
        session.execute(
            text(
                """
                INSERT INTO readings (subject_id, meter_id, used_on, dimension_set_id, hour,
                    quantity, event_count, updated_at)
                SELECT d.*, CAST(:now AS timestamptz) FROM due d ORDER BY 1, 2, 3, 4, 5
                ON CONFLICT (subject_id, meter_id, used_on, dimension_set_id, hour) DO UPDATE SET
                    quantity = EXCLUDED.quantity, event_count = EXCLUDED.event_count,
                    updated_at = EXCLUDED.updated_at
                WHERE (readings.quantity, readings.event_count)
                    IS DISTINCT FROM (EXCLUDED.quantity, EXCLUDED.event_count)
                """
            ),
            facts,
        )
    )
    session.execute(text("DROP TABLE due"))
    for subject_id, meter_id in _pairs_of_month(session, month, anew):
        changed += work_out_month(
            session,
            subject_id=subject_id,
            meter_id=meter_id,
            aggregation=anew[meter_id],
            month=month,
            now=now,
        )
    return changed


def _pairs_of_month(
    session: Session, month: Month, meter_ids: Iterable[int]
) -> list[tuple[int, int]]:
    """Return subjects and meters with usage or a level by the month's end, or a reading in it."""
    wanted = list(meter_ids)
    events = select(usage_events.c.subject_id, usage_events.c.meter_id).where(
        usage_events.c.period_month <= month.first_day, usage_events.c.meter_id.in_(wanted)
    )
    readings = select(ReadingRow.subject_id, ReadingRow.meter_id).where(
        ReadingRow.used_on >= month.first_day,
        ReadingRow.used_on < month.end_day,
        ReadingRow.meter_id.in_(wanted),
    )
    levels = select(ArchivedLevelRow.subject_id, ArchivedLevelRow.meter_id).where(
        ArchivedLevelRow.month < month.first_day, ArchivedLevelRow.meter_id.in_(wanted)
    )
    return sorted({(row[0], row[1]) for row in session.execute(events.union(readings, levels))})
