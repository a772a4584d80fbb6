"""The conformance vectors of prices and pools, every case."""

import json
from pathlib import Path
from typing import Any

import pytest

from billing.rating.estimate import estimate
from billing.tariffs.model import parse_tariff, to_document
from metering.periods import Month

CASES = json.loads((Path(__file__).parent / "pricing.json").read_text("utf-8"))


def test_every_published_example_is_here() -> None:
    assert len(CASES) == 71


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_published_example_comes_to_its_published_amount(case: dict[str, Any]) -> None:
    tariff = parse_tariff(case["tariff"])

    document = estimate(tariff, case["usage"], month=Month.parse(case["month"]))

    charges = [
        {"organisation": charge["organisation"], "amount": charge["amount"]}
        for charge in document["charges"]
    ]
    assert charges == case["expected"]["charges"]
    assert document["total"] == case["expected"]["total"]
    assert "parked" not in document


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_tariff_written_back_is_the_same_tariff(case: dict[str, Any]) -> None:
    tariff = parse_tariff(case["tariff"])

    assert parse_tariff(to_document(tariff)) == tariff
