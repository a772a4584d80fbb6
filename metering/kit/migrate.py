"""Bring a database's schema to a version.

Migrations wait at most `LOCK_TIMEOUT` for a table, so that one that cannot
get its lock fails and is tried again rather than blocking every query behind it.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from metering.kit.db import sqlalchemy_url

FOLDER = Path(__file__).resolve().parents[2] / "migrations"
LOCK_TIMEOUT = "5s"
# Any constant: two migrating processes must take the same lock.
_LOCK = 7_201_946


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, *, revision: str = "head") -> None:
    """Migrate forwards to `revision`; safe to call at once from several processes."""
    _migrate(url, revision=revision, forwards=True)


def downgrade(url: str, *, revision: str) -> None:
    """Migrate backwards to `revision` (`base` empties the database)."""
    _migrate(url, revision=revision, forwards=False)


def _migrate(url: str, *, revision: str, forwards: bool) -> None:
    engine = create_engine(
        sqlalchemy_url(url), connect_args={"options": f"-c lock_timeout={LOCK_TIMEOUT}"}
    )
    waiting = create_engine(sqlalchemy_url(url))
    try:
        with waiting.connect() as guard, engine.connect() as connection:
            guard.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            (command.upgrade if forwards else command.downgrade)(_config(connection), revision)
    finally:
        engine.dispose()
        waiting.dispose()


def current(url: str) -> str | None:
    """Return the revision that the database is at, None where it is empty."""
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def newest() -> str:
    """Return the revision that the code expects, from `migrations/HEAD`."""
    return (FOLDER / "HEAD").read_text().strip()
