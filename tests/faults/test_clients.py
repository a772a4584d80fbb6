"""Clients that are slow, rude or gone: the others are answered, and memory stays bounded."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from billing.server import READERS
from tests.faults.system import Paygo, running
from tests.faults.tally import Tally
from tests.metering import make
from tests.processes import wait_for

pytestmark = pytest.mark.faults

_WAIT_MAX = 3.0
"""Seconds within which the others are answered; a machine that is busy is no fault."""
_GROWTH_MAX = 150_000_000


@pytest.fixture(scope="module")
def paygo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paygo]:
    one_worker = {"PAYGO_WEB_WORKERS": "1"}
    with running(tmp_path_factory.mktemp("clients"), environment=one_worker) as found:
        yield found


def _connect(paygo: Paygo) -> socket.socket:
    address = urlsplit(paygo.url)
    found = socket.socket()
    # A client that never reads soon has its own buffer full.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect((address.hostname, address.port))
    return found


def _request(paygo: Paygo, line: str, *headers: str) -> bytes:
    key = f"Authorization: Bearer {paygo.key}"
    return "\r\n".join((f"{line} HTTP/1.1", "Host: paygo", key, *headers, "", "")).encode()


def slow_headers(paygo: Paygo) -> socket.socket:
    """Send half a header."""
    found = _connect(paygo)
    found.sendall(b"GET /sign-in HTTP/1.1\r\nHost: pay")
    return found


def slow_form(paygo: Paygo) -> socket.socket:
    """Send a form to sign in that never ends; nobody need be known for that."""
    found = _connect(paygo)
    form = "Content-Type: application/x-www-form-urlencoded"
    found.sendall(_request(paygo, "POST /sign-in", form, "Content-Length: 90000") + b"email=a")
    return found


def slow_events(paygo: Paygo) -> socket.socket:
    """Post events that never end, with a good key."""
    found = _connect(paygo)
    found.sendall(_request(paygo, "POST /api/v1/events", "Content-Length: 90000") + b"[{")
    return found


def slow_lines(paygo: Paygo) -> socket.socket:
    """Post lines of which the second never ends, with a good key."""
    found = _connect(paygo)
    kind = "Content-Type: application/x-ndjson"
    found.sendall(_request(paygo, "POST /api/v1/events", kind, "Content-Length: 900000"))
    found.sendall(b"{}\n" + b"{" * 1000)
    return found


def half_closed(paygo: Paygo) -> socket.socket:
    """Ask, and say that nothing more will come."""
    found = _connect(paygo)
    found.sendall(_request(paygo, "GET /sign-in"))
    found.shutdown(socket.SHUT_WR)
    return found


def never_reading(paygo: Paygo) -> socket.socket:
    """Ask for much, again and again, and read nothing of it."""
    found = _connect(paygo)
    found.setblocking(False)
    try:
        for _ in range(20):
            found.send(_request(paygo, "GET /api/openapi.json"))
    except BlockingIOError:
        pass
    return found


@contextmanager
def _held(clients: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for one in clients:
            one.close()


def _post(paygo: Paygo, number: int) -> int:
    """Post one event as the SDK does: again until it is taken."""
    for _ in range(100):
        try:
            answer = requests.post(
                f"{paygo.url}/api/v1/events",
                json=make.event(number),
                headers={
                    "Authorization": f"Bearer {paygo.key}",
                    "Content-Type": "application/cloudevents+json",
                },
                timeout=10,
            )
        except requests.RequestException:
            time.sleep(0.2)
            continue
        if answer.status_code == 200:
            return 1
        time.sleep(0.2)
    return 0


def _memory(paygo: Paygo) -> int:
    """Return the bytes that the web server's processes hold."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in paygo.part("web"))
    return pages * 4096


_numbers = iter(range(1, 10_000))


