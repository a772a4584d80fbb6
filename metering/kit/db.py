"""The database: one engine, and the only `commit` in paygo.

One request or one work item is one transaction, opened at the edge with
`database.transaction()`; nothing below commits. Reads use
`database.snapshot()`, a read-only repeatable-read transaction, so that a GET
cannot write and a page sees one instant.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from queue import LifoQueue
from typing import Any, TypeVar
from weakref import WeakSet

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from metering.kit.errors import Conflict

T = TypeVar("T")

Fence = Callable[[Session], None]
"""Called at the start of a transaction; raises `FenceDown` to keep it from going on."""

# Serialization failure, deadlock, connection trouble, and Citus's way of saying
# "the commit did not happen"; SCALE.md rule 13.
_TRANSIENT_STATES = frozenset({"40001", "40P01", "57P01", "57P02", "57P03", "XX000"})
# Classes: connection trouble; no room on disk, in memory or for connections; broken disk.
_TRANSIENT_CLASSES = ("08", "53", "58")

# A server that vanished without a word (a cut cable, a dead machine) is noticed within a minute.
_KEEPALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

_ROLE = re.compile(r"[a-z][a-z_]*")
_SETTING = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")
_VALUE = re.compile(r"[A-Za-z0-9_,-]*")
# Without it a cluster keeps what `SET LOCAL` says from its workers, and their policies show no
# row; plain PostgreSQL takes it for a name that means nothing.
_TELL_WORKERS = "SET LOCAL citus.propagate_set_commands = 'local'"
_READ_ONLY = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True)
class Scope:
    """What a transaction is narrowed to: a role with less rights, and whose rows it may see.

    Attributes:
        role: database role that the transaction takes on; see `metering.kit.roles`.
        settings: settings that the policies of row-level security read, by name.

    Raises:
        ValueError: a name or value has characters that could end the statement.
    """

    role: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pattern, texts in (
            (_ROLE, (self.role,)),
            (_SETTING, tuple(self.settings)),
            (_VALUE, tuple(self.settings.values())),
        ):
            for each in texts:
                if not pattern.fullmatch(each):
                    raise ValueError(f"{each!r} cannot narrow a transaction")

    @property
    def statements(self) -> str:
        """The statements that begin the transaction.

        `SET LOCAL` and not `set_config`: a cluster passes only the former on to its workers,
        and only where it is told to.
        """
        return "; ".join(
            (
                _TELL_WORKERS,
                f"SET LOCAL ROLE {self.role}",
                *(f"SET LOCAL {name} = '{value}'" for name, value in self.settings.items()),
            )
        )


class FenceDown(Conflict):
    """This process lost the right to do the work: another may be doing it by now."""

    code = "fence-down"
    title = "The work was taken over"


class Database:
    """A handle on one PostgreSQL database.

    Args:
        url: an SQLAlchemy or libpq URL; `postgres://` and `postgresql://` are
            both read as psycopg 3.
        pool_size: connections kept open.
        role: database role that every connection takes on; None keeps the one that signs in.
            See `metering.kit.roles`.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        application_name: str = "paygo",
        role: str | None = None,
    ) -> None:
        if role is not None and not _ROLE.fullmatch(role):
            raise ValueError(f"{role!r} is no role of ours")
        self.url = sqlalchemy_url(url)
        self.role = role
        self._application_name = application_name
        self._directs: list[Direct] = []
        self._fence: Fence | None = None
        self._others: dict[str, Database] = {}
        self._options = _options(self.url, role)
        self.engine: Engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=5,
            pool_pre_ping=True,
            # Pages of a nation read thousands of small documents: a fifth of the time of `json`.
            json_deserializer=msgspec.json.decode,
            connect_args={
                "application_name": application_name,
                "connect_timeout": 10,
                **_KEEPALIVE,
                **self._options,
            },
        )

    def fenced(self, fence: "Fence") -> "Database":
        """Return this database, on which each read-write transaction first passes `fence`.

        Args:
            fence: raises `FenceDown` where the work is no longer this process's to do.
        """
        other = copy(self)
        other._fence = fence
        return other

    def acting_as(self, role: str) -> "Database":
        """Return the same database under another role.

        Where this one takes on no role there are none to choose from, and it is itself.
        """
        return self if self.role in (None, role) else self.under(role)

    def under(self, role: str) -> "Database":
        """Return the same database under a role, with connections of its own."""
        if role not in self._others:
            self._others[role] = Database(
                self.url, pool_size=2, application_name=self._application_name, role=role
            )
        return self._others[role]

    @contextmanager
    def transaction(self, *, scope: Scope | None = None) -> Iterator[Session]:
        """Open a read-write transaction; commit on leaving, roll back on an exception.

        Args:
            scope: narrows what it may see and do; None is everything.
        """
        with Session(self.engine, expire_on_commit=False) as session:
            if self._fence is not None:
                self._fence(session)
            if scope is not None:
                session.connection().exec_driver_sql(scope.statements)
            yield session
            session.commit()

    @contextmanager
    def snapshot(self, *, scope: Scope | None = None) -> Iterator[Session]:
        """Open a read-only, repeatable-read transaction that sees one instant.

        Args:
            scope: narrows what it may see; None is everything.
        """
        # One round trip, since every page begins with it.
        begin = _READ_ONLY if scope is None else f"{_READ_ONLY}; {scope.statements}"
        with Session(self.engine, expire_on_commit=False) as session:
            session.connection().exec_driver_sql(begin)
            yield session

    def retrying(self, work: Callable[[Session], T], *, attempts: int = 5) -> T:
        """Run `work` in a transaction, and again from the start when the database asks.

        `work` must be repeatable: it sees nothing of an attempt that failed.

        Raises:
            DBAPIError: the last transient failure, or any other at once.
        """

        def attempt() -> T:
            with self.transaction() as session:
                return work(session)

        return _again(attempt, attempts=attempts)

    def direct(self, *, connections: int = 1) -> "Direct":
        """Return connections of their own for a path that is asked too often for a session.

        Args:
            connections: transactions at a time; whoever comes beyond them waits.
        """
        made = Direct(
            self.url,
            application_name=self._application_name,
            connections=connections,
            options=self._options,
        )
        self._directs.append(made)
        return made

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        for direct in self._directs:
            direct.close()
        for other in self._others.values():
            other.dispose()


