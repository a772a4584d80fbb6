"""NHS numbers are found and masked anywhere, and nothing else is."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.kit.nhs_number import MASK, holds_nhs_number, is_nhs_number, mask_nhs_numbers


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("9434765919", MASK),
        ("NHS9434765919x", f"NHS{MASK}x"),
        ("943-476-5919", MASK),
        ("943\u00a0476\u00a05919 and 9991234500", f"{MASK} and {MASK}"),
        ("12 943 476 5919", f"12 {MASK}"),
        ("https://a.example/9434765919/images", f"https://a.example/{MASK}/images"),
    ],
)
def test_a_valid_number_is_masked_wherever_it_stands(text: str, masked: str) -> None:
    assert holds_nhs_number(text)
    assert mask_nhs_numbers(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9991234501",
        "94347659190",
        "19434765919",
        "2026-04-03 10:00",
        "00000000-0000-4000-8000-0a9434765919",
        "943 4765919",
    ],
)
def test_other_digits_stay(text: str) -> None:
    assert not holds_nhs_number(text)
    assert mask_nhs_numbers(text) == text


def test_a_number_whose_check_would_be_ten_does_not_exist() -> None:
    # 10×1 + 9×0 … leaves remainder 1 for several stems; no digit can follow them.
    stems = [
        stem
        for stem in range(400000000, 400000200)
        if not any(is_nhs_number(f"{stem}{digit}") for digit in range(10))
    ]

    assert len(stems) in range(15, 22)


@given(st.text(alphabet="0123456789 -ab", max_size=40))
def test_nothing_valid_is_left_after_masking(text: str) -> None:
    assert not holds_nhs_number(mask_nhs_numbers(text))


@given(st.uuids())
def test_identifiers_are_never_touched(identifier: UUID) -> None:
    assert mask_nhs_numbers(str(identifier)) == str(identifier)
