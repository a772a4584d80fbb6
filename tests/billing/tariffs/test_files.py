"""Tariff files: what the small YAML reads."""

from decimal import Decimal

import pytest

from billing.tariffs.files import load_document


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("name: n", {"name": "n"}),
        ("a: nullable", {"a": "nullable"}),
        ("a: trueish", {"a": "trueish"}),
        ("a: 2026-04-01", {"a": "2026-04-01"}),
        ("a: 14 days", {"a": "14 days"}),
        ("a: 1.5 GB", {"a": "1.5 GB"}),
        ("a: null", {"a": None}),
        ("a:", {"a": None}),
        ("a: true", {"a": True}),
        ("a: -12", {"a": -12}),
        ("a: 0.50", {"a": Decimal("0.50")}),
    ],
)
def test_only_a_whole_value_is_more_than_text(written: str, read: object) -> None:
    assert load_document(written) == read
