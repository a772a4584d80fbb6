"""The usage behind an invoice, each reading with the line that it was charged on.

It is fixed when the invoice is drafted and sealed with it: usage that comes or is withdrawn
later never changes what stands behind an invoice that was sent.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple, TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.invoices import queries
from billing.invoices.composing import LineKey
from billing.invoices.model import Invoice, InvoiceKind, LineKind
from billing.invoices.tables import InvoiceLineRow, InvoiceUsageRow
from billing.invoices.usage_words import UsageWords
from billing.money import plain
from billing.rating.books import Entry, PriceBook
from billing.rating.model import Dimensions
from billing.tariffs.model import slot_of
from metering.periods import Month
from metering.readings.tables import WHOLE_DAY

CAME_LATER = "Came after this was worked out; it goes on a later invoice"
TAKEN_BACK_LATER = "Was withdrawn after this was worked out; a later invoice takes it off"


class UsageRow(NamedTuple):
    """A reading behind an invoice; kept as a list of its values in this order.

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


class PricedLine(NamedTuple):
    """What says of a line which readings it was charged for."""

    number: int
    kind: str
    month: date
    version_id: str
    price_key: str
    meter: str
    description: str
    unit: str
    quantity: Decimal
    first_on: date
    end_on: date
    charge_id: str | None


_Line = TypeVar("_Line", PricedLine, InvoiceLineRow)


_READINGS = text(
    """
    SELECT r.used_on, r.hour, m.code, r.dimension_set_id, r.quantity, r.event_count
    FROM readings r
    JOIN accounts a ON a.organisation_id = r.subject_id
    JOIN meters m ON m.id = r.meter_id
    WHERE a.id = :account_id AND r.used_on >= :first AND r.used_on < :end
        AND r.meter_id IN (SELECT id FROM meters WHERE code = ANY(:meters))
    ORDER BY r.used_on, m.code, r.hour, r.dimension_set_id
    """
)


class KeptUsage(NamedTuple):
    """The readings behind a draft as they are kept, and the SHA-256 that is sealed."""

    content: bytes
    sha256: str


def usage_to_keep(
    session: Session, *, invoice: Invoice, keys: Sequence[LineKey], words: UsageWords
) -> KeptUsage | None:
    """Return the readings behind a draft as they stand, None where there is none.

    Readings may have moved on since the charges were worked out. Then one more row a price
    says by how much, so that the rows of a line's price always sum to what the line says.
    """
    lines = [
        PricedLine(
            number=line.number,
            kind=line.kind.value,
            month=where.key.month.first_day,
            version_id=where.key.version_id,
            price_key=where.key.price_key,
            meter=where.meter_code,
            description=line.description,
            unit=line.unit,
            quantity=Decimal(0) if line.quantity is None else line.quantity,
            first_on=line.first_day,
            end_on=line.end_day,
            charge_id=line.charge_id,
        )
        for line, where in zip(invoice.lines, keys, strict=True)
    ]
    rows = _read(session, invoice=invoice, lines=lines, words=words)
    if not rows:
        return None
    content = _content(rows)
    return KeptUsage(zlib.compress(content, 6), hashlib.sha256(content).hexdigest())


def usage_rows(session: Session, *, invoice: Invoice) -> list[UsageRow]:
    """Return the usage that was kept with the invoice, by day.

    An invoice of before usage was kept has none; there the readings of today are returned.
    """
    kept = session.get(InvoiceUsageRow, (invoice.account_id, invoice.id))
    if kept is None:
        return read_usage(session, invoice=invoice) if invoice.usage_sha256 is None else []
    return [
        UsageRow(
            day=date.fromisoformat(day),
            service=service,
            meter=meter,
            quantity=Decimal(quantity),
            unit=unit,
            dimensions=dimensions,
            hour=hour,
            events=events,
            line_number=line_number,
            charge_id=charge_id,
        )
        for (
            day,
            service,
            meter,
            quantity,
            unit,
            dimensions,
            hour,
            events,
            line_number,
            charge_id,
        ) in json.loads(zlib.decompress(kept.content))
    ]


def kept_faults(session: Session, *, invoice: Invoice) -> list[str]:
    """Return what is wrong with the usage that an invoice was sealed with; empty where nothing."""
    if invoice.usage_sha256 is None:
        return []
    kept = session.get(InvoiceUsageRow, (invoice.account_id, invoice.id))
    if kept is None:
        return ["the usage behind it is gone"]
    session.expunge(kept)
    found = hashlib.sha256(zlib.decompress(kept.content)).hexdigest()
    if found != invoice.usage_sha256:
        return ["the usage behind it is not what was sealed"]
    return []


def _content(rows: Iterable[UsageRow]) -> bytes:
    """Return rows as JSON: a list of each row's values in the order of its fields."""
    said = [
        (
            row.day.isoformat(),
            row.service,
            row.meter,
            plain(row.quantity),
            row.unit,
            row.dimensions,
            row.hour,
            row.events,
            row.line_number,
            row.charge_id,
        )
        for row in rows
    ]
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def read_usage(session: Session, *, invoice: Invoice) -> list[UsageRow]:
    """Return the readings of the months and meters that an invoice charges, as they stand.

    Readings of corrected months are left out: the correction's working says what they came
    to before and after. A reading that no line prices has no line number.
    """
    rows = queries.lines(session, account_id=invoice.account_id, invoice_id=invoice.id)
    lines = [PricedLine._make(getattr(row, name) for name in PricedLine._fields) for row in rows]
    return _read(session, invoice=invoice, lines=lines, words=UsageWords())


