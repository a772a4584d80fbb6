"""The database: one engine, and the only `commit` in paygo.

One request or one work item is one transaction, opened at the edge with
`database.transaction()`; nothing below commits. Reads use
`database.snapshot()`, a read-only repeatable-read transaction, so that a GET
cannot write and a page sees one instant.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

T = TypeVar("T")

# Serialization failure, deadlock, connection trouble, and Citus's way of saying
# "the commit did not happen"; SCALE.md rule 13.
_TRANSIENT_STATES = frozenset({"40001", "40P01", "57P01", "57P02", "57P03", "XX000"})


class Database:
    """A handle on one PostgreSQL database.

    Args:
        url: an SQLAlchemy or libpq URL; `postgres://` and `postgresql://` are
            both read as psycopg 3.
        pool_size: connections kept open.
    """

    def __init__(self, url: str, *, pool_size: int = 5, application_name: str = "paygo") -> None:
        self.url = sqlalchemy_url(url)
        self.engine: Engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=5,
            pool_pre_ping=True,
            connect_args={"application_name": application_name, "connect_timeout": 10},
        )

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a read-write transaction; commit on leaving, roll back on an exception."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Open a read-only, repeatable-read transaction that sees one instant."""
        with Session(self.engine, expire_on_commit=False) as session:
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield session

    def retrying(self, work: Callable[[Session], T], *, attempts: int = 5) -> T:
        """Run `work` in a transaction, and again from the start when the database asks.

        `work` must be repeatable: it sees nothing of an attempt that failed.

        Raises:
            DBAPIError: the last transient failure, or any other at once.
        """
        for attempt in range(1, attempts + 1):
            try:
                with self.transaction() as session:
                    return work(session)
            except DBAPIError as error:
                if attempt == attempts or not is_transient(error):
                    raise
                # Full jitter: contenders that failed together must not retry together.
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - not a secret
        raise AssertionError("unreachable")

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def is_transient(error: DBAPIError) -> bool:
    """Return whether the whole transaction may simply be run again."""
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or (
        state is not None and (state in _TRANSIENT_STATES or state.startswith("08"))
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
