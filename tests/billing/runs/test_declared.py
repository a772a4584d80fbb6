"""A month end holds a source's own counts against what arrived, as the API tells the source."""

from decimal import Decimal

from billing.runs.declared import manifest_faults
from metering.jobs import roll_up
from metering.kit.db import Database
from metering.periods import Month
from metering.reports import manifests
from metering.sources import operations as sources
from tests.metering import make
from tests.metering.make import NOW, event

JULY = Month(2026, 7)


def test_a_maximum_agrees_on_both_sides(database: Database) -> None:
    make.catalogue(database)
    make.level_meter(database, "max")
    service = make.service(database)
    for number, level in enumerate(("3", "9", "5")):
        sent = event(number, type="max-level") | {"data": {"level": level}}
        assert service.post(sent).accepted == 1
    roll_up(database, now=NOW)

    def declared(quantity: str) -> tuple[bool, list[str]]:
        with database.transaction() as session:
            source = sources.register(session, code=make.ARCHIVE, name="Archive", now=NOW)
            told = manifests.declare(
                session,
                source_id=source.id,
                meter_code="max-level",
                first_on=JULY.first_day,
                end_on=JULY.end_day,
                count=3,
                quantity=Decimal(quantity),
                now=NOW,
            )
            faults = manifest_faults(session, month=JULY)
        return told.agrees, [sentence for _, _, sentence in faults]

    assert declared("9") == (True, [])
    agrees, (sentence,) = declared("17")
    assert not agrees
    assert sentence == (
        "imaging-archive declared 3 events (17) of max-level from 2026-07-01 to 2026-08-01; "
        "3 (9) arrived."
    )
