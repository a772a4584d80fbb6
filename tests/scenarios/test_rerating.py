"""Any invoice can be rated again from what is stored, to the same pennies."""

from datetime import date
from decimal import Decimal

from sqlalchemy import text

from billing.runs.rerating import Standing, rerate_invoice, rerate_month
from metering.kit.db import Database
from tests import make
from tests.scenarios.story import APRIL, MAY, month_end, service, trusts, uses

POOLED = make.price(
    model="graduated",
    scope="pool",
    tiers=[{"up_to": "10", "unit_price": "1.01"}, {"up_to": None, "unit_price": "0.37"}],
)


def test_an_invoice_rated_again_comes_to_the_same_pennies(database: Database) -> None:
    service(database, POOLED, make.price(meter=None, model="flat", amount="99.99"))
    trusts(database, "RA1", "RA2", "RA3")
    for code, quantity in (("RA1", "7"), ("RA2", "11"), ("RA3", "13")):
        uses(database, code, quantity)
    documents = month_end(database, APRIL)
    with database.snapshot() as session:
        for code, (invoice,) in documents.items():
            found = rerate_invoice(session, account_id=invoice.account_id, invoice_id=invoice.id)
            assert [one.standing for one in found] == [Standing.SAME] * 2, code
            assert sum(one.rerated for one in found) == invoice.net


def test_late_usage_is_a_change_and_no_fault_until_it_is_invoiced(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    month_end(database, APRIL)
    uses(database, "RRK", "4", at=date(2026, 4, 20))
    with database.snapshot() as session:
        (one,) = rerate_month(session, month=APRIL)
        assert (one.standing, one.invoiced, one.rerated) == (
            Standing.CHANGED,
            Decimal("5.00"),
            Decimal("7.00"),
        )
    month_end(database, MAY)
    with database.snapshot() as session:
        (one,) = rerate_month(session, month=APRIL)
        assert (one.standing, one.invoiced) == (Standing.SAME, Decimal("7.00"))


def test_a_charge_that_was_tampered_with_is_a_fault(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "10")
    month_end(database, APRIL)
    with database.transaction() as session:
        session.execute(text("UPDATE charges SET amount = amount + 0.01"))
    with database.snapshot() as session:
        (one,) = rerate_month(session, month=APRIL)
        assert one.standing is Standing.FAULT
