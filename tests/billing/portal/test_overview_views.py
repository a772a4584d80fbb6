"""The overview and the statement: what a finance officer sees first, and what is owed."""

from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.charges import operations as charging
from metering.kit.db import Database
from tests import make, web
from tests.scenarios import story
from tests.trusts import ODS, Shown


@pytest.fixture
def finance(shown: Shown) -> FlaskClient:
    """A browser of the first trust's finance viewer."""
    return shown.finance()


def test_a_finance_officer_of_one_trust_is_led_to_its_overview(finance: FlaskClient) -> None:
    assert finance.get("/portal/").location == f"/portal/{ODS}/"


def test_the_overview_says_what_the_month_comes_to_and_what_is_owed(finance: FlaskClient) -> None:
    page = finance.get(f"/portal/{ODS}/").text
    for words in (
        "May 2026 so far",
        "Used but not invoiced yet",
        "Next by 4 June 2026",
        "Saved by the national pool",
        "In 2026/27 so far",
        "Worked out today at 11:00am",
        "Imaging archive",
        "See all invoices",
    ):
        assert words in page


def test_the_overview_explains_the_last_month_by_the_one_before(
    app: Flask, database: Database, clock: web.Clock
) -> None:
    story.service(database)
    (trust,) = story.trusts(database, "RRK")
    story.uses(database, "RRK", "10")
    story.uses(database, "RRK", "30", at=date(2026, 5, 15))
    with database.transaction() as session:
        make.meter(session, code="unpriced")
        make.usage(session, code="RRK", quantity="7", meter="unpriced", at=date(2026, 6, 1))
    clock.now = story.after(story.MAY)
    for month in (story.APRIL, story.MAY, story.JUNE):
        with database.transaction() as session:
            charging.rate_charges(session, month=month, now=clock.now)
    browser = web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=trust.id)])
    page = browser.get("/portal/RRK/").text
    assert "Why May 2026 differs from April 2026" in page
    assert "May 2026 came to £15.00, £10.00 more than April 2026." in page
    assert "Using 20 studies more added £10.00." in page
    assert "Some usage has no price yet and is not charged: 7 studies (Unpriced)." in page
    # All of April and May, as nothing is invoiced yet.
    assert "£20.00" in page


def test_a_trust_that_used_nothing_is_told_what_will_appear(app: Flask, database: Database) -> None:
    with database.transaction() as session:
        account = make.account(session)
    browser = web.signed_in(app, [Grant(Role.FINANCE_VIEWER, account_id=account.id)])
    assert "Nothing has been charged yet." in browser.get("/portal/RRK/").text
    assert "Nothing is open" in browser.get("/portal/RRK/statement").text


def test_the_statement_adds_up_to_what_is_owed(shown: Shown, finance: FlaskClient) -> None:
    page = finance.get(f"/portal/{ODS}/statement").text
    for words in (
        "Balance brought forward on 1 April 2026: nothing owed.",
        f"Invoice {shown.numbers[ODS]}",
        "Credit note PC-2627-000001",
        "Not due yet",
    ):
        assert words in page
    rows = finance.get(f"/portal/{ODS}/statement.csv").text.splitlines()
    balance = next(row.split(",")[3] for row in reversed(rows) if row.split(",")[3])
    assert f"Balance now: £{balance} owed." in page


@pytest.mark.parametrize(
    "query", ["year=2024", "year=2099", "year=nonsense", "direction=descending&sort=on"]
)
def test_any_year_that_is_asked_for_has_a_statement(finance: FlaskClient, query: str) -> None:
    assert finance.get(f"/portal/{ODS}/statement?{query}").status_code == 200
