"""Clients that send the body of a request slowly, or never, hold no more than their share.

A thread that reads a body waits until it has come: the server has no time limit of its own
for that, and a few dozen such clients would hold every thread. Here only some of a process's
threads may wait for bodies at once; whatever has none goes on by the others. Who may begin
may also end: a body that is read in pieces keeps its place until its last byte, so that nobody
is told in the middle that there are too many. And when all of those have waited for too long,
the process ends and the server starts another, which cuts the slow ones off: what was not
answered is sent again.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from metering.kit.errors import Unavailable
from metering.kit.logs import get_logger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = get_logger(__name__)
_END_STATUS = 3
_LENGTH_DIGITS_MAX = 18

STEADY_BYTES_PER_SECOND = 32 * 1024
"""Who sends so many does not wait, however long the whole takes."""


class BodiesUnfinished(Unavailable):
    """Too many others send their requests too slowly. Try again in a moment."""

    code = "bodies-unfinished"
    title = "Too many unfinished requests"


def content_length(said: str) -> int | None:
    """Return how many bytes a `Content-Length` says, None where it is no number of them."""
    known = said.isascii() and said.isdecimal() and len(said) <= _LENGTH_DIGITS_MAX
    return int(said) if known else None


def end_process() -> None:
    """End this process at once; its parent starts another."""
    os._exit(_END_STATUS)


class Bodies:
    """Hands requests on, and bounds how many threads wait for what clients have yet to send.

    Args:
        at_once: threads that may wait for bodies.
        seconds: how long all of them may wait before `end` is called.
        end: ends this process.
        monotonic: seconds that only go forwards.
    """

    def __init__(
        self,
        inner: "WSGIApplication",
        *,
        at_once: int,
        seconds: float,
        end: Callable[[], None] = end_process,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._at_once = at_once
        self._seconds = seconds
        self._end = end
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: dict[int, float] = {}

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer as WSGI wants it."""
        length: str = environ.get("CONTENT_LENGTH", "")
        if not length and "HTTP_TRANSFER_ENCODING" not in environ:
            return self._inner(environ, start_response)
        # A length that is no number is refused by whoever reads.
        left = content_length(length)
        body = environ["wsgi.input"] = _Body(environ["wsgi.input"], self, left)
        try:
            return self._inner(environ, start_response)
        finally:
            self.leave(body)

    def enter(self, body: object) -> None:
        """Count a thread that waits for a body from now on.

        Raises:
            BodiesUnfinished: enough of them wait already.
        """
        now = self.monotonic()
        with self._lock:
            if len(self._waiting) >= self._at_once:
                if now - max(self._waiting.values()) > self._seconds:
                    _log.error("slow clients hold every reader", waiting=len(self._waiting))
                    self._end()
                raise BodiesUnfinished(
                    "Too many other requests are unfinished; try again.", retry_after=2
                )
            self._waiting[id(body)] = now

    def came(self, body: object, count: int) -> None:
        """Note that so many bytes of a body came, for which its client is allowed some time."""
        now = self.monotonic()
        with self._lock:
            since = self._waiting.get(id(body))
            if since is not None:
                self._waiting[id(body)] = min(now, since + count / STEADY_BYTES_PER_SECOND)

    def leave(self, body: object) -> None:
        """Count it no more: it has come, or nobody waits for it."""
        with self._lock:
            self._waiting.pop(id(body), None)


class _Body:
    """The body of one request, which waits as one from its first read to its end."""

    def __init__(self, stream: Any, bodies: Bodies, left: int | None) -> None:
        self._stream = stream
        self._bodies = bodies
        self._left = left
        self._entered = self._ended = False

    def _begin(self) -> None:
        if not self._entered:
            self._bodies.enter(self)
            self._entered = True

    def _note(self, count: int) -> None:
        """Note that bytes came, none at the end."""
        if self._ended:
            return
        if self._left is not None:
            self._left -= count
        if not count or (self._left is not None and self._left <= 0):
            self._ended = True
            self._bodies.leave(self)
        else:
            self._bodies.came(self, count)

    def read(self, *size: int) -> bytes:
        self._begin()
        piece = bytes(self._stream.read(*size))
        if size != (0,):
            self._note(len(piece))
        return piece

    def readline(self, *size: int) -> bytes:
        self._begin()
        line = bytes(self._stream.readline(*size))
        self._note(len(line))
        return line

    def readlines(self, *hint: int) -> list[bytes]:
        self._begin()
        lines = list(self._stream.readlines(*hint))
        self._note(sum(map(len, lines)))
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line
