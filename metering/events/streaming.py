"""NDJSON that is read and decoded while it comes, and the encodings that bodies come in. Pure.

Of the bytes only a piece is held at a time, and of a line that is too long only its beginning.
Nothing is stored before the last line has come: a body that breaks off leaves nothing behind,
so that sending it again is always right.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from metering.events.decoding import (
    BODY_BYTES_MAX,
    EVENTS_MAX,
    BodyTooLarge,
    BodyUnreadable,
    Decoded,
    Item,
    MediaTypeUnsupported,
    Unreadable,
    read_line,
    shown_of,
)

LINE_BYTES_MAX = 1024 * 1024
"""Of one event in NDJSON."""

_PIECE = 128 * 1024
# So many bytes at once grow to two megabytes at most: a block of zstd has four bytes at least and
# 128 kB at most when decompressed, and deflate's least is a byte for 1,032.
_ZSTD_PIECE = 64
_GZIP_PIECE = 1024


class Source(Protocol):
    """What bytes are read from; nothing at its end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes."""


def opened(source: Source, encoding: str | None) -> Source:
    """Return what a `Content-Encoding` hides, to be read in pieces.

    Reading raises `BodyUnreadable` where the bytes are not of that encoding, or break off.

    Raises:
        MediaTypeUnsupported: it is neither gzip nor zstd nor identity.
    """
    name = (encoding or "identity").strip().lower()
    if name in {"", "identity"}:
        return source
    if name in {"gzip", "x-gzip"}:
        return _Frames(source, _begin_gzip, name="gzip", at_once=_GZIP_PIECE)
    if name == "zstd":
        frames = zstandard.ZstdDecompressor(max_window_size=BODY_BYTES_MAX)
        return _Frames(source, frames.decompressobj, name="zstd", at_once=_ZSTD_PIECE)
    raise MediaTypeUnsupported("The Content-Encoding may be gzip, zstd or identity.")


def _begin_gzip() -> "_Frame":
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


class _Frame(Protocol):
    """What decompresses one member of gzip or frame of zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: memoryview, /) -> bytes: ...


class _Frames:
    """Frames one after the other, of which the last must be whole.

    The libraries' own readers do not look at that (zstd), or fail where a read gives less
    than was asked for (gzip).
    """

    def __init__(self, source: Source, begin: Callable[[], _Frame], *, name: str, at_once: int):
        self._source, self._begin, self._name, self._at_once = source, begin, name, at_once
        self._frame: _Frame | None = None
        self._sent = memoryview(b"")
        self._ready = b""

    def read(self, size: int = -1, /) -> bytes:
        while not self._ready:
            if not self._sent:
                self._sent = memoryview(self._source.read(_PIECE))
            if not self._sent:
                if self._frame is not None:
                    raise BodyUnreadable(f"The body breaks off within its {self._name}.")
                return b""
            self._decompress()
        size = len(self._ready) if size < 0 else size
        piece, self._ready = self._ready[:size], self._ready[size:]
        return piece

    def _decompress(self) -> None:
        piece, self._sent = self._sent[: self._at_once], self._sent[self._at_once :]
        frame = self._frame or self._begin()
        try:
            self._ready = frame.decompress(piece)
        except (zlib.error, zstandard.ZstdError, MemoryError):
            raise BodyUnreadable(
                f"The body is not {self._name}, as its Content-Encoding says."
            ) from None
        self._frame = None if frame.eof else frame
        if frame.eof:
            self._sent = memoryview(frame.unused_data + self._sent)


def decompress(body: Source, encoding: str | None) -> bytes:
    """Undo the `Content-Encoding`; the result is bounded by `BODY_BYTES_MAX`.

    Raises:
        MediaTypeUnsupported: it is neither gzip nor zstd nor identity.
        BodyUnreadable: the bytes are not of that encoding.
        BodyTooLarge: it would grow beyond the bound.
    """
    return b"".join(_pieces(opened(body, encoding)))


def decode_lines(body: Source, encoding: str | None) -> Decoded:
    """Return the events of NDJSON, each decoded as soon as its line has come.

    A line that cannot be read, or has more than `LINE_BYTES_MAX` bytes, is one `Unreadable`
    among the others.

    Raises:
        MediaTypeUnsupported, BodyUnreadable, BodyTooLarge: as `decompress`.
        BodyTooLarge: more than `EVENTS_MAX` events.
    """
    items: list[Item] = []
    for line, whole in _lines(opened(body, encoding)):
        if not line.strip():
            continue
        if len(items) == EVENTS_MAX:
            raise BodyTooLarge(f"A request has at most {EVENTS_MAX} events.")
        items.append(read_line(line) if whole else _too_long(line))
    return Decoded(items)


def _too_long(line: bytes) -> Unreadable:
    detail = f"A line has at most {LINE_BYTES_MAX} bytes."
    return Unreadable(shown_of(line), None, "", "line-too-long", detail)


def _lines(body: Source) -> Iterator[tuple[bytes, bool]]:
    """Yield each line, and whether it is whole: of one too long its beginning is told."""
    begun, cut = b"", False  # of the line whose end has not come
    for piece in _pieces(body):
        *ended, rest = piece.split(b"\n")
        for end in ended:
            line = begun if cut else begun + end
            yield line, not cut and len(line) <= LINE_BYTES_MAX
            begun, cut = b"", False
        if not cut:
            begun += rest
            cut = len(begun) > LINE_BYTES_MAX
    yield begun, not cut


def _pieces(body: Source) -> Iterator[bytes]:
    """Yield the bytes piece by piece.

    Raises:
        BodyTooLarge: they are more than `BODY_BYTES_MAX`.
    """
    left = BODY_BYTES_MAX
    while piece := body.read(_PIECE):
        left -= len(piece)
        if left < 0:
            raise BodyTooLarge(f"A body has at most {BODY_BYTES_MAX} bytes, decompressed.")
        yield piece
