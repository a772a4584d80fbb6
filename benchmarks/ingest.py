"""How fast is ingest? The product's whole path beside a raw COPY and beside a plain application.

    python -m benchmarks.ingest              # everything, some minutes
    python -m benchmarks.ingest --quick

Everything is measured in one run on one server, round by round in turn, and given
as ratios of medians: absolute speeds belong to a machine, ratios to the code.
"""

import argparse
import gzip
import io
import json
import multiprocessing
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask

from benchmarks import plain
from billing.server import CONNECTIONS, server
from metering.app import create_app
from metering.events import partitions
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.ids import uuid7
from metering.kit.logs import configure_logs
from metering.kit.migrate import upgrade
from metering.kit.postgres import EmbeddedPostgres
from metering.kit.processes import relax_collector
from metering.meters import operations as meters
from metering.organisations import operations as organisations
from metering.periods import Month
from metering.sources import operations as sources

NOW = datetime.now(UTC)
SOURCE = "imaging-archive"
TRUSTS = [f"R{a}{b}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJKLMNOPQRST"]
MODALITIES = ("CT", "MR", "US", "XR", "RF", "NM")
PATH = "/api/v1/events"
BATCH_TYPE = "application/cloudevents-batch+json"
PORT = 8931


def prepare(database: Database) -> str:
    """Register what the events need; return a key."""
    with database.transaction() as session:
        for code in TRUSTS:
            organisations.register(session, ods_code=code, name=code, kind="acute", now=NOW)
        sources.register(session, code=SOURCE, name=SOURCE, now=NOW)
        meters.register(
            session,
            source_code=SOURCE,
            code="studies-archived",
            name="Studies archived",
            event_type="study.archived",
            aggregation="sum",
            quantity_field="studies",
            unit="study",
            dimensions={"modality": {"label": "Modality", "values": list(MODALITIES)}},
            now=NOW,
        )
        key = sources.issue_key(
            session, source_code=SOURCE, label="benchmark", created_by="benchmark", now=NOW
        )
    month = Month.of(NOW)
    partitions.ensure(database, months=[month.shift(-1), month, month.next])
    with database.engine.begin() as connection:
        plain.metadata.create_all(connection)
    return key.text


def events(count: int) -> list[dict[str, Any]]:
    """Return new events as an SDK makes them: time-ordered ids, times of the last 20 days."""
    return [
        {
            "specversion": "1.0",
            "id": str(uuid7(now=datetime.now(UTC))),
            "source": SOURCE,
            "type": "study.archived",
            "subject": random.choice(TRUSTS),
            "time": (NOW - timedelta(seconds=random.random() * 20 * 86_400)).strftime(
                "%Y-%m-%dT%H:%M:%S.%fZ"
            ),
            "data": {"studies": str(random.randint(1, 40)), "modality": random.choice(MODALITIES)},
        }
        for _ in range(count)
    ]


def written(count: int) -> bytes:
    """Return a batch of new events as a body."""
    return json.dumps(events(count), separators=(",", ":")).encode()


def wsgi_post(app: Flask, body: bytes, headers: dict[str, str]) -> None:
    """Call an application as a server does, without a socket."""
    answered: list[str] = []

    def start(status: str, _headers: Any, _info: Any = None) -> Any:
        answered.append(status)

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": BATCH_TYPE,
        **headers,
    }
    b"".join(app.wsgi_app(environ, start))
    assert answered[0][:3] in {"200", "204"}, answered


def copy_block(batch: list[dict[str, Any]]) -> bytes:
    """Return the rows that these events become, ready for COPY."""
    batch_id = uuid7(now=NOW)
    return "".join(
        f"{event['time'][:8]}01\t{number % 200 + 1}\t1\t1\t{number % 6 + 1}\t0\t{event['id']}"
        f"\t{event['time']}\t{NOW.isoformat()}\t{event['data']['studies']}\t{batch_id}\n"
        for number, event in enumerate(batch)
    ).encode()


def raw_copy(connection: psycopg.Connection[Any], block: bytes) -> None:
    """COPY ready rows into usage_events and commit: no key, no check, nothing but the rows."""
    with connection.cursor().copy(
        "COPY usage_events (period_month, subject_id, source_id, meter_id, dimension_set_id, kind,"
        " event_key, occurred_at, received_at, quantity, batch_id) FROM STDIN"
    ) as copy:
        copy.write(block)
    connection.commit()


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def batches(url: str, key: str, *, size: int, rounds: int) -> dict[str, float]:
    """Return events a second of each way at one batch size, by medians over rounds in turn."""
    database = Database(url)
    product = create_app(settings(), database)
    ordinary = plain.create_app(url)
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {key}", "HTTP_PREFER": "return=minimal"}
    zipped = {**bearer, "HTTP_CONTENT_ENCODING": "gzip"}
    found: dict[str, list[float]] = {}
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        for number in range(rounds + 2):
            body = written(size)
            ways: dict[str, Callable[[], None]] = {
                "raw COPY": partial(raw_copy, connection, copy_block(events(size))),
                "product": partial(wsgi_post, product, body, bearer),
                "gzip": partial(wsgi_post, product, gzip.compress(written(size), 5), zipped),
                "repeat": partial(wsgi_post, product, body, bearer),
            }
            if number % 4 == 3:
                ways["plain"] = partial(wsgi_post, ordinary, written(size), {})
            for name, way in ways.items():
                seconds = timed(way)
                if number >= 2:  # the first fill caches
                    found.setdefault(name, []).append(seconds)
    database.dispose()
    return {name: size / statistics.median(seconds) for name, seconds in found.items()}


