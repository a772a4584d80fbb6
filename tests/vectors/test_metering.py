"""The conformance vectors of time, aggregation and NHS numbers, every case."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from metering.kit.nhs_number import holds_nhs_number, is_nhs_number, mask_nhs_numbers
from metering.meters import aggregation
from metering.periods import Month, Period, london_day

HERE = Path(__file__).parent
# What GOV.UK Notify charged for a text message from London dates.
NOTIFY_RATES = ((date(2025, 4, 1), "0.0233"), (date(2026, 4, 1), "0.024"))


def cases(name: str) -> list[Any]:
    found = json.loads((HERE / name).read_text("utf-8"))
    return [pytest.param(case, id=case["id"]) for case in found]


def written(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def rate_at(inputs: dict[str, Any]) -> dict[str, Any]:
    instant = datetime.fromisoformat(inputs["instant"])
    month = Month.of(instant)
    return {
        "london_date": london_day(instant).isoformat(),
        "financial_year": month.financial_year,
        "rate": [rate for start, rate in NOTIFY_RATES if start <= london_day(instant)][-1],
        "billing_month": str(month),
    }


TIME_RULES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "month_hours": lambda inputs: str(Month.parse(inputs["month"]).period.hours),
    "month_bounds_utc": lambda inputs: [
        written(Month.parse(inputs["month"]).period.start),
        written(Month.parse(inputs["month"]).period.end or datetime.max.replace(tzinfo=UTC)),
    ],
    "period_of": lambda inputs: str(Month.of(datetime.fromisoformat(inputs["event"]))),
    "rate_at_instant": rate_at,
}


@pytest.mark.parametrize("case", cases("time.json"))
def test_time_is_londons(case: dict[str, Any]) -> None:
    assert TIME_RULES[case["rule"]](case["inputs"]) == case["expected"]


def observed(event: dict[str, str]) -> tuple[datetime, Decimal]:
    return datetime.fromisoformat(event["t"]), Decimal(event["v"])


def weighted_sum(inputs: dict[str, Any]) -> Fraction:
    return aggregation.weighted_changes(
        [observed(event) for event in inputs["events"]],
        period=Period(datetime.fromisoformat(inputs["from"]), datetime.fromisoformat(inputs["to"])),
        initial=Decimal(inputs.get("initial", "0")),
    )


def aggregate(inputs: dict[str, Any]) -> Decimal | int | None:
    events = inputs["events"]
    kind = inputs["aggregation"]
    if kind == "unique_add_remove":
        return aggregation.standing_count((event["op"], event["v"]) for event in events)
    if kind == "count":
        return len(events)
    values = [Decimal(event["v"]) for event in events]
    return {"max": aggregation.maximum, "sum": aggregation.total}[kind](values)


@pytest.mark.parametrize("case", cases("aggregation.json"))
def test_observations_add_up(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    if case["rule"] == "weighted_sum":
        average = weighted_sum(inputs)
        places = Decimal(1).scaleb(-int(inputs["round_dp"]))
        rounded = (Decimal(average.numerator) / average.denominator).quantize(
            places, rounding=ROUND_HALF_UP
        )
        assert rounded == Decimal(case["expected"])
    elif case["rule"] == "unique_keys":
        keys = [(event["source"], event["id"]) for event in inputs["events"]]
        assert str(aggregation.unique_count(keys)) == case["expected"]
    else:
        assert case["rule"] == "aggregate"
        assert str(aggregate(inputs)) == case["expected"]


@pytest.mark.parametrize("case", cases("nhs_number.json"))
def test_an_nhs_number_is_known_by_its_check_digit(case: dict[str, Any]) -> None:
    valid = case["expected"]["valid"]
    for text in (case["inputs"]["value"], case["inputs"]["display"]):
        assert is_nhs_number(text) is valid
        assert holds_nhs_number(f"patient {text}, CT") is valid
        assert (text in mask_nhs_numbers(f"patient {text}, CT")) is not valid
