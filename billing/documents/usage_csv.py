"""The usage behind an invoice as a spreadsheet: one row a reading."""

from collections.abc import Iterable

from billing.documents.sheet import write_sheet
from billing.invoices.backing import UsageRow

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
