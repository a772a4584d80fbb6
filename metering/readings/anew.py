"""Readings of meters that cannot be added: worked out from a month's raw events."""

from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from metering.events import partitions
from metering.events.model import WITHDRAWAL
from metering.events.tables import usage_events
from metering.meters.model import LEVELS
from metering.periods import Month, london_day
from metering.readings.model import Observation, Total, month_readings
from metering.readings.tables import WHOLE_DAY, ReadingRow


def work_out_anew(
    session: Session,
    *,
    subject_id: int,
    meter_id: int,
    aggregation: str,
    months: Collection[Month],
    now: datetime,
) -> int:
    """Work out the readings of a meter that cannot be added, from its raw events.

    A changed level lasts, so for a level every later month up to `now` is worked out too.
    An archived month stays as it is: nothing of it can change any more.

    Returns:
        The number of readings that changed.
    """
    if aggregation in LEVELS:
        wanted = [min(months)]
        while wanted[-1] < max(Month.of(now), *months):
            wanted.append(wanted[-1].next)
    else:
        wanted = sorted(months)
    away = {row.month for row in partitions.archived(session, first=wanted[0], last=wanted[-1])}
    return sum(
        work_out_month(
            session,
            subject_id=subject_id,
            meter_id=meter_id,
            aggregation=aggregation,
            month=month,
            now=now,
        )
        for month in wanted
        if month.first_day not in away
    )


def work_out_month(
    session: Session,
    *,
    subject_id: int,
    meter_id: int,
    aggregation: str,
    month: Month,
    now: datetime,
) -> int:
    """Work out one month's readings of a meter; return how many changed."""
    due = month_readings(
        aggregation,
        _observations(session, subject_id=subject_id, meter_id=meter_id, month=month),
        month=month,
        carried=(
            _carried(session, subject_id=subject_id, meter_id=meter_id, before=month)
            if aggregation in LEVELS
            else {}
        ),
        through_on=london_day(now),
    )
    return _write_anew(
        session, subject_id=subject_id, meter_id=meter_id, month=month, due=due, now=now
    )


def _write_anew(
    session: Session,
    *,
    subject_id: int,
    meter_id: int,
    month: Month,
    due: dict[tuple[int, date], Total],
    now: datetime,
) -> int:
    kept = {
        (row.dimension_set_id, row.used_on): row
        for row in session.scalars(
            select(ReadingRow).where(
                ReadingRow.subject_id == subject_id,
                ReadingRow.meter_id == meter_id,
                ReadingRow.used_on >= month.first_day,
                ReadingRow.used_on < month.end_day,
            )
        )
    }
    changed = 0
    for key, row in kept.items():
        if key not in due:
            session.delete(row)
            changed += 1
    for key, total in due.items():
        found = kept.get(key)
        if found is None:
            found = ReadingRow(
                subject_id=subject_id,
                meter_id=meter_id,
                used_on=key[1],
                dimension_set_id=key[0],
                hour=WHOLE_DAY,
            )
            session.add(found)
        elif (found.quantity, found.event_count) == total:
            continue
        found.quantity, found.event_count, found.updated_at = *total, now
        changed += 1
    session.flush()
    return changed


def _observations(
    session: Session, *, subject_id: int, meter_id: int, month: Month
) -> list[Observation]:
    columns = usage_events.c
    rows = session.execute(
        select(
            columns.dimension_set_id,
            columns.occurred_at,
            columns.quantity,
            columns.kind,
            columns.event_key,
            columns.detail,
        ).where(
            columns.period_month == month.first_day,
            columns.subject_id == subject_id,
            columns.meter_id == meter_id,
        )
    ).all()
    withdrawn = {row.detail["withdraws"] for row in rows if row.kind == WITHDRAWAL}
    return [
        Observation(
            row.dimension_set_id,
            row.occurred_at,
            row.quantity,
            withdrawn=str(row.event_key) in withdrawn,
            value=(row.detail or {}).get("value"),
        )
        for row in rows
        if row.kind != WITHDRAWAL
    ]


def _carried(
    session: Session, *, subject_id: int, meter_id: int, before: Month
) -> dict[int, Decimal]:
    """Return, by dimension set, the last level before a month that was not withdrawn.

    Of archived months the last levels stay when their events leave.
    """
    rows = session.execute(
        text(
            """
            SELECT DISTINCT ON (dimension_set_id) dimension_set_id, quantity
            FROM (
                SELECT e.dimension_set_id, e.occurred_at, e.quantity
                FROM usage_events e
                LEFT JOIN usage_events w ON w.subject_id = e.subject_id
                    AND w.meter_id = e.meter_id AND w.period_month = e.period_month
                    AND w.occurred_at = e.occurred_at AND w.kind = :withdrawal
                    AND w.detail ->> 'withdraws' = e.event_key::text
                WHERE e.subject_id = :subject AND e.meter_id = :meter AND e.kind <> :withdrawal
                    AND e.period_month < :before AND w.event_key IS NULL
                UNION ALL
                SELECT a.dimension_set_id, a.occurred_at, a.quantity
                FROM archived_levels a
                WHERE a.subject_id = :subject AND a.meter_id = :meter AND a.month < :before
            ) levels
            ORDER BY dimension_set_id, occurred_at DESC, quantity DESC
            """
        ),
        {
            "subject": subject_id,
            "meter": meter_id,
            "before": before.first_day,
            "withdrawal": WITHDRAWAL,
        },
    )
    return {row.dimension_set_id: row.quantity for row in rows}
