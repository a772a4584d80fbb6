"""Tariff files: what the small YAML reads."""

import json
from decimal import Decimal

import pytest

from billing.tariffs.files import TariffUnreadable, load_document
from billing.tariffs.model import TariffRefused, parse_tariff


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


def test_a_repeated_key_is_refused_with_its_line() -> None:
    with pytest.raises(TariffUnreadable, match="line 2, column 1: 'a' is given twice"):
        load_document("a: 1\na: 2\n")
    with pytest.raises(TariffUnreadable, match="'a' is given twice"):
        load_document('{"a": 1, "a": 2}')


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x\n", "a: [", "{", '{"a": NaN}', "a: !!python/x 1"])
def test_what_is_not_a_plain_document_is_refused(text: str) -> None:
    with pytest.raises(TariffUnreadable):
        load_document(text)


def test_a_file_has_a_greatest_length() -> None:
    with pytest.raises(TariffUnreadable, match="longer"):
        load_document("a" * 1_000_001)


def test_a_fraction_without_quotes_is_refused_by_its_place() -> None:
    text = (
        "tariff: t\nversion: 1\neffective_from: 2026-04-01\nvat: zero\n"
        "prices:\n- {meter: m, model: per-unit, unit_price: 0.10}\n"
    )

    for written in (text, json.dumps(JSON_TARIFF)):
        with pytest.raises(TariffRefused) as refused:
            parse_tariff(load_document(written))
        (error,) = refused.value.errors
        assert (error.pointer, error.code) == ("/prices/0/unit_price", "unquoted-number")
        assert "in quotes" in error.detail


JSON_TARIFF = {
    "tariff": "t",
    "version": "1",
    "effective_from": "2026-04-01",
    "vat": "zero",
    "prices": [{"meter": "m", "model": "per-unit", "unit_price": 0.1}],
}
