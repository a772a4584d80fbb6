"""A draft priced on past usage: who would have paid what, kept with the draft."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy.orm import Session

from billing.charges.operations import rate_charges
from billing.money import plain
from billing.runs.work import rate_open_months
from billing.simulations import operations, queries
from billing.simulations.model import CSV_HEADER, csv_rows, read_comparison
from billing.simulations.pricing import compare
from billing.simulations.work import do_waiting
from billing.tariffs import operations as tariffs
from billing.tariffs.tables import TariffVersionRow
from metering.kit.db import Database
from metering.periods import Month
from tests import make
from tests.scenarios.story import APRIL, MAY, service, trusts, uses

NOW = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[
        {"up_to": "1", "unit_price": "100.00"},
        {"up_to": "50", "unit_price": "80.00"},
        {"up_to": None, "unit_price": "60.00"},
    ],
)


def draft(session: Session, *prices: dict[str, object], version: str = "next") -> TariffVersionRow:
    return tariffs.draft_version(
        session,
        document={
            "tariff": "imaging-archive",
            "version": version,
            "effective_from": "2026-07-01",
            "vat": "standard",
            "prices": list(prices),
        },
        principal=make.ANALYST,
        now=NOW,
    )


def test_a_draft_from_july_is_priced_on_april_and_may(database: Database) -> None:
    service(database)
    trusts(database, "RA1", "RA2", "RA3")
    for code, quantity in (("RA1", "30"), ("RA2", "35"), ("RA3", "30")):
        uses(database, code, quantity)
    uses(database, "RA1", "10", at=date(2026, 5, 4))
    rate_open_months(database, last=MAY, now=NOW)
    with database.transaction() as session:
        version = draft(session, POOLED)
        asked = operations.ask_for_simulation(
            session, version_id=version.id, first=APRIL, last=MAY, principal="usr_ann", now=NOW
        )
    assert do_waiting(database, now=NOW) == {"done": 1, "failed": 0, "lost": 0}
    with database.snapshot() as session:
        kept = queries.simulation(session, simulation_id=asked.id)
        found = queries.result(kept)
        assert queries.is_current(kept, version=session.get_one(TariffVersionRow, version.id))
    assert (kept.asked_by, kept.months_done, kept.finished_at) == ("usr_ann", 2, NOW)
    # April as the conformance vector has it: 6,720.00 together; May alone 100 + 9 × 80.
    assert [(m.month, str(m.charged), str(m.simulated)) for m in found.months] == [
        ("2026-04", "47.50", "6720.00"),
        ("2026-05", "5.00", "820.00"),
    ]
    assert str(found.difference) == "7487.50"
    assert [(r.organisation, str(r.charged), str(r.simulated)) for r in found.movers()] == [
        ("RA1", "20.00", "2942.11"),
        ("RA2", "17.50", "2475.79"),
        ("RA3", "15.00", "2122.10"),
    ]
    assert (found.gainers(), found.losers()) == (0, 3)
    assert [(r.service, r.meter, plain(r.quantity)) for r in found.by_meter()] == [
        ("imaging-archive", "studies-archived", "105")
    ]
    assert len(CSV_HEADER) == len(next(iter(csv_rows(found))))
    assert read_comparison(found.to_json()) == found


def test_simulating_the_prices_in_force_changes_nobodys_pennies(session: Session) -> None:
    make.source(session)
    make.meter(session)
    row = make.tariff(session, POOLED, make.price(meter=None, model="flat", amount="12.34"))
    for code in ("RA1", "RA2"):
        make.agreement(session, account=make.account(session, code=code))
        for month in (4, 5):
            make.usage(session, code=code, quantity="7", at=date(2026, month, 3))
    for month in (APRIL, MAY):
        rate_charges(session, month=month, now=NOW)
    same = draft(session, *row.content["prices"], version="same")
    found = compare(session, tariff=tariffs.parse_tariff(same.content), first=APRIL, last=MAY)
    assert found.difference == 0
    assert all(item.difference == 0 for item in found.rows)
    assert str(found.charged) == "2329.36"


def test_usage_that_the_draft_does_not_price_is_told_and_never_nought(session: Session) -> None:
    make.source(session)
    make.meter(session)
    make.tariff(session)
    make.agreement(session, account=make.account(session))
    make.usage(session, quantity="21")
    free = draft(session, make.price(meter=None, model="flat", amount="1.00"))
    found = compare(session, tariff=tariffs.parse_tariff(free.content), first=APRIL, last=APRIL)
    assert [(item.organisation, item.reason, plain(item.quantity)) for item in found.unpriced] == [
        ("RRK", "no-price", "21")
    ]
    assert str(found.simulated) == "1.00"


def test_a_draft_changed_since_is_seen_to_differ(session: Session) -> None:
    make.source(session)
    make.meter(session)
    make.tariff(session)
    version = draft(session, make.price(unit_price="0.40"))
    kept = operations.ask_for_simulation(
        session, version_id=version.id, first=APRIL, last=APRIL, principal="usr_ann", now=NOW
    )
    assert queries.is_current(kept, version=version)
    draft(session, make.price(unit_price="0.45"))
    assert not queries.is_current(kept, version=version)
    assert [row.id for row in queries.simulations(session, version_id=version.id)] == [kept.id]


@pytest.mark.parametrize(
    ("first", "last"),
    [(MAY, APRIL), (APRIL, Month(2026, 7)), (Month(2024, 5), Month(2026, 5))],
    ids=["backwards", "the future", "25 months"],
)
def test_months_that_cannot_be_simulated_are_refused(first: Month, last: Month) -> None:
    with pytest.raises(operations.SimulationSpanInvalid):
        operations.check_span(first, last, now=NOW)


def test_a_simulation_whose_process_died_is_given_up(session: Session) -> None:
    make.source(session)
    make.meter(session)
    make.tariff(session)
    version = draft(session, make.price())
    lost = operations.ask_for_simulation(
        session,
        version_id=version.id,
        first=APRIL,
        last=APRIL,
        principal="usr_ann",
        now=NOW,
        status="running",
    )
    later = NOW.replace(hour=12)
    assert operations.give_up(session, asked_before=NOW, now=later) == 0
    assert operations.give_up(session, asked_before=later, now=later) == 1
    session.refresh(lost)
    with pytest.raises(queries.SimulationNotDone, match="ended before it did"):
        queries.result(lost)
