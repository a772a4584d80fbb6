"""The conformance vectors of sharing and VAT, every case.

Of the three ways to round VAT paygo follows `per_invoice_half_up`; it never rounds
down (`per_invoice_down`), and by line only here, to show that the sums differ.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.money import share_out, sum_pounds, to_pennies, vat_on

HERE = Path(__file__).parent


def cases(name: str) -> list[Any]:
    found = json.loads((HERE / name).read_text("utf-8"))
    return [pytest.param(case, id=case["id"]) for case in found]


@pytest.mark.parametrize("case", cases("sharing.json"))
def test_a_total_is_shared_to_the_last_penny(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    weights = {str(place): Decimal(weight) for place, weight in enumerate(inputs["weights"])}
    shares = share_out(Decimal(inputs["total"]), weights)
    if inputs.get("subtract"):
        left = [weight - shares[place] for place, weight in weights.items()]
    else:
        left = [shares[place] for place in weights]

    assert left == [Decimal(part) for part in case["expected"]]
    assert sum_pounds(list(shares.values())) == Decimal(inputs["total"])


@pytest.mark.parametrize("case", cases("vat.json"))
def test_vat_is_rounded_once_on_the_sum_of_a_rates_lines(case: dict[str, Any]) -> None:
    lines = [Decimal(line) for line in case["inputs"]["net_lines"]]
    percent = Decimal(case["inputs"]["rate"]) * 100
    expected = case["expected"]

    assert sum_pounds(lines) == Decimal(expected["net"])
    assert vat_on(sum_pounds(lines), rate_percent=percent) == Decimal(
        expected["per_invoice_half_up"]
    )
    by_line = sum_pounds([to_pennies(line * percent / 100) for line in lines])
    assert by_line == Decimal(expected["per_line_half_up"])
