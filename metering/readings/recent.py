"""The last weeks' readings, added up as a forecast needs them."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from metering.periods import Month
from metering.readings.model import PROFILE_WEEKS, WEEKS, Recent
from metering.readings.month_totals import dimension_sets
from metering.readings.tables import WHOLE_DAY


def recent_usage(session: Session, *, as_of: date) -> Iterator[Recent]:
    """Yield what was used in the weeks before `as_of`, and on that day."""
    sets = dimension_sets(session)
    month = Month.of_day(as_of)
    rows = session.execute(
        text(
            f"""
            SELECT o.ods_code, m.code, r.dimension_set_id, r.hour,
                {_week(4)}, {_week(3)}, {_week(2)}, {_week(1)},
                coalesce(sum(r.quantity) FILTER (WHERE r.used_on = :as_of), 0),
                m.aggregation NOT IN ('max', 'min', 'latest', 'unique'),
                coalesce(sum(r.quantity) FILTER (
                    WHERE r.used_on >= :this_month AND r.used_on < :as_of), 0),
                coalesce(sum(r.quantity) FILTER (
                    WHERE r.used_on >= :last_month AND r.used_on < :this_month), 0)
            FROM readings r
            JOIN organisations o ON o.id = r.subject_id
            JOIN meters m ON m.id = r.meter_id
            WHERE r.used_on >= :first AND r.used_on <= :as_of
            GROUP BY o.ods_code, m.code, m.aggregation, r.dimension_set_id, r.hour
            ORDER BY o.ods_code, m.code, r.dimension_set_id, r.hour
            """  # noqa: S608 - only constants are put in
        ),
        {
            "as_of": as_of,
            "first": min(as_of - timedelta(weeks=WEEKS), month.previous.first_day),
            "this_month": month.first_day,
            "last_month": month.previous.first_day,
        },
    )
    for ods_code, meter, dimension_set, hour, *further in rows:
        *weeks, today, adds_up, this_month, last_month = further
        yield Recent(
            ods_code,
            meter,
            sets[dimension_set],
            None if hour == WHOLE_DAY else hour,
            tuple(weeks),
            today,
            adds_up,
            this_month,
            last_month,
        )


def _week(back: int) -> str:
    return (
        f"coalesce(sum(r.quantity) FILTER (WHERE r.used_on >= CAST(:as_of AS date) - {7 * back}"
        f" AND r.used_on < CAST(:as_of AS date) - {7 * back - 7}), 0)"
    )


def national_days(
    session: Session, *, as_of: date
) -> dict[tuple[str, int | None], dict[date, Decimal]]:
    """Return the nation's use by meter and hour on each of the last eight weeks' days."""
    rows = session.execute(
        text(
            """
            SELECT m.code, r.hour, r.used_on, sum(r.quantity)
            FROM readings r JOIN meters m ON m.id = r.meter_id
            WHERE r.used_on >= :first AND r.used_on < :as_of
            GROUP BY m.code, r.hour, r.used_on
            """
        ),
        {"as_of": as_of, "first": as_of - timedelta(weeks=PROFILE_WEEKS)},
    )
    found: dict[tuple[str, int | None], dict[date, Decimal]] = {}
    for meter, hour, day, quantity in rows:
        found.setdefault((meter, None if hour == WHOLE_DAY else hour), {})[day] = quantity
    return found


def first_days(session: Session, *, as_of: date) -> Mapping[str, date]:
    """Return, by ODS code, the first day with usage within the last eight weeks."""
    rows = session.execute(
        text(
            """
            SELECT o.ods_code, s.first_on FROM (
                SELECT subject_id, min(used_on) AS first_on FROM readings
                WHERE used_on >= :first AND used_on < :as_of GROUP BY subject_id
            ) s JOIN organisations o ON o.id = s.subject_id
            """
        ),
        {"as_of": as_of, "first": as_of - timedelta(weeks=PROFILE_WEEKS)},
    )
    return dict(rows.all())