def settings() -> Settings:
    """Return settings without a limit of requests."""
    return Settings.from_environment(
        {"PAYGO_DATA_DIR": "/nonexistent", "PAYGO_REQUESTS_PER_MINUTE": "0"}
    )


@contextmanager
def serving(name: str, url: str, *, port: int) -> Iterator[None]:
    """Serve an application as paygo is served: the same server, two workers, as many threads."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--serve", name, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "BENCHMARK_URL": url})
    try:
        for _ in range(300):
            try:
                connection = HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(2)  # the other worker
        yield
    finally:
        process.terminate()
        process.wait(20)


def serve(name: str, port: int) -> None:
    """Serve one of the two applications until terminated."""
    multiprocessing.set_start_method("fork")
    load = {"product": serve_product, "plain": serve_plain}[name]
    server(host="127.0.0.1", port=port, workers=2).serve(target_loader=load, wrap_loader=False)


def serve_product() -> Flask:
    """Return the product."""
    configure_logs(level="ERROR")
    app = create_app(settings(), Database(os.environ["BENCHMARK_URL"], pool_size=CONNECTIONS))
    relax_collector()
    return app


def serve_plain() -> Flask:
    """Return the plain application."""
    app = plain.create_app(os.environ["BENCHMARK_URL"])
    relax_collector()
    return app


def single(port: int, headers: dict[str, str], *, clients: int, seconds: float) -> float:
    """Return answered requests a second of `clients` that post one event at a time.

    One thread asks for all of them, as cheaply as Python can: what is measured shares its
    processors with the clients.
    """
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    ready = iter([request(head, written(1)) for _ in range(clients * 40)])
    waiting: dict[int, bytes] = {}
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for _ in range(clients):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(next(ready))
        answered, start = 0, time.perf_counter() + 1
        while (passed := time.perf_counter() - start) < seconds:
            for key, _ in selector.select(1):
                assert isinstance(key.fileobj, socket.socket)
                answer = waiting.pop(key.fd, b"") + key.fileobj.recv(65_536)
                assert answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")), answer
                if not complete(answer):
                    waiting[key.fd] = answer
                    continue
                answered += time.perf_counter() > start
                key.fileobj.sendall(next(ready, b"") or request(head, written(1)))
    return answered / passed


def complete(answer: bytes) -> bool:
    """Return whether an answer has arrived whole."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or b"0")


def request(head: str, body: bytes) -> bytes:
    """Return a whole request."""
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only-single", action="store_true", help="skip the large batches")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--serve", choices=("product", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.port)
        return
    configure_logs(level="ERROR")
    relax_collector()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        cluster = EmbeddedPostgres(Path(folder) / "postgres")
        url = cluster.start()
        try:
            measure(url, arguments)
        finally:
            cluster.stop()


def measure(url: str, arguments: argparse.Namespace) -> None:
    """Measure on a new server and print the table."""
    upgrade(url)
    database = Database(url)
    key = prepare(database)
    database.dispose()
    print(f"{'batch':>8} {'way':<12} {'events/s':>10} {'of COPY':>8} {'x plain':>8}")
    for size, rounds in () if arguments.only_single else ((1_000, 12), (10_000, 6)):
        speeds = batches(url, key, size=size, rounds=rounds if arguments.quick else rounds * 3)
        for name, speed in speeds.items():
            print(
                f"{size:>8} {name:<12} {speed:>10,.0f} {speed / speeds['raw COPY']:>8.2f}"
                f" {speed / speeds['plain']:>8.1f}",
                flush=True,
            )
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": BATCH_TYPE,
        "Prefer": "return=minimal",
    }
    rates = {}
    for number, name in enumerate(("plain", "product")):
        with serving(name, url, port=PORT + number):
            rates[name] = single(
                PORT + number,
                headers,
                clients=arguments.clients,
                seconds=4 if arguments.quick else 10,
            )
    for name, rate in rates.items():
        print(f"{1:>8} {name:<12} {rate:>10,.0f} {'':>8} {rate / rates['plain']:>8.1f}")


if __name__ == "__main__":
    main()
