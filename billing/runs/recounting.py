"""What meters whose events do not add up come to in a month, counted anew from raw events.

Its SQL is its own and shares nothing with the readings, so that it would see what they missed:
a maximum or minimum is that of the month, a unique meter counts different values, a level lasts
until the next event and is what it was last (`latest`) or on average (`time-weighted`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from metering.events.model import WITHDRAWAL
from metering.periods import Month

_RECOUNT = text(
    """
    WITH odd AS (
        SELECT id, aggregation FROM meters WHERE aggregation = ANY(:aggregations)
    ),
    live AS (
        SELECT e.subject_id, e.meter_id, e.dimension_set_id, m.aggregation, e.occurred_at,
            e.quantity, coalesce(e.detail ->> 'value', '') AS value
        FROM usage_events e
        JOIN odd m ON m.id = e.meter_id
        LEFT JOIN usage_events w ON w.period_month = e.period_month
            AND w.subject_id = e.subject_id AND w.meter_id = e.meter_id
            AND w.occurred_at = e.occurred_at AND w.kind = :withdrawal
            AND w.detail ->> 'withdraws' = e.event_key::text
        WHERE e.period_month = :month AND e.kind <> :withdrawal AND w.event_key IS NULL
            AND (CAST(:subjects AS integer[]) IS NULL OR e.subject_id = ANY(:subjects))
    ),
    lasting AS (
        SELECT DISTINCT r.subject_id, r.meter_id, m.aggregation
        FROM readings r
        JOIN odd m ON m.id = r.meter_id AND m.aggregation IN ('latest', 'time-weighted')
        WHERE r.used_on >= :before AND r.used_on < :end_day
            AND (CAST(:subjects AS integer[]) IS NULL OR r.subject_id = ANY(:subjects))
    ),
    before AS (
        SELECT e.subject_id, e.meter_id, e.dimension_set_id, l.aggregation, e.occurred_at,
            e.quantity
        FROM lasting l
        JOIN usage_events e ON e.subject_id = l.subject_id AND e.meter_id = l.meter_id
        LEFT JOIN usage_events w ON w.period_month = e.period_month
            AND w.subject_id = e.subject_id AND w.meter_id = e.meter_id
            AND w.occurred_at = e.occurred_at AND w.kind = :withdrawal
            AND w.detail ->> 'withdraws' = e.event_key::text
        WHERE e.period_month < :month AND e.kind <> :withdrawal AND w.event_key IS NULL
        UNION ALL
        SELECT a.subject_id, a.meter_id, a.dimension_set_id, l.aggregation, a.occurred_at,
            a.quantity
        FROM lasting l
        JOIN archived_levels a ON a.subject_id = l.subject_id AND a.meter_id = l.meter_id
        WHERE a.month < :month
    ),
    carried AS (
        SELECT DISTINCT ON (subject_id, meter_id, dimension_set_id)
            subject_id, meter_id, dimension_set_id, aggregation, quantity
        FROM before
        ORDER BY subject_id, meter_id, dimension_set_id, occurred_at DESC, quantity DESC
    ),
    steps AS (
        SELECT subject_id, meter_id, dimension_set_id, aggregation,
            CAST(:start AS timestamptz) AS at, 0 AS place, quantity
        FROM carried
        UNION ALL
        SELECT subject_id, meter_id, dimension_set_id, aggregation, occurred_at, 1, quantity
        FROM live WHERE aggregation IN ('latest', 'time-weighted')
    ),
    spans AS (
        SELECT steps.*,
            lead(at, 1, CAST(:end AS timestamptz)) OVER (
                PARTITION BY subject_id, meter_id, dimension_set_id ORDER BY at, place, quantity
            ) AS until,
            row_number() OVER (
                PARTITION BY subject_id, meter_id, dimension_set_id
                ORDER BY at DESC, place DESC, quantity DESC
            ) AS from_last
        FROM steps
    ),
    counted AS (
        SELECT subject_id, meter_id, CASE aggregation
            WHEN 'max' THEN max(quantity)
            WHEN 'min' THEN min(quantity)
            ELSE count(DISTINCT value) END AS quantity
        FROM live WHERE aggregation NOT IN ('latest', 'time-weighted')
        GROUP BY subject_id, meter_id, dimension_set_id, aggregation
        UNION ALL
        SELECT subject_id, meter_id, CASE aggregation
            WHEN 'latest' THEN sum(quantity) FILTER (WHERE from_last = 1)
            ELSE round(
                CAST(sum(quantity * extract(epoch FROM until - at)) AS numeric(60, 20))
                    / extract(
                        epoch FROM CAST(:end AS timestamptz) - CAST(:start AS timestamptz)
                    ),
                9
            ) END
        FROM spans
        GROUP BY subject_id, meter_id, dimension_set_id, aggregation
    )
    SELECT o.ods_code, m.code, sum(c.quantity)
    FROM counted c
    JOIN organisations o ON o.id = c.subject_id
    JOIN meters m ON m.id = c.meter_id
    GROUP BY o.ods_code, m.code
    """
)
_WHOLE_MONTH = ("latest", "time-weighted")
_ANY_TIME = ("max", "min", "unique")


def recount(
    session: Session,
    *,
    month: Month,
    ended: bool,
    organisation_ids: Sequence[int] | None = None,
) -> Mapping[tuple[str, str], Decimal]:
    """Return what such meters come to, by ODS code and meter; what came to nothing is left out.

    Args:
        ended: the month is over, so that levels are known to its end; else they are left out.
        organisation_ids: these organisations alone; None for all.
    """
    aggregations = [*_ANY_TIME, *(_WHOLE_MONTH if ended else ())]
    known = session.scalar(
        text("SELECT EXISTS (SELECT 1 FROM meters WHERE aggregation = ANY(:aggregations))"),
        {"aggregations": aggregations},
    )
    if not known:
        return {}
    rows = session.execute(
        _RECOUNT,
        {
            "aggregations": aggregations,
            "subjects": None if organisation_ids is None else list(organisation_ids),
            "withdrawal": WITHDRAWAL,
            "month": month.first_day,
            "before": month.previous.first_day,
            "end_day": month.end_day,
            "start": month.period.start,
            "end": month.period.end,
        },
    )
    return {(organisation, meter): Decimal(quantity) for organisation, meter, quantity in rows}


def is_recounted(aggregation: str, *, ended: bool) -> bool:
    """Say whether `recount` knows meters of this aggregation."""
    return aggregation in _ANY_TIME or (ended and aggregation in _WHOLE_MONTH)
