"""The web server: gunicorn with threads, the whole application in each worker.

Threads, since a request waits for the database most of its time. Each worker makes
its own application and connections after the fork; only imported code is shared.
"""

import logging
import socket
from pathlib import Path
from typing import Any, Protocol

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.errors import Conflict
from metering.kit.processes import die_with_parent, relax_collector

THREADS = 8
"""Requests that one worker answers at once; each may hold a connection of its pool."""

_TIMEOUT_SECONDS = 120
_GRACE_SECONDS = 15


class MakeApp(Protocol):
    """Makes the application of one worker: all of paygo, or the metering API alone."""

    def __call__(self, settings: Settings, database: Database) -> Flask: ...


class PortInUse(Conflict):
    """Another program listens on the address and port; `PAYGO_PORT` names another."""

    code = "port-in-use"
    title = "The port is in use"


class _Logs(Logger):
    """Hands gunicorn's lines to our own chain instead of writing them itself."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.handlers[:] = []
        self.access_log.propagate = False


class _Server(BaseApplication):
    def __init__(self, settings: Settings, url: str, make_app: MakeApp) -> None:
        self._settings = settings
        self._url = url
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        memory = Path("/dev/shm")  # noqa: S108 - gunicorn's heartbeat file; it makes its own name
        for name, value in {
            "bind": f"{settings.host}:{settings.port}",
            "workers": settings.web_workers,
            "worker_class": "gthread",
            "threads": THREADS,
            "timeout": _TIMEOUT_SECONDS,
            "graceful_timeout": _GRACE_SECONDS,
            "keepalive": 30,
            "worker_tmp_dir": str(memory) if memory.is_dir() else None,
            "logger_class": _Logs,
            # The application itself decides which proxies it believes.
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "control_socket_disable": True,
            "post_fork": _after_fork,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the application of one worker."""
        database = Database(self._url, pool_size=THREADS, application_name="paygo web")
        app = self._make_app(self._settings, database)
        relax_collector()
        return app


def _after_fork(arbiter: Arbiter, _worker: Worker) -> None:
    die_with_parent(arbiter.pid)


def run_web(settings: Settings, url: str, *, make_app: MakeApp) -> None:
    """Serve until SIGTERM or SIGINT; returns by `SystemExit`.

    Raises:
        PortInUse: something else listens there.
    """
    check_port(settings.host, settings.port)
    _Server(settings, url, make_app).run()


def check_port(host: str, port: int) -> None:
    """Refuse a port that cannot be listened on.

    Raises:
        PortInUse: something else listens there, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except (OSError, OverflowError) as error:
            raise PortInUse(
                f"paygo cannot listen on {host} port {port} ({error});"
                " set PAYGO_PORT or --port to a free one."
            ) from None
