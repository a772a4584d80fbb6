"""Every line of an invoice leads to the events that it charges, and to no others."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from billing.invoices import queries
from billing.invoices.line_events import LineUnknown, line_events
from billing.invoices.model import Invoice, LineKind
from billing.money import plain
from metering.events.archive import archive_month
from metering.kit.db import Database
from metering.periods import london
from metering.readings.stored import StoredEvent
from tests import make
from tests.scenarios.story import APRIL, MAY, month_end, service, trusts, uses


def behind(database: Database, invoice: Invoice, number: int, **facts: Any) -> list[StoredEvent]:
    with database.snapshot() as session:
        return line_events(
            session,
            **{
                "invoice": queries.invoice_row(
                    session, account_id=invoice.account_id, invoice_id=invoice.id
                ),
                "number": number,
                "limit": 100,
                **facts,
            },
        )


def quantities(events: Sequence[StoredEvent]) -> list[str]:
    return [plain(event.quantity) for event in events]


def test_each_line_has_the_events_of_its_price_and_they_sum_to_it(database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, dimensions={"modality": {"label": "Modality", "values": None}})
        make.tariff(
            session,
            make.price(where={"modality": "CT"}, unit_price="0.50"),
            make.price(unit_price="0.20"),
            make.price(meter=None, model="flat", amount="100.00"),
        )
    trusts(database, "RRK", "RA7")
    for day, modality, quantity in ((3, "CT", "10"), (3, "MR", "7"), (9, "CT", "2.5")):
        uses(database, "RRK", quantity, at=date(2026, 4, day), dimensions={"modality": modality})
    uses(database, "RA7", "99", at=date(2026, 4, 3), dimensions={"modality": "CT"})
    (invoice,) = month_end(database, APRIL)["RRK"]
    found = {line.number: behind(database, invoice, line.number) for line in invoice.lines}
    by_line = {
        line.description: (line.kind, quantities(found[line.number])) for line in invoice.lines
    }
    assert sorted(by_line.values()) == [
        (LineKind.FLAT, []),
        (LineKind.USAGE, ["10", "2.5"]),
        (LineKind.USAGE, ["7"]),
    ]
    for line in invoice.lines:
        if line.kind == LineKind.USAGE:
            assert sum(event.quantity for event in found[line.number]) == line.quantity


def test_what_came_after_the_draft_is_not_on_the_invoice_but_on_the_next(
    database: Database,
) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10", at=date(2026, 4, 10))
    (invoice,) = month_end(database, APRIL)["RRK"]
    came = datetime(2026, 5, 20, 12, tzinfo=UTC)
    uses(database, "RRK", "4", at=date(2026, 4, 11), received_at=came)
    assert quantities(behind(database, invoice, 1)) == ["10"]
    (later,) = month_end(database, MAY)["RRK"]
    (correction,) = [line for line in later.lines if line.kind == LineKind.CORRECTION]
    assert quantities(behind(database, later, correction.number)) == ["10", "4"]


def test_a_line_of_a_band_has_the_events_of_its_hours(database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, resolution="hour")
        make.tariff(
            session,
            make.price(band="day", unit_price="1"),
            make.price(unit_price="0.10"),
            bands={"day": "Mon-Sun 08:00-18:00"},
        )
    trusts(database, "RRK")
    for hour in (6, 7, 17, 20):  # in UTC; London is an hour ahead
        uses(database, "RRK", str(hour), at=datetime(2026, 4, 10, hour, 30, tzinfo=UTC))
    (invoice,) = month_end(database, APRIL)["RRK"]
    hours = sorted(
        [london(event.occurred_at).hour for event in behind(database, invoice, line.number)]
        for line in invoice.lines
    )
    assert hours == [[7, 18, 21], [8]]


def test_pages_add_up_and_unknown_lines_and_other_sources_are_refused(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    for number in range(1, 6):
        uses(database, "RRK", str(number), at=date(2026, 4, number))
    (invoice,) = month_end(database, APRIL)["RRK"]
    pages, after = [], None
    while True:
        page = behind(database, invoice, 1, limit=2, after=after)
        if not page:
            break
        pages.append(quantities(page))
        after = page[-1].cursor
    assert pages == [["1", "2"], ["3", "4"], ["5"]]
    with pytest.raises(LineUnknown):
        behind(database, invoice, 2)
    with pytest.raises(queries.InvoiceUnknown):
        behind(database, invoice, 1, source_id=99)


def test_a_line_leads_to_its_events_when_their_month_is_archived(
    database: Database, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    service(database)
    trusts(database, "RRK", "RA7")
    for day, quantity in ((1, "10"), (16, "20")):
        uses(database, "RRK", quantity, at=date(2026, 4, day))
    uses(database, "RA7", "99", at=date(2026, 4, 3))
    (invoice,) = month_end(database, APRIL)["RRK"]
    before = behind(database, invoice, 1)
    assert quantities(before) == ["10", "20"]
    archive_month(
        database,
        month=APRIL,
        folder=tmp_path,
        correction_months=13,
        principal="test",
        now=datetime(2027, 9, 15, 9, tzinfo=UTC),
    )
    assert behind(database, invoice, 1) == before
    assert quantities(behind(database, invoice, 1, limit=1, after=before[0].cursor)) == ["20"]
