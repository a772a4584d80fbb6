"""A service posts usage; the amounts are read off the issued invoices."""

from datetime import date
from decimal import Decimal

from billing.runs.reconciling import reconcile_month
from metering import jobs as metering_jobs
from metering.kit.db import Database
from metering.periods import Month
from tests import make
from tests.metering import make as metered
from tests.scenarios import story
from tests.scenarios.story import amounts, month_end

JULY, AUGUST = Month(2026, 7), Month(2026, 8)


def test_events_are_posted_withdrawn_and_invoiced(database: Database) -> None:
    metered.catalogue(database)
    with database.transaction() as session:
        make.tariff(
            session,
            make.price(where={"modality": "CT"}, unit_price="1.50"),
            make.price(),
            make.price(meter="archive-requests", unit_price="0.10"),
            effective_from=date(2026, 7, 1),
        )
        trust = make.account(session, code="RRK")
        make.agreement(session, account=trust, starts_on=date(2026, 7, 1))
    service = metered.service(database)
    mistaken = metered.event(3, data={"studies": "100"})
    service.post(metered.event(1), metered.event(2, data={"modality": "MR"}), mistaken)
    service.post(metered.event(1))
    service.post(metered.withdrawal(4, mistaken))
    metering_jobs.roll_up(database, now=metered.NOW)
    (invoice,) = month_end(database, JULY)["RRK"]
    # 2 of CT at 1.50, 2 of MR at 0.50, and two requests at 0.10.
    assert amounts(invoice) == ("4.20", "0.84", "5.04")

    late = story.after(JULY)
    service.post(metered.event(5, data={"studies": "0.5"}), now=late)
    metering_jobs.roll_up(database, now=late)
    (correction,) = month_end(database, AUGUST)["RRK"]
    assert amounts(correction) == ("0.85", "0.17", "1.02")
    with database.snapshot() as session:
        rows = reconcile_month(session, month=JULY)
    assert [(row.meter, row.differences, row.reason) for row in rows] == [
        ("archive-requests", (), None),
        ("studies-archived", (), None),
    ]
    assert {row.meter: row.invoiced for row in rows} == {
        "archive-requests": Decimal(3),
        "studies-archived": Decimal("4.5"),
    }
