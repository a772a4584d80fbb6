"""The web server: granian with threads, the whole application in each worker.

Threads, since a request waits for the database most of its time; and many, since
requests that wait together share a commit. granian reads and writes HTTP outside
Python's lock, at less than half of what gunicorn costs a request. Each worker makes its
own application and connections after the fork; only imported code is shared.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server
from granian.server.common import AbstractServer

from metering.kit import traces
from metering.kit.bodies import Bodies
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.ports import check_port
from metering.kit.processes import die_with_parent, relax_collector

THREADS = 64
"""Requests that one worker answers at once."""

READERS = 32
"""Of those, how many may wait for what their clients have yet to send."""

_PATIENCE_WITH_READERS_SECONDS = 10

CONNECTIONS = 10
"""To the database, of one worker's pages and reports; events have one of their own."""

_GRACE_SECONDS = 15
# The server's lines go through our own chain.
_LOGGING: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


class MakeApp(Protocol):
    """Makes the application of one worker: all of paygo, or the metering API alone."""

    def __call__(self, settings: Settings, database: Database) -> Flask: ...


def run_web(settings: Settings, url: str, *, make_app: MakeApp, role: str | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        role: database role that the workers take on.

    Raises:
        PortInUse: something else listens there.
    """
    check_port(settings.host, settings.port)
    # The application need not be importable by name, and a worker starts at once.
    multiprocessing.set_start_method("fork", force=True)
    parent = os.getpid()

    def load() -> Callable[..., Any]:
        die_with_parent(parent)
        traces.start(settings, service="paygo web")
        database = Database(url, pool_size=CONNECTIONS, application_name="paygo web", role=role)
        app = make_app(settings, database)
        relax_collector()
        return Bodies(app, at_once=READERS, seconds=_PATIENCE_WITH_READERS_SECONDS)

    server(host=settings.host, port=settings.port, workers=settings.web_workers).serve(
        target_loader=load, wrap_loader=False
    )


def server(*, host: str, port: int, workers: int) -> AbstractServer[Any]:
    """Return a server as paygo runs it; give its `serve` what makes an application."""
    return Server(
        "paygo",
        address=str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]),
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=THREADS,
        http=HTTPModes.http1,
        # A caller that sends its headers slowly must not hold a connection for ever.
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=_GRACE_SECONDS,
        log_dictconfig=_LOGGING,
        log_level=LogLevels.error,
        log_access=False,
    )
