"""What a request sends as JSON is read exactly, or refused with the reason."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.kit.errors import Malformed
from metering.kit.json_bodies import read_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
)


@given(values, st.booleans())
def test_what_is_right_is_read_as_it_stands(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read_json(text) == read_json(text.encode()) == value


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        read_json(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b'"\xff"', "not"),
        (b"[" * 100_000, "too deep"),
        (b"[NaN]", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b"1e400", "not JSON"),
        (b"1" * 5_000, "not JSON"),
        (b'{"a": {"b": 1, "b": 1}}', "names a member twice"),
        (b'[{"a": "x\\u0000"}]', "null character"),
        (b'[{"x\\u0000": 1}]', "null character"),
        (b'"\\ud800"', "not JSON"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(body: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read_json(body)


def test_a_backslash_is_no_null_character() -> None:
    assert read_json(rb'"\\u0000"') == r"\u0000"
