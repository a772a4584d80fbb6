"""Keep-alive clients that cost little: one thread asks for all, over ready bytes."""

import selectors
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

PATH = "/api/v1/events"
BATCH_TYPE = "application/cloudevents-batch+json"


@dataclass(frozen=True)
class Answered:
    """What came of some requests: seconds of the whole, and of each request."""

    seconds: float
    each: Sequence[float]


class Clients:
    """Connections that stay open, each with one request on its way at a time."""

    def __init__(self, port: int, *, count: int) -> None:
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._connections = [
            self._stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(count)
        ]
        for connection in self._connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Large enough for a whole request, so that sending never waits.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
            self._selector.register(connection, selectors.EVENT_READ)

    def close(self) -> None:
        """Close every connection."""
        self._stack.close()

    def post(self, requests: Iterable[bytes]) -> Answered:
        """Send these requests, the next one wherever an answer came; wait for all answers."""
        ready = iter(requests)
        sent: dict[int, float] = {}
        arrived: dict[int, bytes] = {}
        each: list[float] = []
        start = time.perf_counter()
        for connection in self._connections:
            self._send(connection, next(ready, None), sent)
        while sent:
            for key, _ in self._selector.select():
                asked = key.fileobj
                assert isinstance(asked, socket.socket)
                answer = arrived.pop(key.fd, b"") + asked.recv(65_536)
                assert answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")), answer[:2000]
                if not complete(answer):
                    arrived[key.fd] = answer
                    continue
                each.append(time.perf_counter() - sent.pop(key.fd))
                self._send(asked, next(ready, None), sent)
        return Answered(time.perf_counter() - start, each)

    @staticmethod
    def _send(connection: socket.socket, request: bytes | None, sent: dict[int, float]) -> None:
        if request is not None:
            sent[connection.fileno()] = time.perf_counter()
            connection.sendall(request)


def complete(answer: bytes) -> bool:
    """Return whether an answer has arrived whole."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or b"0")


def request(body: bytes, *, key: str) -> bytes:
    """Return a whole request."""
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {BATCH_TYPE}\r\nPrefer: return=minimal\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
