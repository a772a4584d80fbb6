"""Work that meets a fault at a chosen point: the n-th time that it speaks to the database.

A point is just before a statement, just before a commit, or just after one. So every place
where a process can be cut off is a number, the numbers are drawn from a seed, and a fault
that was found is found again.
"""

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg

from metering.kit.db import Database

_PATIENCE_SECONDS = 120
# Forked from a process that has everything imported and no thread.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["billing.jobs", "tests.faults.month"])


class Fault(StrEnum):
    """What happens at the chosen point."""

    PROCESS = "kill -9 of the process"
    CONNECTION = "its connection is cut"
    BACKEND = "kill -9 of a database backend"
    POSTMASTER = "kill -9 of the database"


class Ended(StrEnum):
    """How the work ended."""

    WHOLE = "it came to its end"
    KILLED = "it was killed"
    FAILED = "it gave up"


def attempt(
    work: Callable[[Database], object],
    url: str,
    *,
    fault: Fault | None = None,
    at: int = 0,
    cluster: Path | None = None,
) -> tuple[Ended, int]:
    """Do `work` in a process of its own, with a fault at its `at`-th point.

    Args:
        work: can be pickled.
        cluster: the database's folder, for the fault that kills all of it.

    Returns:
        How it ended, and how many points it passed (0 where it was killed).
    """
    ours, theirs = _processes.Pipe()
    process = _processes.Process(target=_work, args=(work, url, fault, at, cluster, theirs))
    process.start()
    theirs.close()
    try:
        passed = ours.recv() if ours.poll(_PATIENCE_SECONDS) else None
    except EOFError:
        passed = 0
    process.join(_PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the work hangs")
    assert passed is not None
    if process.exitcode == -signal.SIGKILL:
        return Ended.KILLED, passed
    return (Ended.WHOLE if process.exitcode == 0 else Ended.FAILED), passed


def _work(
    work: Callable[[Database], object],
    url: str,
    fault: Fault | None,
    at: int,
    cluster: Path | None,
    answer: Connection,
) -> None:
    points = _Points(at, lambda connection: _strike(fault, connection, url, cluster))
    points.watch()
    database = Database(url)
    failed = False
    try:
        work(database)
    except Exception:
        # The edge of the process: what gave up is told by its status, and begun again.
        traceback.print_exc(file=sys.stderr)
        failed = True
    answer.send(points.passed)
    os._exit(failed)


class _Points:
    """Counts the points that this process passes, and strikes at one of them."""

    def __init__(self, at: int, strike: Callable[["psycopg.Connection[Any]"], None]) -> None:
        self.passed = 0
        self._at = at
        self._strike = strike

    def watch(self) -> None:
        """Put the points around psycopg's ways to the server."""
        for name in ("execute", "executemany", "copy"):
            self._before(psycopg.Cursor, name, lambda cursor: cursor.connection)
        self._before(psycopg.Connection, "commit", lambda connection: connection)
        self._after(psycopg.Connection, "commit")

    def _pass(self, connection: "psycopg.Connection[Any]") -> None:
        self.passed += 1
        if self.passed == self._at:
            self._strike(connection)

    def _before(self, kind: Any, name: str, connection_of: Callable[[Any], Any]) -> None:
        inner = getattr(kind, name)

        @wraps(inner)
        def outer(this: Any, *args: Any, **kwargs: Any) -> Any:
            self._pass(connection_of(this))
            return inner(this, *args, **kwargs)

        setattr(kind, name, outer)

    def _after(self, kind: Any, name: str) -> None:
        inner = getattr(kind, name)

        @wraps(inner)
        def outer(this: Any, *args: Any, **kwargs: Any) -> Any:
            done = inner(this, *args, **kwargs)
            self._pass(this)
            return done

        setattr(kind, name, outer)


def _strike(
    fault: Fault | None, connection: "psycopg.Connection[Any]", url: str, cluster: Path | None
) -> None:
    if fault is Fault.PROCESS:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault is Fault.CONNECTION:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    elif fault is Fault.BACKEND:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    elif fault is Fault.POSTMASTER:
        assert cluster is not None
        os.kill(postmaster(cluster), signal.SIGKILL)


def postmaster(cluster: Path) -> int:
    """Return the process id of the server on a folder."""
    return int((cluster / "pgdata" / "postmaster.pid").read_text().split()[0])
