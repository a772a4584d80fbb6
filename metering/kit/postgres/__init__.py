"""The database's address: the one that is set, or the embedded server's."""

from collections.abc import Iterator
from contextlib import contextmanager

from metering.kit.config import Settings
from metering.kit.postgres.binaries import PostgresMissing
from metering.kit.postgres.server import (
    ClusterVersionMismatch,
    DataFolderUnusable,
    DiskFull,
    EmbeddedPostgres,
    EmbeddedPostgresFailed,
    SocketPathTooLong,
)

__all__ = [
    "ClusterVersionMismatch",
    "DataFolderUnusable",
    "DiskFull",
    "EmbeddedPostgres",
    "EmbeddedPostgresFailed",
    "PostgresMissing",
    "SocketPathTooLong",
    "database_url",
]


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield `DATABASE_URL`, or the URL of the embedded server while it runs.

    The embedded server is started, or attached to when another process of this
    machine runs it on the same data folder, and ended on leaving if started here.

    Raises:
        EmbeddedPostgresFailed: the embedded server cannot run; the sentence says why.
        PostgresMissing: the embedded server's programs are not here.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    with EmbeddedPostgres(settings.data_dir / "postgres") as url:
        yield url
