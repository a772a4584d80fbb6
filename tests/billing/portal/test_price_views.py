"""The price list and the calculator, which rates as invoices are rated."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.portal.calculator import work_out
from billing.portal.price_words import price_notes, price_words
from billing.tariffs.model import Tariff, parse_tariff
from metering.kit.db import Database
from metering.periods import Month
from tests import make, web
from tests.scenarios import story
from tests.trusts import ODS, Shown

PRICES = f"/portal/{ODS}/prices"


def tariff(*prices: dict[str, object], **further: object) -> Tariff:
    return parse_tariff(
        {
            "tariff": "imaging-archive",
            "version": "v1",
            "effective_from": date(2026, 4, 1).isoformat(),
            "vat": "standard",
            "prices": list(prices),
            **further,
        }
    )


@pytest.fixture
def finance(shown: Shown) -> FlaskClient:
    """A browser of the first trust's finance viewer."""
    return shown.finance()


def test_the_price_list_says_every_price_in_words(finance: FlaskClient) -> None:
    page = finance.get(PRICES).text
    for words in (
        "In force on 20 May 2026",
        "Above 100, up to 2,000: £0.40 each",
        "£250.00 a month",
        "£0.0227 each",
        "The first 500 each month cost nothing.",
        "Tiers are reached by the national pool together",
        "You use this",
    ):
        assert words in page


def test_the_calculator_takes_others_of_the_pool_into_account(finance: FlaskClient) -> None:
    page = finance.get(f"{PRICES}/imaging-archive?q0=1,000").text
    for words in (
        "A month would cost",
        "the other members of the national pool use 2,140, as they did in April 2026",
        "Monthly charge: £250.00",
        'value="1,000"',
    ):
        assert words in page


def test_what_was_typed_is_kept_when_it_is_no_number(finance: FlaskClient) -> None:
    answer = finance.get(f"{PRICES}/imaging-archive?q0=many")
    assert answer.status_code == 422
    for words in ("There is a problem", "Enter a number, for example 1200.", 'value="many"'):
        assert words in answer.text
    empty = finance.get(f"{PRICES}/imaging-archive?q0=")
    assert "Enter at least one quantity." in empty.text


def test_a_service_without_prices_has_no_calculator(finance: FlaskClient) -> None:
    assert finance.get(f"{PRICES}/nonsense").status_code == 404


def test_the_calculator_finds_an_hour_in_the_band_of_each_price() -> None:
    found = tariff(
        make.price(band="peak", unit_price="2.00"),
        make.price(unit_price="1.00"),
        bands={"peak": "Mon-Fri 08:00-18:00"},
    )
    form, worked_out = work_out(
        found, code="RRK", typed={"q0": "10"}, month=Month(2026, 4), others={}
    )
    assert not form.errors
    assert worked_out is not None
    assert worked_out.total == Decimal("20.00")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, ("£0.50 each",)),
        (
            {
                "model": "volume",
                "tiers": [
                    {"up_to": "10", "unit_price": "2", "flat": "5"},
                    {"up_to": None, "unit_price": "1"},
                ],
            },
            (
                "Up to 10: £2.00 for every one of them and £5.00 once",
                "Above 10: £1.00 for every one of them",
            ),
        ),
        (
            {"model": "package", "package_size": "1000", "package_price": "9.5"},
            ("£9.50 for each started 1,000",),
        ),
        ({"model": "percentage", "percent": "2.5"}, ("2.5% of the value",)),
        ({"model": "flat", "amount": "250"}, ("£250.00 a month",)),
    ],
)
def test_each_model_of_price_is_put_into_words(
    said: dict[str, object], words: tuple[str, ...]
) -> None:
    assert price_words(tariff(make.price(**said)).prices[0]) == words


def test_conditions_of_a_price_are_put_into_words() -> None:
    found = tariff(
        make.price(
            included={"quantity": "1000", "per": "financial-year"},
            discount_percent="5",
            minimum="50.00",
            maximum="5000.00",
            resets="financial-year",
            band="peak",
            convert={"divide_by": "1000", "unit": "GB"},
        ),
        bands={"peak": "Mon-Fri 08:00-18:00"},
    )
    assert price_notes(found.prices[0], found) == (
        "Counted in GB: what is metered, divided by 1,000.",
        "For use in the band peak: Mon-Fri 08:00-18:00.",
        "The first 1,000 each financial year cost nothing.",
        "Less 5%.",
        "At least £50.00 a month.",
        "At most £5,000.00 a month.",
        "Tiers continue through the financial year, from April.",
    )


def test_terms_of_ones_own_stand_beside_the_prices_that_they_change(
    app: Flask, clock: web.Clock, database: Database
) -> None:
    clock.now = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)
    story.service(database)
    trust, other = story.trusts(database, "RA1", "RA2")
    with database.transaction() as session:
        own = {**make.price(unit_price="0.30"), "label": "Studies, our price"}
        make.local_terms(session, {"prices": [own], "discount_percent": "7.5"}, account_id=trust.id)
    pages = {
        code: web.signed_in(
            app, [Grant(Role.FINANCE_VIEWER, account_id=account.id)], email=f"{code}@x.example"
        )
        .get(f"/portal/{code}/prices")
        .text
        for code, account in (("RA1", trust), ("RA2", other))
    }
    for words in ("1 local price, 7.5% off, from 1 April 2026", "Studies, our price", "£0.30 each"):
        assert words in pages["RA1"]
        assert words not in pages["RA2"]
    assert "£0.50 each" not in pages["RA1"]
    assert "£0.50 each" in pages["RA2"]
