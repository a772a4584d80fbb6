"""Reads of one organisation's usage by month and day."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, cast, func, literal, select
from sqlalchemy.orm import Session

from billing.charges.tables import ChargeRow
from metering.meters.tables import DimensionSetRow, MeterRow
from metering.periods import Month
from metering.readings.tables import ReadingRow
from metering.sources.tables import SourceRow


class UsedMeter(NamedTuple):
    """A meter that has readings of the organisation, and the service that reports it."""

    meter: MeterRow
    service: str


class MonthUse(NamedTuple):
    """A meter's month: quantity, events and pounds without VAT (None where nothing is charged)."""

    meter_id: int
    quantity: Decimal
    events: int
    amount: Decimal | None


class Use(NamedTuple):
    """What was used on a day or in a month, of one value of the dimension that splits it."""

    on: date
    value: str
    quantity: Decimal
    events: int


def used_meters(session: Session, *, organisation_id: int) -> list[UsedMeter]:
    """Return the meters that have readings of the organisation, by service and name."""
    used = (
        select(ReadingRow.meter_id)
        .where(ReadingRow.subject_id == organisation_id)
        .distinct()
        .subquery()
    )
    rows = session.execute(
        select(MeterRow, SourceRow.name)
        .join(used, used.c.meter_id == MeterRow.id)
        .join(SourceRow, SourceRow.id == MeterRow.source_id)
        .order_by(SourceRow.name, MeterRow.name)
    )
    return [UsedMeter(*row) for row in rows]


def first_used_on(session: Session, *, organisation_id: int) -> date | None:
    """Return the first London date with a reading, None where there is none."""
    return session.scalar(
        select(func.min(ReadingRow.used_on)).where(ReadingRow.subject_id == organisation_id)
    )


def month_use(
    session: Session, *, organisation_id: int, account_id: str, month: Month
) -> list[MonthUse]:
    """Return what was used of each meter in a month, and what is charged for it so far."""
    charged = (
        select(ChargeRow.meter.label("meter"), func.sum(ChargeRow.amount).label("amount"))
        .where(ChargeRow.account_id == account_id, ChargeRow.month == month.first_day)
        .group_by(ChargeRow.meter)
        .subquery()
    )
    used = (
        select(
            ReadingRow.meter_id.label("meter_id"),
            func.sum(ReadingRow.quantity).label("quantity"),
            func.sum(ReadingRow.event_count).label("events"),
        )
        .where(
            ReadingRow.subject_id == organisation_id,
            ReadingRow.used_on >= month.first_day,
            ReadingRow.used_on < month.end_day,
        )
        .group_by(ReadingRow.meter_id)
        .subquery()
    )
    rows = session.execute(
        select(used.c.meter_id, used.c.quantity, used.c.events, charged.c.amount)
        .join(MeterRow, MeterRow.id == used.c.meter_id)
        .outerjoin(charged, charged.c.meter == MeterRow.code)
    )
    return [MonthUse(row[0], row[1], int(row[2]), row[3]) for row in rows]


def of_dimensions(where: Mapping[str, str]) -> ColumnElement[bool] | None:
    """Return the condition that dimensions have these values, None where none is asked for."""
    if not where:
        return None
    return DimensionSetRow.dimensions.contains(dict(where))


def uses(
    session: Session,
    *,
    organisation_id: int,
    meter_id: int,
    first_day: date,
    end_day: date,
    by_month: bool,
    split: str,
    where: Mapping[str, str],
) -> list[Use]:
    """Return what was used of a meter on London dates `[first_day, end_day)`.

    Args:
        by_month: one row a month (`on` is its first day), else one a day.
        split: the dimension whose values are told apart, empty for none.
        where: values that dimensions must have.
    """
    on = (
        cast(func.date_trunc("month", ReadingRow.used_on), ReadingRow.used_on.type)
        if by_month
        else ReadingRow.used_on
    )
    value = (
        func.coalesce(DimensionSetRow.dimensions[split].astext, "") if split else literal("", Text)
    )
    statement = (
        select(
            on.label("used_on"),
            value.label("value"),
            func.sum(ReadingRow.quantity),
            func.sum(ReadingRow.event_count),
        )
        .join(DimensionSetRow, DimensionSetRow.id == ReadingRow.dimension_set_id)
        .where(
            ReadingRow.subject_id == organisation_id,
            ReadingRow.meter_id == meter_id,
            ReadingRow.used_on >= first_day,
            ReadingRow.used_on < end_day,
        )
        .group_by("used_on", "value")
        .order_by("used_on", "value")
    )
    narrowed = of_dimensions(where)
    if narrowed is not None:
        statement = statement.where(narrowed)
    return [Use(row[0], row[1], row[2], int(row[3])) for row in session.execute(statement)]
