"""Threads that wait for slow clients are bounded, and freed in the end."""

import io
import threading
from typing import Any

import pytest

from metering.kit.bodies import Bodies, BodiesUnfinished


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


def test_a_body_is_read_line_by_line_too() -> None:
    bodies = Bodies(lambda environ, _: list(environ["wsgi.input"]), at_once=1, seconds=10)
    assert bodies(environ(io.BytesIO(b"a\nb")), start) == [b"a\n", b"b"]
    lines = Bodies(lambda environ, _: environ["wsgi.input"].readlines(), at_once=1, seconds=10)
    assert lines(environ(io.BytesIO(b"a\nb")), start) == [b"a\n", b"b"]
