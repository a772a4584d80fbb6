"""NDJSON is decoded while it comes, in bounded memory, and nothing of a broken body is kept."""

import contextlib
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from metering.events import streaming
from metering.events.decoding import BodyTooLarge, BodyUnreadable, Envelope, Unreadable
from metering.events.streaming import decode_lines
from tests.metering.make import event

PRESSES: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


class Slow:
    """A client that sends some bytes at a time, and whose reads are counted."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""
        self.reads = 0

    def read(self, size: int = -1, /) -> bytes:
        self.reads += 1
        piece = self._left or next(self._pieces, b"")
        size = len(piece) if size < 0 else size
        self._left = piece[size:]
        return piece[:size]


def lines(*numbers: int) -> list[bytes]:
    return [json.dumps(event(number)).encode() for number in numbers]


def in_pieces(body: bytes, size: int) -> Slow:
    return Slow(body[at : at + size] for at in range(0, len(body), size))


def codes(items: Any) -> list[str | None]:
    return [item.code if isinstance(item, Unreadable) else None for item in items]


@pytest.mark.parametrize("encoding", PRESSES)
@given(size=st.integers(1, 700))
def test_however_it_is_cut_every_line_is_one_event(encoding: str, size: int) -> None:
    body = PRESSES[encoding](b"\r\n".join([*lines(1, 2), b"", b" ", *lines(3)]) + b"\n")
    found = decode_lines(in_pieces(body, size), encoding)
    assert [item.id for item in found.items if isinstance(item, Envelope)] == [
        event(number)["id"] for number in (1, 2, 3)
    ]
    assert not found.single


def test_a_line_is_decoded_before_the_next_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []  # which line was decoded after how many reads
    body = Slow(line + b"\n" for line in lines(1, 2, 3))
    read_line = streaming.read_line

    def noting(line: bytes) -> Any:
        told.append((len(told) + 1, body.reads))
        return read_line(line)

    monkeypatch.setattr(streaming, "read_line", noting)
    decode_lines(body, None)
    assert told == [(1, 1), (2, 2), (3, 3)]


def test_a_line_that_cannot_be_read_costs_no_other() -> None:
    first, second, third = lines(1, 2, 3)
    broken = second.replace(b"study", b"\xff\xfe", 1)
    found = decode_lines(in_pieces(b"\n".join([first, broken, b"{", b"7", third]), 50), None)
    assert codes(found.items) == [None, "line-unreadable", "line-unreadable", "not-an-event", None]


def test_a_line_that_is_too_long_costs_no_other_and_is_not_held() -> None:
    first, third = lines(1, 3)
    long = b'{"id":"' + b"x" * (6 * 1024 * 1024) + b'"}'
    body = gzip.compress(b"\n".join([first, long, third]))
    del long
    tracemalloc.start()
    found = decode_lines(io.BytesIO(body), "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes(found.items) == [None, "line-too-long", None]
    assert peak < 4 * streaming.LINE_BYTES_MAX
    assert len(json.dumps(found.items[1].body)) < 1100  # type: ignore[union-attr]  # as its code says


def test_a_line_at_the_end_is_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LINE_BYTES_MAX", 1000)
    padded = lines(1)[0].ljust(1000)
    assert codes(decode_lines(io.BytesIO(padded), None).items) == [None]
    assert codes(decode_lines(io.BytesIO(padded + b" "), None).items) == ["line-too-long"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bytes_that_break_off_are_refused_whole(encoding: str) -> None:
    whole = PRESSES[encoding](b"\n".join(lines(*range(1, 40))) + b"\n")
    for kept in (len(whole) - 1, len(whole) // 2, 3):
        with pytest.raises(BodyUnreadable):
            decode_lines(in_pieces(whole[:kept], 100), encoding)
    # Two one after the other, as `cat` makes them, are one.
    assert len(decode_lines(in_pieces(whole + whole, 100), encoding).items) == 78


@pytest.mark.parametrize("encoding", PRESSES)
def test_too_many_bytes_or_events_are_refused_as_soon_as_they_are_seen(encoding: str) -> None:
    press = PRESSES[encoding]
    with pytest.raises(BodyTooLarge, match="bytes"):
        decode_lines(io.BytesIO(press(b"\n" * (9 * 1024 * 1024))), encoding)
    with pytest.raises(BodyTooLarge, match="10000 events"):
        decode_lines(io.BytesIO(press(b"1\n" * 10_001)), encoding)
    assert len(decode_lines(io.BytesIO(press(b"1\n" * 10_000)), encoding).items) == 10_000


@given(body=st.binary(max_size=80), encoding=st.sampled_from([*PRESSES]))
def test_whatever_comes_is_read_or_refused(body: bytes, encoding: str) -> None:
    with contextlib.suppress(BodyUnreadable):
        decode_lines(io.BytesIO(body), encoding)
