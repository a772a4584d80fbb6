"""The two applications under the server that paygo uses, two workers each, and the database."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from time import monotonic, sleep

from flask import Flask

from benchmarks.load import plain
from billing.server import CONNECTIONS, server
from metering.app import create_app
from metering.jobs import roll_up
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.logs import configure_logs
from metering.kit.processes import relax_collector

WORKERS = 2
ROLL_UP_SECONDS = 5.0
"""As the scheduler has it."""


def settings() -> Settings:
    """Return settings without a limit of requests."""
    return Settings.from_environment(
        {"PAYGO_DATA_DIR": "/nonexistent", "PAYGO_REQUESTS_PER_MINUTE": "0"}
    )


@contextmanager
def serving(name: str, url: str, *, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve an application as paygo is served; ready once it answers."""
    with child("--serve", name, "--port", str(port), url=url) as process:
        for _ in range(300):
            try:
                connection = HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            except OSError:
                sleep(0.1)
        yield process


@contextmanager
def child(*arguments: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run this program's other parts beside it, and end them."""
    command = [sys.executable, "-m", "benchmarks.ingest", *arguments]
    process = subprocess.Popen(command, env={**os.environ, "BENCHMARK_URL": url})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def serve(name: str, port: int) -> None:
    """Serve one of the two applications until terminated."""
    multiprocessing.set_start_method("fork")
    load: Callable[[], Flask] = {"product": _product, "plain": _plain}[name]
    server(host="127.0.0.1", port=port, workers=WORKERS).serve(
        target_loader=load, wrap_loader=False
    )


def _product() -> Flask:
    configure_logs(level="ERROR")
    app = create_app(settings(), Database(os.environ["BENCHMARK_URL"], pool_size=CONNECTIONS))
    relax_collector()
    return app


def _plain() -> Flask:
    app = plain.create_app(os.environ["BENCHMARK_URL"])
    relax_collector()
    return app


def roll_up_for_ever() -> None:
    """Run the roll-up job as the scheduler does, until terminated."""
    configure_logs(level="ERROR")
    database = Database(os.environ["BENCHMARK_URL"])
    while True:
        started = monotonic()
        roll_up(database, now=datetime.now(UTC))
        sleep(max(0.0, ROLL_UP_SECONDS - (monotonic() - started)))
