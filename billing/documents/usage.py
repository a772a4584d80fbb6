"""The readings behind an invoice, each with the line that it was charged on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.documents.usage_csv import UsageRow
from billing.invoices import queries as invoices
from billing.invoices.model import Invoice, InvoiceKind, LineKind
from billing.invoices.tables import InvoiceLineRow
from billing.rating.books import Entry, PriceBook
from billing.rating.model import Dimensions
from billing.tariffs import queries as tariffs
from billing.tariffs.model import parse_tariff, slot_of
from metering.periods import Month
from metering.readings.tables import WHOLE_DAY

_READINGS = text(
    """
    SELECT r.used_on, r.hour, m.code, m.name, m.unit, m.dimensions, d.dimensions, r.quantity,
        r.event_count
    FROM readings r
    JOIN accounts a ON a.organisation_id = r.subject_id
    JOIN meters m ON m.id = r.meter_id
    JOIN dimension_sets d ON d.id = r.dimension_set_id
    WHERE a.id = :account_id AND r.used_on >= :first AND r.used_on < :end
        AND r.meter_id IN (SELECT id FROM meters WHERE code = ANY(:meters))
    ORDER BY r.used_on, m.code, r.hour, r.dimension_set_id
    """
)


def usage_rows(session: Session, *, invoice: Invoice) -> list[UsageRow]:
    """Return the readings of the months and meters that the invoice charges, by day.

    Readings of corrected months are left out: the correction's working says what they came
    to before and after. A reading that no line prices has no line number.
    """
    lines = [
        line
        for line in _line_rows(session, invoice)
        if line.kind != LineKind.CORRECTION and line.meter
    ]
    if not lines or invoice.kind is InvoiceKind.CREDIT_NOTE:
        return []
    books = _books(session, {line.version_id for line in lines})
    services = {printed.number: printed.service for printed in invoice.lines}
    found: list[UsageRow] = []
    for month in sorted({Month.of_day(line.month) for line in lines}):
        by_meter: dict[str, list[InvoiceLineRow]] = {}
        for line in lines:
            if line.month == month.first_day:
                by_meter.setdefault(line.meter, []).append(line)
        rows = session.execute(
            _READINGS,
            {
                "account_id": invoice.account_id,
                "first": month.first_day,
                "end": month.end_day,
                "meters": sorted(by_meter),
            },
        )
        for day, hour, meter, name, unit, labels, dimensions, quantity, events in rows:
            pairs = tuple(sorted((key, str(value)) for key, value in dimensions.items()))
            slot = None if hour == WHOLE_DAY else slot_of(day, hour)
            line_of = _line_of(by_meter[meter], books, day=day, dimensions=pairs, slot=slot)
            found.append(
                UsageRow(
                    day=day,
                    service=services[(line_of or by_meter[meter][0]).number],
                    meter=name,
                    quantity=quantity,
                    unit=unit,
                    dimensions=", ".join(
                        f"{(labels.get(key) or {}).get('label') or key} {value}"
                        for key, value in pairs
                    ),
                    hour=None if hour == WHOLE_DAY else hour,
                    events=events,
                    line_number=None if line_of is None else line_of.number,
                    charge_id=None if line_of is None else line_of.charge_id,
                )
            )
    return found


def _line_of(
    lines: Sequence[InvoiceLineRow],
    books: Mapping[str, PriceBook],
    *,
    day: date,
    dimensions: Dimensions,
    slot: int | None,
) -> InvoiceLineRow | None:
    """Return the line whose price the reading fell under, None where there is none."""
    for line in lines:
        if not line.first_on <= day < line.end_on:
            continue
        book = books[line.version_id]
        entry = book.find(line.meter, dimensions, slot)
        if isinstance(entry, Entry) and entry.price.key == line.price_key:
            return line
        if all(known.price.key != line.price_key for known in book.entries):
            # A price of a local agreement is in no tariff; it is the account's own for the meter.
            return line
    return None


def _line_rows(session: Session, invoice: Invoice) -> list[InvoiceLineRow]:
    return list(invoices.lines(session, account_id=invoice.account_id, invoice_id=invoice.id))


def _books(session: Session, ids: Iterable[str]) -> dict[str, PriceBook]:
    rows = tariffs.versions_by_id(session, ids=set(ids))
    return {row.id: PriceBook(parse_tariff(row.content), None) for row in rows}
