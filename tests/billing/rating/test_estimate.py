"""`estimate`: the JSON of the tariff file's own format."""

import json

import pytest

from billing.rating.estimate import UsageRefused, estimate
from metering.periods import Month
from tests.billing.rating.make import JUNE, per_unit, tariff, tiers

APRIL = Month(2026, 4)


def test_the_designs_example_prints_its_json() -> None:
    usage = [
        {
            "organisation": "RRK",
            "meter": "studies-archived",
            "quantity": "21",
            "dimensions": {"modality": "CT"},
            "at": "2026-04-03T10:00:00+01:00",
        }
    ]
    archive = tariff(
        tiers(("100000", "0.50"), (None, "0.35"), scope="pool", band="peak")
        | {"meter": "studies-archived", "where": {"modality": "CT"}},
        bands={"peak": "Mon-Fri 08:00-18:00"},
    )

    document = json.loads(json.dumps(estimate(archive, usage, month=APRIL)))

    (charge,) = document["charges"]
    assert set(charge) == {
        "organisation",
        "meter",
        "price",
        "quantity",
        "exact",
        "amount",
        "working",
    }
    assert (charge["price"], charge["exact"], charge["amount"]) == (
        "studies-archived/modality=CT/peak/graduated",
        "10.5",
        "10.50",
    )
    assert set(document) == {"charges", "total"}
    assert document["total"] == "10.50"


def test_unpriced_usage_is_listed_beside_the_charges() -> None:
    usage = [{"organisation": "RRK", "meter": "other", "quantity": "1"}]

    document = estimate(tariff(per_unit("1")), usage, month=JUNE)

    assert document["charges"] == []
    assert document["parked"][0]["reason"] == "no-price"


def test_the_last_instant_of_a_london_month_is_in_it() -> None:
    row = {"organisation": "RRK", "meter": "m", "quantity": "1"}
    late = row | {"at": "2026-04-30T22:59:59Z"}
    after = row | {"at": "2026-04-30T23:00:00Z"}

    assert estimate(tariff(per_unit("1")), [late], month=APRIL)["total"] == "1.00"
    with pytest.raises(UsageRefused):
        estimate(tariff(per_unit("1")), [after], month=APRIL)


def test_every_fault_of_the_usage_is_told_by_its_place() -> None:
    usage = [
        {"organisation": "", "meter": "m", "quantity": 1.5},
        {"organisation": "RRK", "meter": "m", "quantity": "-1", "when": "now"},
        {"organisation": "RRK", "meter": "m", "quantity": "1.0000000001"},
        {"organisation": "RRK", "meter": "m", "quantity": "NaN", "at": "2026-04-01"},
        {"organisation": "RRK", "meter": "m", "quantity": "1", "dimensions": {"a": 1}},
        "RRK",
    ]

    with pytest.raises(UsageRefused) as refused:
        estimate(tariff(per_unit("1")), usage, month=APRIL)

    assert [error.pointer for error in refused.value.errors] == [
        "/0/organisation",
        "/0/quantity",
        "/1/when",
        "/1/quantity",
        "/2/quantity",
        "/3/quantity",
        "/3/at",
        "/4/dimensions",
        "/5",
    ]