class Direct:
    """Connections of psycopg, opened when first needed and again when lost.

    A session of SQLAlchemy costs more than a small transaction: it asks first whether the
    connection lives, and rolls back what was committed. This asks nothing, and sends
    statements without waiting for their answers until one is looked at (pipeline mode).
    """

    def __init__(
        self, url: str, *, application_name: str, connections: int, options: Mapping[str, str]
    ) -> None:
        self._conninfo = make_conninfo(
            url.replace("postgresql+psycopg://", "postgresql://", 1),
            application_name=application_name,
            connect_timeout=10,
            **_KEEPALIVE,
            **options,
        )
        # The one used last is used next, so that a quiet process keeps one busy.
        self._free: LifoQueue[psycopg.Connection[Any] | None] = LifoQueue()
        for _ in range(connections):
            self._free.put(None)
        self._opened: WeakSet[psycopg.Connection[Any]] = WeakSet()

    def retrying(
        self,
        work: Callable[[psycopg.Connection[Any]], T],
        *,
        pipelined: bool,
        attempts: int = 5,
    ) -> T:
        """Run `work` in a transaction, as `Database.retrying` does.

        Args:
            pipelined: send statements without waiting; COPY cannot be used then.

        Raises:
            DBAPIError: the last transient failure, or any other at once.
        """
        return _again(lambda: self._once(work, pipelined=pipelined), attempts=attempts)

    def _once(self, work: Callable[[psycopg.Connection[Any]], T], *, pipelined: bool) -> T:
        connection = self._free.get()
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(self._conninfo)
                self._opened.add(connection)
            try:
                with connection.pipeline() if pipelined else nullcontext():
                    done = work(connection)
                    connection.commit()
            except BaseException:
                if not connection.closed:
                    connection.rollback()
                raise
        except psycopg.Error as error:
            lost = connection is None or connection.closed
            # As SQLAlchemy would have raised it, so that whoever retries or answers knows it.
            kind = OperationalError if isinstance(error, psycopg.OperationalError) else DBAPIError
            raise kind("direct", None, error, connection_invalidated=lost) from error
        finally:
            self._free.put(connection)
        return done

    def close(self) -> None:
        """Close the connections; the next transaction opens another."""
        for connection in list(self._opened):
            connection.close()


def _options(url: str, role: str | None) -> Mapping[str, str]:
    """Return what a connection says at its start, to take on a role before its first statement."""
    if role is None:
        return {}
    said = make_url(url).query.get("options", "")
    return {
        "options": f"{said if isinstance(said, str) else ' '.join(said)} -c role={role}".strip()
    }


def _again(work: Callable[[], T], *, attempts: int) -> T:
    """Do `work`, and again when the database asks for it."""
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except DBAPIError as error:
            if attempt == attempts or not is_transient(error):
                raise
            # Full jitter: contenders that failed together must not retry together.
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - not a secret
    raise AssertionError("unreachable")


def is_transient(error: BaseException) -> bool:
    """Return whether not the work is at fault, and the transaction may simply run again.

    By whom: a fence that is down means that it is another process's turn.
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, FenceDown | PoolTimeout)
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # Only the server gives a state: without one the connection failed or was never made.
        return error.connection_invalidated or isinstance(error, OperationalError)
    return (
        error.connection_invalidated
        or state in _TRANSIENT_STATES
        or state.startswith(_TRANSIENT_CLASSES)
    )


def sqlalchemy_url(url: str) -> str:
    """Return `url` with the driver that paygo uses (psycopg 3).

    >>> sqlalchemy_url("postgres://a@b/c")
    'postgresql+psycopg://a@b/c'
    """
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url
