"""Reads of the register of meters."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from metering.kit.errors import NotFound
from metering.meters.model import Meter
from metering.meters.tables import DimensionSetRow, MeterRow


class MeterUnknown(NotFound):
    """No meter has that code."""

    code = "meter-unknown"
    title = "No such meter"


def by_code(session: Session, *, code: str) -> MeterRow:
    """Return a meter by its code.

    Raises:
        MeterUnknown: there is none.
    """
    found = session.scalar(select(MeterRow).where(MeterRow.code == code))
    if found is None:
        raise MeterUnknown(f"No meter has the code '{code}'.")
    return found


def every(session: Session, *, source_id: int | None = None) -> Sequence[MeterRow]:
    """Return every meter by code, or those of one source."""
    query = select(MeterRow).order_by(MeterRow.code)
    if source_id is not None:
        query = query.where(MeterRow.source_id == source_id)
    return session.scalars(query).all()


def dimensions_by_id(
    session: Session, *, ids: Collection[int] | None = None
) -> Mapping[int, Mapping[str, str]]:
    """Return dimension sets by their small number, all of them where `ids` is None."""
    query = select(DimensionSetRow.id, DimensionSetRow.dimensions)
    if ids is not None:
        query = query.where(DimensionSetRow.id.in_(ids))
    return {row.id: row.dimensions for row in session.execute(query)}


def meter_of(row: MeterRow) -> Meter:
    """Return a stored meter's definition."""
    return Meter(
        code=row.code,
        name=row.name,
        event_type=row.event_type,
        aggregation=row.aggregation,
        quantity_field=row.quantity_field,
        unit=row.unit,
        dimensions=row.dimensions,
        filter=row.filter,
        resolution=row.resolution,
    )
