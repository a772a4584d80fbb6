"""The usage behind an invoice as a spreadsheet: one row a reading."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.documents.sheet import write_sheet

HEADER = (
    "Day",
    "Hour",
    "Service",
    "Meter",
    "Dimensions",
    "Quantity",
    "Unit",
    "Events",
    "Line",
    "Charge",
)


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """A reading behind an invoice.

    Attributes:
        day: London date.
        hour: London clock hour (0 to 23) where the meter has bands, else None.
        dimensions: in words, as on the line.
        quantity: exact.
        events: how many usage events it sums, or None where that is not kept.
        line_number, charge_id: what it was billed on, or None where it was not billed.
    """

    day: date
    service: str
    meter: str
    quantity: Decimal
    unit: str
    dimensions: str = ""
    hour: int | None = None
    events: int | None = None
    line_number: int | None = None
    charge_id: str | None = None


def usage_csv(rows: Iterable[UsageRow]) -> bytes:
    """Return the readings in the order given; consumes `rows` once."""
    cells = (
        (
            row.day,
            row.hour,
            row.service,
            row.meter,
            row.dimensions,
            row.quantity,
            row.unit,
            row.events,
            row.line_number,
            row.charge_id,
        )
        for row in rows
    )
    return write_sheet(HEADER, cells, for_people=True)
