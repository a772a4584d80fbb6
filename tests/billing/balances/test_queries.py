"""At M9 and M12 both sides agree what is owed and what was earned."""

from datetime import date
from decimal import Decimal

import pytest

from billing.accruals.operations import take_accruals
from billing.balances.queries import (
    BALANCES_HEADER,
    NotAnAgreementMonth,
    agreement_months,
    agreement_of_balances,
    balance_rows,
)
from billing.disputes.operations import raise_dispute
from billing.runs import work
from metering.kit.db import Database
from metering.periods import Month, london_midnight
from tests.scenarios import story
from tests.scenarios.story import month_end, service, trusts, uses

FEBRUARY, MARCH = Month(2026, 2), Month(2026, 3)


def test_the_year_end_statement_says_what_is_owed_accrued_and_earned(database: Database) -> None:
    service(database, effective_from=date(2025, 4, 1))
    trusts(database, "RA1", "RA2", starts_on=date(2025, 4, 1))
    uses(database, "RA1", "100", at=date(2026, 2, 10))
    (invoice,) = month_end(database, FEBRUARY)["RA1"]
    uses(database, "RA1", "30", at=date(2026, 3, 10))
    work.rate_open_months(database, last=MARCH, now=story.after(MARCH))
    with database.snapshot() as session:
        (one,) = agreement_of_balances(session, month=MARCH)
        assert [debt.number for debt in one.invoices] == [invoice.number]
        assert (str(one.receivable), str(one.balance), str(one.credit)) == (
            "60.00",
            "60.00",
            "0.00",
        )
        assert (str(one.income), str(one.accrued)) == ("50.00", "15.00")
        (row,) = balance_rows([one])
        said = dict(zip(BALANCES_HEADER, row, strict=True))
        assert said["Income this year without VAT (GBP)"] == "50.00"


def test_balances_are_agreed_at_m9_and_m12_alone(database: Database) -> None:
    with database.snapshot() as session:
        assert agreement_of_balances(session, month=Month(2025, 12)) == []
        with pytest.raises(NotAnAgreementMonth):
            agreement_of_balances(session, month=FEBRUARY)


def test_a_closed_months_statement_does_not_move(database: Database) -> None:
    """Disputes are as they were, accruals as they were taken; both go on changing."""
    service(database, effective_from=date(2025, 4, 1))
    (trust,) = trusts(database, "RA1", starts_on=date(2025, 4, 1))
    uses(database, "RA1", "100", at=date(2026, 2, 10))
    (invoice,) = month_end(database, FEBRUARY)["RA1"]
    uses(database, "RA1", "30", at=date(2026, 3, 10))
    work.rate_open_months(database, last=MARCH, now=story.after(MARCH))
    with database.transaction() as session:
        take_accruals(session, month=MARCH, principal="usr_a", now=story.after(MARCH))
        for day, line in ((date(2026, 3, 20), 1), (date(2026, 4, 2), None)):
            raise_dispute(
                session,
                account_id=trust.id,
                invoice_id=invoice.id,
                line_number=line,
                reason="quantity",
                text="We used less.",
                quantity=Decimal(10) if line else None,
                principal="usr_b",
                now=london_midnight(day),
            )
    (april,) = month_end(database, MARCH)["RA1"]
    assert str(april.net) == "15.00"
    with database.snapshot() as session:
        (one,) = agreement_of_balances(session, month=MARCH, account_id=trust.id)
    assert (str(one.disputed), str(one.accrued), str(one.receivable)) == ("6.00", "15.00", "60.00")
    assert [month.name for month in agreement_months(today=date(2026, 4, 2), count=3)] == [
        "March 2026",
        "December 2025",
        "March 2025",
    ]
