"""`paygo serve`: everything in one command, each part as a process of its own.

The application is imported by those alone.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from billing.cli.context import (
    bring_up,
    read_settings,
    start_logs,
    stop_on_signals,
)
from billing.cli.listening import address, host_option, listening, port_option
from metering.kit.config import Settings, signing_key
from metering.kit.errors import Unavailable
from metering.kit.logs import get_logger
from metering.kit.ports import check_port
from metering.kit.postgres import database_url
from metering.kit.processes import Child

_log = get_logger(__name__)

_START_SECONDS = 60.0
_RESTART_PAUSE_SECONDS = 1.0
_QUICK_ENDS = 5
_QUICK_SECONDS = 60.0


class ServerDidNotStart(Unavailable):
    """A part of paygo ended again and again, or the web server did not answer; the log says why."""

    code = "server-did-not-start"
    title = "paygo could not start"


@click.command()
@host_option
@port_option
@click.option("--with-scheduler", is_flag=True, help="Run the scheduled jobs too.")
def serve(host: str | None, port: int | None, with_scheduler: bool) -> None:
    """Run paygo: the database (unless DATABASE_URL is set), its migration, the web server.

    Ctrl-C ends all of it in order. If this process is killed, its children end
    by themselves.

    \b
    Examples:
      paygo serve --with-scheduler
      PAYGO_DATA_DIR=/srv/paygo paygo serve --port 9000
    """
    stopping = stop_on_signals()
    settings = listening(read_settings(), host=host, port=port)
    start_logs(settings)
    check_port(settings.host, settings.port)
    with database_url(settings) as url:
        bring_up(url)
        with running(settings, url, with_scheduler=with_scheduler) as parts:
            click.echo(f"paygo is at {address(settings)}; Ctrl-C ends it.", err=True)
            parts.watch(stopping)


class Parts:
    """The child processes of one paygo, ended in the reverse order of their start."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._ends: dict[str, list[float]] = {child.name: [] for child in children}

    def start(self) -> None:
        """Start them all."""
        for child in self._children:
            child.start()

    def stop(self) -> None:
        """End them all, the last started first, and wait for each."""
        for child in reversed(self._children):
            child.stop()

    def watch(self, stopping: threading.Event) -> None:
        """Restart what ends, until `stopping` is set.

        Raises:
            ServerDidNotStart: a part ended five times within a minute.
        """
        while not stopping.wait(0.25):
            self.revive()

    def revive(self) -> None:
        """Restart each part that has ended.

        Raises:
            ServerDidNotStart: it ended five times within a minute.
        """
        for child in self._children:
            status = child.ended()
            if status is None:
                continue
            at = time.monotonic()
            ends = [end for end in self._ends[child.name] if at - end < _QUICK_SECONDS]
            self._ends[child.name] = [*ends, at]
            if len(ends) + 1 >= _QUICK_ENDS:
                raise ServerDidNotStart(
                    f"The {child.name} part of paygo ended {_QUICK_ENDS} times within a minute,"
                    f" last with status {status}; the lines above say why."
                )
            _log.warning("a part of paygo ended; starting it again", part=child.name, status=status)
            time.sleep(_RESTART_PAUSE_SECONDS)
            child.start()

    @property
    def pids(self) -> Mapping[str, int | None]:
        """The process id of each part."""
        return {child.name: child.pid for child in self._children}


@contextmanager
def running(settings: Settings, url: str, *, with_scheduler: bool) -> Iterator[Parts]:
    """Run the web server, and the scheduler if asked, until leaving; yield once it answers.

    Call it from the main thread.

    Raises:
        ServerDidNotStart: the web server does not answer.
    """
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "PAYGO_SECRET_KEY": signing_key(settings),
        "PAYGO_HOST": settings.host,
        "PAYGO_PORT": str(settings.port),
        "PAYGO_LOG_LEVEL": settings.log_level,
    }
    names = ["web", *(["scheduler"] if with_scheduler else [])]
    parts = Parts([Child([name], environment=environment) for name in names])
    parts.start()
    try:
        _wait_until_answering(settings, parts)
        yield parts
    finally:
        parts.stop()


def _wait_until_answering(settings: Settings, parts: Parts) -> None:
    host, port = address(settings).removeprefix("http://").rsplit(":", 1)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
                return
        except OSError:
            parts.revive()
            time.sleep(0.1)
    raise ServerDidNotStart(f"The web server did not answer at {address(settings)} in time.")
