"""Clients that send the body of a request slowly, or never, hold no more than their share.

A thread that reads a body waits until it has come: the server has no time limit of its own
for that, and a few dozen such clients would hold every thread. Here only some of a process's
threads may wait for bodies at once; whatever has none goes on by the others. And when all of
those have waited for too long, the process ends and the server starts another, which cuts
the slow ones off: what was not answered is sent again.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metering.kit.errors import Unavailable
from metering.kit.logs import get_logger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = get_logger(__name__)
_END_STATUS = 3


class BodiesUnfinished(Unavailable):
    """Too many others send their requests too slowly. Try again in a moment."""

    code = "bodies-unfinished"
    title = "Too many unfinished requests"


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
        if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = _Body(environ["wsgi.input"], self)
        return self._inner(environ, start_response)

    @contextmanager
    def waiting(self, body: object, *, since: float) -> Iterator[None]:
        """Count a thread that waits for a body since an instant of `monotonic`.

        Raises:
            BodiesUnfinished: enough of them wait already.
        """
        with self._lock:
            if len(self._waiting) >= self._at_once:
                if self.monotonic() - max(self._waiting.values()) > self._seconds:
                    _log.error("slow clients hold every reader", waiting=len(self._waiting))
                    self._end()
                raise BodiesUnfinished(
                    "Too many other requests are unfinished; try again.", retry_after=2
                )
            self._waiting[id(body)] = since
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[id(body)]


class _Body:
    """The body of one request, which waits as one from its first read on."""

    def __init__(self, stream: Any, bodies: Bodies) -> None:
        self._stream = stream
        self._bodies = bodies
        self._since: float | None = None

    @contextmanager
    def _wait(self) -> Iterator[None]:
        if self._since is None:
            self._since = self._bodies.monotonic()
        with self._bodies.waiting(self, since=self._since):
            yield

    def read(self, *size: int) -> bytes:
        with self._wait():
            return bytes(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        with self._wait():
            return bytes(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        with self._wait():
            return list(self._stream.readlines(*hint))

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line
