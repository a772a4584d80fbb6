"""What is refused at the call, and how numbers and instants are written."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.client import events


@pytest.mark.parametrize(
    ("quantity", "written"),
    [
        (1, "1"),
        ("1.50", "1.50"),
        (Decimal("0.000000001"), "0.000000001"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.0"), "0.0"),
        (Decimal("1.5000000000000"), "1.500000000"),
        ("0e50", "0"),
        ("0e-50", "0.000000000"),
        (10**18 - 1, "999999999999999999"),
        ("999999999999999999.999999999", "999999999999999999.999999999"),
    ],
)
def test_quantities_are_plain_decimal_strings(quantity: Any, written: str) -> None:
    assert events.write_quantity(quantity) == written


@given(st.decimals(0, 10**12, places=9))
def test_any_allowed_quantity_is_written_exactly(quantity: Decimal) -> None:
    written = events.write_quantity(quantity)
    assert Decimal(written) == quantity
    assert "E" not in written


@pytest.mark.parametrize("quantity", [1.5, True, None, b"1", 1j])
def test_what_is_not_an_exact_number_is_a_type_error(quantity: Any) -> None:
    with pytest.raises(TypeError):
        events.write_quantity(quantity)


@pytest.mark.parametrize(
    "quantity",
    [
        "NaN",
        "Infinity",
        "-1",
        "-0.1",
        "many",
        "",
        "0.0000000001",
        "1.2345678901",
        10**18,
        "1e99999",
    ],
)
def test_senseless_quantities_are_value_errors(quantity: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        events.write_quantity(quantity)


def test_instants_are_written_in_utc_through_the_autumn_fold() -> None:
    first = datetime(2026, 10, 25, 1, 30, tzinfo=timezone(timedelta(hours=1)))
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert events.write_instant(first) == "2026-10-25T00:30:00.000000Z"
    assert events.write_instant(second) == "2026-10-25T01:30:00.000000Z"


def usage(**changes: Any) -> events.Event:
    members: dict[str, Any] = {
        "event_id": "1",
        "source": "imaging-archive",
        "event_type": "study.archived",
        "organisation": "RRK",
        "at": datetime(2026, 4, 3, tzinfo=UTC),
        "quantity": 1,
        "quantity_field": "quantity",
        "dimensions": {},
    }
    return events.usage(**(members | changes))


def test_an_event_without_quantity_counts_as_one() -> None:
    assert usage(quantity=None, dimensions={"modality": "CT"})["data"] == {"modality": "CT"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"organisation": ""}, ValueError),
        ({"organisation": None}, TypeError),
        ({"event_type": "  "}, ValueError),
        ({"event_id": 7}, TypeError),
        ({"at": datetime(2026, 4, 3)}, ValueError),  # noqa: DTZ001 - what is refused
        ({"at": "2026-04-03"}, TypeError),
        ({"dimensions": {"slices": 3}}, TypeError),
        ({"dimensions": {"quantity": "3"}}, ValueError),
        ({"replaces": ""}, ValueError),
    ],
)
def test_faulty_members_are_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        usage(**changes)


def test_an_event_beyond_64_kib_or_outside_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        events.encode(usage(dimensions={"note": "x" * 70_000}))
    with pytest.raises(ValueError, match="surrogates"):
        events.encode(usage(dimensions={"note": "\ud800"}))
