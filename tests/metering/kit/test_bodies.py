"""Threads that wait for slow clients are bounded, and freed in the end."""

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from metering.kit.bodies import STEADY_BYTES_PER_SECOND, Bodies, BodiesUnfinished


class Slow(io.BytesIO):
    """A body that comes when it is let."""

    def __init__(self) -> None:
        super().__init__(b"body")
        self.asked, self.come = threading.Event(), threading.Event()

    def read(self, *size: Any) -> bytes:
        self.asked.set()
        assert self.come.wait(10)
        return super().read(*size)


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def environ(body: io.BytesIO) -> dict[str, Any]:
    return {"wsgi.input": body, "CONTENT_LENGTH": "4"}


def start(*_: Any) -> Any:
    raise AssertionError("not called")


def test_only_so_many_wait_and_what_has_no_body_goes_on() -> None:
    ends: list[bool] = []
    now = Now()
    bodies = Bodies(
        lambda environ, _: [environ["wsgi.input"].read(4)] if environ else [b"no body"],
        at_once=2,
        seconds=10,
        end=lambda: ends.append(True),
        monotonic=now,
    )
    slow = [Slow(), Slow()]
    threads = [threading.Thread(target=bodies, args=(environ(one), start)) for one in slow]
    for thread, one in zip(threads, slow, strict=True):
        thread.start()
        assert one.asked.wait(10)
    assert bodies({}, start) == [b"no body"]
    with pytest.raises(BodiesUnfinished):
        bodies(environ(io.BytesIO(b"body")), start)
    assert ends == []

    # All of them have waited for too long: the next that comes ends the process.
    now.seconds = 10.5
    with pytest.raises(BodiesUnfinished):
        bodies(environ(io.BytesIO(b"body")), start)
    assert ends == [True]

    slow[0].come.set()
    threads[0].join(10)
    assert bodies(environ(io.BytesIO(b"body")), start) == [b"body"]
    slow[1].come.set()
    threads[1].join(10)


def while_it_is_read(
    between: Callable[[Bodies], None],
    *,
    length: str = "",
    body: bytes,
    sizes: tuple[int, ...],
    now: Now,
) -> list[bool]:
    """Read a body in pieces, with something done after each; return whether the process ended."""
    ends: list[bool] = []

    def app(environ: Any, _: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/other":
            return [environ["wsgi.input"].read(4)]
        for size in sizes:
            environ["wsgi.input"].read(size)
            between(bodies)
        return [b"read"]

    bodies = Bodies(app, at_once=1, seconds=10, end=lambda: ends.append(True), monotonic=now)
    sent = {"PATH_INFO": "/", "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": length}
    assert bodies(sent | {"wsgi.input": io.BytesIO(body)}, start) == [b"read"]
    post_other(bodies)
    return ends


def post_other(bodies: Bodies) -> None:
    other = environ(io.BytesIO(b"body")) | {"PATH_INFO": "/other"}
    assert bodies(other, start) == [b"body"]


def refuse_other(bodies: Bodies) -> None:
    with pytest.raises(BodiesUnfinished):
        post_other(bodies)


@pytest.mark.parametrize("length", ["9", "", "nonsense", "9" * 5000])
def test_a_body_that_began_keeps_its_place_to_its_end(length: str) -> None:
    sizes = (3, 3, 2)
    found = while_it_is_read(refuse_other, length=length, body=b"12345678", sizes=sizes, now=Now())
    assert found == []


@pytest.mark.parametrize("length", ["6", ""])
def test_a_body_gives_up_its_place_with_its_last_byte(length: str) -> None:
    expected = iter([refuse_other, post_other if length else refuse_other, post_other])

    def free_at_the_end(bodies: Bodies) -> None:
        next(expected)(bodies)

    # Without a length the end is known when nothing more comes.
    sizes = (3, 3, 1)
    found = while_it_is_read(free_at_the_end, length=length, body=b"123456", sizes=sizes, now=Now())
    assert found == []
    assert next(expected, None) is None


@pytest.mark.parametrize(("share", "ended"), [(1, False), (2, True)])
def test_a_client_that_sends_steadily_is_waited_for(share: int, ended: bool) -> None:
    now = Now()

    def pass_time(bodies: Bodies) -> None:
        now.seconds += 8 * share
        refuse_other(bodies)

    piece = 8 * STEADY_BYTES_PER_SECOND
    ends = while_it_is_read(pass_time, body=b"x" * 4 * piece, sizes=(piece,) * 4, now=now)
    assert bool(ends) == ended


def test_a_body_is_read_line_by_line_too() -> None:
    bodies = Bodies(lambda environ, _: list(environ["wsgi.input"]), at_once=1, seconds=10)
    assert bodies(environ(io.BytesIO(b"a\nb")), start) == [b"a\n", b"b"]
    lines = Bodies(lambda environ, _: environ["wsgi.input"].readlines(), at_once=1, seconds=10)
    assert lines(environ(io.BytesIO(b"a\nb")), start) == [b"a\n", b"b"]