@pytest.mark.parametrize(
    ("client", "number"),
    [
        (slow_headers, 300),
        (slow_form, 100),
        (slow_events, 100),
        (slow_lines, 100),
        (half_closed, 200),
        (never_reading, 100),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_others_are_answered_while_clients_are_slow(
    paygo: Paygo, tally: Tally, client: Callable[[Paygo], socket.socket], number: int
) -> None:
    before, stored = _memory(paygo), sum(paygo.stored().values())
    pages, posted = [], 0
    with _held([client(paygo) for _ in range(number)]):
        for _ in range(10):
            start = time.monotonic()
            answer = requests.get(f"{paygo.url}/sign-in", timeout=30)
            pages.append(time.monotonic() - start)
            assert answer.status_code == 200
        start = time.monotonic()
        posted += sum(_post(paygo, next(_numbers)) for _ in range(5))
        posts = time.monotonic() - start
        grown = _memory(paygo) - before
    wait_for(lambda: requests.get(f"{paygo.url}/sign-in", timeout=30).status_code == 200)
    # Each event feeds two meters.
    kept = (sum(paygo.stored().values()) - stored) // 2
    row = tally.add(
        f"{number} clients: {client.__name__.replace('_', ' ')}",
        number,
        lost=posted - kept,
        note=f"page {max(pages):.2f} s, 5 posts {posts:.1f} s, {grown // 1_000_000} MB more",
    )
    assert row.harmless
    assert posted == 5, "every post was taken in the end"
    assert sorted(pages)[-2] < _WAIT_MAX
    assert grown < _GROWTH_MAX


def test_lines_that_began_to_come_are_taken_however_many_others_ask(
    paygo: Paygo, tally: Tally
) -> None:
    clients, events, ended = READERS, 8, threading.Event()
    before = sum(paygo.stored().values())
    others: list[socket.socket] = []

    def ask_on() -> None:
        while not ended.is_set():
            others.append(slow_lines(paygo))
            others[-1].settimeout(0.05)
            # Whoever is not told 503 at once has a place, and keeps it.
            with suppress(OSError):
                others[-1].recv(4096)

    def lines() -> bytes:
        # Long ones, so that they come in several pieces.
        made = (json.dumps(make.event(next(_numbers))).encode() for _ in range(events))
        return b"".join(line.ljust(49_999) + b"\n" for line in made)

    asking = [threading.Thread(target=ask_on) for _ in range(4)]
    slow = [(_connect(paygo), lines()) for _ in range(clients)]
    with _held([client for client, _ in slow]):
        for client, body in slow:
            client.settimeout(30)
            kind = "Content-Type: application/x-ndjson"
            head = _request(paygo, "POST /api/v1/events", kind, f"Content-Length: {len(body)}")
            client.sendall(head + body[:1])
        # Until each of them is being read, and so has its place.
        time.sleep(3)
        for thread in asking:
            thread.start()
        for start in range(1, events * 50_000, 40_000):
            for client, body in slow:
                client.sendall(body[start : start + 40_000])
            time.sleep(0.2)
        answers = [client.recv(4096).split(b"\r\n")[0] for client, _ in slow]
        ended.set()
        for thread in asking:
            thread.join()
    with _held(others):
        pass
    kept = (sum(paygo.stored().values()) - before) // 2
    row = tally.add(
        f"{clients} clients: steady lines",
        clients,
        lost=clients * events - kept,
        note=f"{len(others)} others asked meanwhile",
    )
    assert answers == [b"HTTP/1.1 200 OK"] * clients
    assert row.harmless


def test_told_to_stop_under_load_it_answers_what_it_took(tmp_path: Path, tally: Tally) -> None:
    acknowledged: list[int] = []
    stopped = threading.Event()

    def post(paygo: Paygo, numbers: range) -> None:
        session = requests.Session()
        for number in numbers:
            if stopped.is_set():
                return
            try:
                answer = session.post(
                    f"{paygo.url}/api/v1/events",
                    json=make.event(number),
                    headers={
                        "Authorization": f"Bearer {paygo.key}",
                        "Content-Type": "application/cloudevents+json",
                    },
                    timeout=20,
                )
            except requests.RequestException:
                return
            if answer.status_code == 200:
                acknowledged.append(number)

    with running(tmp_path, "--with-scheduler") as paygo:
        threads = [
            threading.Thread(target=post, args=(paygo, range(start, start + 9_000)))
            for start in range(100_000, 180_000, 10_000)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(acknowledged) > 100, seconds=60)
        start = time.monotonic()
        paygo.process.terminate()
        assert paygo.process.wait(60) == 0
        seconds = time.monotonic() - start
        stopped.set()
        for thread in threads:
            thread.join(60)
        stored = paygo.stored()
    ids = {make.event(number)["id"] for number in acknowledged}
    row = tally.add(
        "SIGTERM under load",
        1,
        lost=len(ids - stored.keys()),
        doubled=sum(1 for count in stored.values() if count != 2),
        note=f"{len(ids)} events answered, ended after {seconds:.1f} s",
    )
    assert row.harmless
    assert seconds < 20
