"""A working that is kept as facts gives the same words and figures as when it was worked out."""

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from billing.charges.facts import FactWriter, read_working
from billing.rating.model import (
    ALWAYS,
    Agreement,
    Charge,
    Commitment,
    GroupMembership,
    LocalTerms,
    Position,
    Usage,
)
from billing.rating.pools import freeze
from billing.tariffs.model import Tariff
from tests.billing.rating.make import rate, tariff, used
from tests.billing.rating.test_properties import dated, own_prices, pooled


def _kept(charges: Iterable[Charge]) -> list[str]:
    """Check every charge; return the names of the steps that were seen."""
    writer = FactWriter()
    seen = []
    for charge in charges:
        assert read_working(json.loads(writer.facts(charge.steps))) == charge.working
        seen += [step.name for step in charge.steps]
    return seen


@given(own_prices(), dated)
def test_any_price_of_ones_own(price: dict[str, Any], usage: list[Usage]) -> None:
    assert "round" in _kept(rate(tariff(price), *usage).charges) or not usage


@given(pooled, dated)
def test_a_pool_and_its_frozen_price(priced: Tariff, usage: list[Usage]) -> None:
    result = rate(priced, *usage)
    assert "share" in _kept(result.charges)
    if any(item.quantity for item in usage):
        (pool,) = result.pools
        late = rate(priced, *usage, used("RA1", "7"), frozen=[freeze(pool, result.charges)])
        assert "frozen" in _kept(late.charges)


def test_a_flat_price_for_part_of_a_month_with_a_shared_shortfall() -> None:
    promised = LocalTerms(
        "promise",
        ALWAYS,
        discount_percent=Decimal("2.5"),
        commitment=Commitment(Decimal(900)),
        group="g",
    )
    agreements = [
        Agreement(code, "t", start, groups=(GroupMembership("g"),), terms=(promised,))
        for code, start in (("RA1", date(2026, 4, 1)), ("RB2", date(2026, 6, 11)))
    ]
    flat = {"model": "flat", "amount": "100.00", "meter": None}
    result = rate(tariff(flat), agreements=agreements)
    assert {"price", "discount", "commit", "split", "round"} <= set(_kept(result.charges))


def test_a_financial_years_tiers_and_inclusion() -> None:
    price = {
        "model": "volume",
        "resets": "financial-year",
        "included": {"quantity": "10", "per": "financial-year"},
        "tiers": [
            {"up_to": "100", "unit_price": "2"},
            {"up_to": None, "unit_price": "1"},
        ],
    }
    history = [
        Position("RA1", None, "t", "m/volume", free_used=Decimal(4), billable=Decimal("97.5"))
    ]
    result = rate(tariff(price), used("RA1", "12"), history=history)
    assert _kept(result.charges) == ["include", "price", "round"]


def test_words_that_were_kept_as_words_stay_as_they_are() -> None:
    said = [{"step": "round", "text": "£1.00 exactly: nothing to round."}]
    assert read_working(said) == tuple(said)
    assert read_working([]) == ()


def test_facts_of_another_format_are_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        read_working([2, ["round", "1", "1.00", "half-up"]])
