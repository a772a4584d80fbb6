"""The usage events behind one line of an invoice."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from billing.accounts.queries import account
from billing.invoices import queries
from billing.invoices.backing import line_of
from billing.invoices.model import InvoiceKind, LineKind
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.invoices.usage_words import books_of
from billing.tariffs.model import slot_of
from metering.kit.errors import NotFound
from metering.meters.queries import by_code, dimensions_by_id
from metering.periods import london
from metering.readings.queries import usage_by_day
from metering.readings.stored import StoredEvent, events_of
from metering.readings.tables import WHOLE_DAY

_READ_TOGETHER = 1_000


class LineUnknown(NotFound):
    """The invoice has no line with this number."""

    code = "invoice-line-unknown"
    title = "No such line"


Place = tuple[date, int, int]
"""London day, clock hour or `WHOLE_DAY`, and dimension set of a reading."""


def line_events(
    session: Session,
    *,
    invoice: InvoiceRow,
    number: int,
    source_id: int | None = None,
    after: Sequence[Any] | None = None,
    limit: int,
) -> list[StoredEvent]:
    """Return the usage that a line charges, event by event, in order of instant.

    Those of its meter and days that fell under its price and had come when the invoice was
    drafted. A correction works its days out anew, so all their usage is listed. A line
    that charges no usage, such as a minimum, has none, and a credit note's lines have none.

    Args:
        source_id: the source that asks, which may see its own meters' lines; None for anyone.
        after: a row's `cursor`, to continue after it.

    Raises:
        LineUnknown: the invoice has no line of that number.
        InvoiceUnknown: the line is of another source's usage.
    """
    lines = queries.lines(session, account_id=invoice.account_id, invoice_id=invoice.id)
    line = next((each for each in lines if each.number == number), None)
    if line is None:
        raise LineUnknown(f"{invoice.number} has no line {number}.")
    if not line.meter or invoice.kind == InvoiceKind.CREDIT_NOTE:
        return []
    meter = by_code(session, code=line.meter)
    if source_id not in {None, meter.source_id}:
        raise queries.InvoiceUnknown(f"There is no invoice {invoice.number}.")
    subject_id = account(session, account_id=invoice.account_id).organisation_id
    places = _places(session, lines, line, subject_id=subject_id, meter_id=meter.id)
    if not places:
        return []
    hourly = meter.resolution == "hour"
    found: list[StoredEvent] = []
    while len(found) < limit:
        rows = events_of(
            session,
            first_on=line.first_on,
            end_on=line.end_on,
            subject_ids=[subject_id],
            meter_ids=[meter.id],
            dimension_set_ids=sorted({place[2] for place in places}),
            received_by=invoice.created_at,
            after=after,
            limit=_READ_TOGETHER,
        )
        found += [row for row in rows if _place(row, hourly=hourly) in places]
        if len(rows) < _READ_TOGETHER:
            break
        after = rows[-1].cursor
    return found[:limit]


def _place(event: StoredEvent, *, hourly: bool) -> Place:
    there = london(event.occurred_at)
    return there.date(), there.hour if hourly else WHOLE_DAY, event.dimension_set_id


def _places(
    session: Session,
    lines: Sequence[InvoiceLineRow],
    line: InvoiceLineRow,
    *,
    subject_id: int,
    meter_id: int,
) -> set[Place]:
    """Return the readings that fell under the line's price."""
    rivals = [line]
    if line.kind != LineKind.CORRECTION:
        rivals = [
            each
            for each in lines
            if each.kind != LineKind.CORRECTION
            and (each.month, each.meter) == (line.month, line.meter)
        ]
    books = books_of(session, {each.version_id for each in rivals})
    readings = list(
        usage_by_day(
            session,
            first_on=line.first_on,
            end_on=line.end_on,
            subject_ids=[subject_id],
            meter_ids=[meter_id],
        )
    )
    sets = dimensions_by_id(session, ids={reading.dimension_set_id for reading in readings})
    places: set[Place] = set()
    for reading in readings:
        day, hour = reading.used_on, reading.hour
        pairs = tuple(sorted(sets[reading.dimension_set_id].items()))
        slot = None if hour == WHOLE_DAY else slot_of(day, hour)
        if line_of(rivals, books, day=day, dimensions=pairs, slot=slot) is line:
            places.add((day, hour, reading.dimension_set_id))
    return places