def _read(
    session: Session, *, invoice: Invoice, lines: Sequence[PricedLine], words: UsageWords
) -> list[UsageRow]:
    lines = [line for line in lines if line.kind != LineKind.CORRECTION and line.meter]
    if not lines or invoice.kind is InvoiceKind.CREDIT_NOTE:
        return []
    words.read_for(
        session,
        version_ids={line.version_id for line in lines},
        meters={line.meter for line in lines},
    )
    services = {printed.number: printed.service for printed in invoice.lines}
    found: list[UsageRow] = []
    for month in sorted({Month.of_day(line.month) for line in lines}):
        by_meter: dict[str, list[PricedLine]] = {}
        for line in lines:
            if line.month == month.first_day:
                by_meter.setdefault(line.meter, []).append(line)
        readings = session.execute(
            _READINGS,
            {
                "account_id": invoice.account_id,
                "first": month.first_day,
                "end": month.end_day,
                "meters": sorted(by_meter),
            },
        ).all()
        words.read_sets(session, ids={reading.dimension_set_id for reading in readings})
        places: dict[tuple[str, int, int | None], _Place] = {}
        for day, hour, meter, set_id, quantity, events in readings:
            slot = None if hour == WHOLE_DAY else slot_of(day, hour)
            place = places.get((meter, set_id, slot))
            if place is None:
                place = places[meter, set_id, slot] = _place(
                    by_meter[meter], words, meter=meter, set_id=set_id, slot=slot
                )
            under = next((line for line in place.lines if line.first_on <= day < line.end_on), None)
            found.append(
                UsageRow(
                    day,
                    services[(under or by_meter[meter][0]).number],
                    place.meter,
                    quantity,
                    place.unit,
                    place.dimensions,
                    None if hour == WHOLE_DAY else hour,
                    events,
                    None if under is None else under.number,
                    None if under is None else under.charge_id,
                )
            )
    return found + _moved_on(found, lines, services)


class _Place(NamedTuple):
    """What the readings of one meter, dimension set and slot of a month have in common.

    `lines`: those whose price they fall under, on the days that each covers.
    """

    meter: str
    unit: str
    dimensions: str
    lines: list[PricedLine]


def _place(
    lines: Sequence[PricedLine], words: UsageWords, *, meter: str, set_id: int, slot: int | None
) -> _Place:
    told, pairs = words.meters[meter], words.sets[set_id]
    return _Place(
        told.name,
        told.unit,
        ", ".join(f"{told.labels.get(key, key)} {value}" for key, value in pairs),
        [line for line in lines if _prices(line, words.books, dimensions=pairs, slot=slot)],
    )


def _moved_on(
    found: Iterable[UsageRow], lines: Sequence[PricedLine], services: Mapping[int, str]
) -> list[UsageRow]:
    """Return, a row each, by how much readings are no longer what their lines charge."""
    behind: dict[int, Decimal] = {}
    names: dict[int, tuple[str, str]] = {}
    for row in found:
        if row.line_number is not None:
            behind[row.line_number] = behind.get(row.line_number, Decimal(0)) + row.quantity
            names[row.line_number] = (row.meter, row.unit)
    prices: dict[tuple[date, str, str, str], list[PricedLine]] = {}
    for line in lines:
        if line.kind == LineKind.USAGE:
            key = (line.month, line.meter, line.version_id, line.price_key)
            prices.setdefault(key, []).append(line)
    moved = []
    for charged in prices.values():
        read = sum((behind.get(line.number, Decimal(0)) for line in charged), Decimal(0))
        left = sum((line.quantity for line in charged), Decimal(0)) - read
        if left:
            last = charged[-1]
            meter, unit = next(
                (names[line.number] for line in charged if line.number in names),
                (last.description, last.unit),
            )
            moved.append(
                UsageRow(
                    day=last.end_on - timedelta(days=1),
                    service=services[last.number],
                    meter=meter,
                    quantity=left,
                    unit=unit,
                    dimensions=CAME_LATER if left < 0 else TAKEN_BACK_LATER,
                    line_number=last.number,
                    charge_id=last.charge_id,
                )
            )
    return moved


def line_of(
    lines: Sequence[_Line],
    books: Mapping[str, PriceBook],
    *,
    day: date,
    dimensions: Dimensions,
    slot: int | None,
) -> _Line | None:
    """Return the line whose price the reading fell under, None where there is none."""
    for line in lines:
        if line.first_on <= day < line.end_on and _prices(
            line, books, dimensions=dimensions, slot=slot
        ):
            return line
    return None


def _prices(
    line: PricedLine | InvoiceLineRow,
    books: Mapping[str, PriceBook],
    *,
    dimensions: Dimensions,
    slot: int | None,
) -> bool:
    """Return whether readings like this, on the days that the line covers, fell under its price."""
    book = books[line.version_id]
    entry = book.find(line.meter, dimensions, slot)
    if isinstance(entry, Entry) and entry.price.key == line.price_key:
        return True
    # A price of a local agreement is in no tariff; it is the account's own for the meter.
    return all(known.price.key != line.price_key for known in book.entries)
