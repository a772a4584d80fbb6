"""A month's readings as rating needs them: added up as far as no price can tell them apart.

Days between two cuts are alike to every price, so their readings are added in the database;
of meters kept by the hour, also the weekday and the hour are told apart.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from metering.meters.tables import MeterRow
from metering.organisations.tables import OrganisationRow
from metering.periods import Month
from metering.readings.tables import WHOLE_DAY

Dimensions = tuple[tuple[str, str], ...]


class MonthTotal(NamedTuple):
    """What an organisation used of a meter on alike days of a month.

    Attributes:
        ods_code: of the organisation.
        day: the first London day that is counted in it.
        hour: London clock hour, None where the meter is kept by the day.
        dimensions: pairs sorted by name.
    """

    ods_code: str
    meter: str
    quantity: Decimal
    day: date
    dimensions: Dimensions
    hour: int | None


class Words(NamedTuple):
    """Codes of meters and dimensions by the small numbers that readings have for them."""

    meters: dict[int, str]
    sets: dict[int, Dimensions]


def load_words(session: Session) -> Words:
    """Read the words once, for as many calls of `month_totals` as a transaction makes."""
    meters = session.execute(select(MeterRow.id, MeterRow.code)).all()
    return Words(dict(meters), dimension_sets(session))


def month_totals(
    session: Session,
    *,
    month: Month,
    cuts: Sequence[date] = (),
    organisation_ids: Sequence[int] | None = None,
    meters: Sequence[str] | None = None,
    until: date | None = None,
    words: Words | None = None,
) -> Iterator[MonthTotal]:
    """Yield the month's totals.

    Args:
        cuts: London dates on which something that prices depend on changes.
        organisation_ids: only these, all where None.
        meters: codes of meters, all where None.
        until: only London days before this one; the whole month where None.
        words: where they were read already.
    """
    codes, sets = load_words(session) if words is None else words
    only = "" if organisation_ids is None else "AND r.subject_id = ANY(:organisations)"
    if meters is not None:
        only += " AND r.meter_id = ANY(:meters)"
    # Days between the same two cuts are alike; without a cut all of them are.
    between = ", width_bucket(r.used_on, CAST(:cuts AS date[]))" if cuts else ""
    rows = session.execute(
        text(
            f"""
            SELECT r.subject_id, r.meter_id, trim_scale(sum(r.quantity)), min(r.used_on),
                r.dimension_set_id, r.hour
            FROM readings r
            WHERE r.used_on >= :first AND r.used_on < :end {only}
            GROUP BY r.subject_id, r.meter_id, r.dimension_set_id, r.hour {between},
                CASE WHEN r.hour = {WHOLE_DAY} THEN 0
                    ELSE CAST(extract(isodow FROM r.used_on) AS integer) END
            """  # noqa: S608 - only constants are put in
        ),
        {
            "first": month.first_day,
            "end": month.end_day if until is None else min(until, month.end_day),
            "organisations": None if organisation_ids is None else list(organisation_ids),
            "meters": None
            if meters is None
            else [number for number, code in codes.items() if code in set(meters)],
            **({"cuts": sorted(cuts)} if cuts else {}),
        },
    ).all()
    named = select(OrganisationRow.id, OrganisationRow.ods_code)
    if organisation_ids is not None:
        named = named.where(OrganisationRow.id.in_(organisation_ids))
    names = dict(session.execute(named).all())
    for subject, meter, quantity, day, dimension_set, hour in rows:
        yield MonthTotal(
            names[subject],
            codes[meter],
            quantity,
            day,
            sets[dimension_set],
            None if hour == WHOLE_DAY else hour,
        )


def month_signatures(session: Session, *, month: Month) -> dict[str, str]:
    """Return, by ODS code, a text that changes when any reading of the month does."""
    rows = session.execute(
        text(
            """
            SELECT o.ods_code, s.readings, s.quantity, s.events, s.changed
            FROM (
                SELECT subject_id, count(*) AS readings, sum(quantity) AS quantity,
                    sum(event_count) AS events, max(updated_at) AS changed
                FROM readings WHERE used_on >= :first AND used_on < :end
                GROUP BY subject_id
            ) s
            JOIN organisations o ON o.id = s.subject_id
            """
        ),
        {"first": month.first_day, "end": month.end_day},
    )
    return {
        code: f"{count}/{quantity}/{events}/{changed.timestamp()!r}"
        for code, count, quantity, events, changed in rows
    }


def months_with_readings(session: Session, *, first: Month, last: Month) -> list[Month]:
    """Return the months from `first` to `last` that have any reading, in order."""
    found = []
    month = first
    while month <= last:
        if session.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM readings WHERE used_on >= :first AND used_on < :end)"
            ),
            {"first": month.first_day, "end": month.end_day},
        ):
            found.append(month)
        month = month.next
    return found


def dimension_sets(session: Session) -> dict[int, Dimensions]:
    """Return every dimension set by its small number, pairs sorted by name."""
    rows = session.execute(text("SELECT id, dimensions FROM dimension_sets"))
    return {
        number: tuple(sorted((name, str(value)) for name, value in dimensions.items()))
        for number, dimensions in rows
    }
