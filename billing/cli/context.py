"""What the commands share: settings, the database, a table, JSON."""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from billing import grants
from metering.jobs import make_partitions
from metering.kit import clock, migrate
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.errors import Conflict, Unavailable
from metering.kit.logs import LogForm, configure_logs, get_logger
from metering.kit.postgres import database_url
from metering.kit.processes import die_with_parent
from metering.kit.roles import PROCESSES, WEB, process_role_statements
from metering.periods import Month, london

_log = get_logger(__name__)

PRINCIPAL = "cli"
"""Who acts, in the audit trail, when a command changes something."""


class SchemaNotCurrent(Conflict):
    """The database is at another version than this paygo; `paygo migrate` brings it up."""

    code = "schema-not-current"
    title = "The database is at another version"


class MonthText(click.ParamType[Month]):
    """A London month written `YYYY-MM`."""

    name = "month"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        if isinstance(value, Month):
            return value
        try:
            return Month.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


MONTH = MonthText()


def read_settings() -> Settings:
    """Return the settings that the environment gives.

    Raises:
        BadSetting: a value cannot be used.
    """
    return Settings.from_environment(os.environ)


def start_logs(settings: Settings, *, level: str | None = None) -> None:
    """Write log lines as the settings say, or at another least severity."""
    form: LogForm = "json" if settings.log_format == "json" else "text"
    configure_logs(level=level or settings.log_level, form=form)
    # Two lines for each look at the schema's version.
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextmanager
def opened_database(settings: Settings | None = None) -> Iterator[Database]:
    """Yield the database, ours while the command runs or the one that is set.

    Raises:
        SchemaNotCurrent: it is not at the version that this code expects.
    """
    settings = settings or read_settings()
    # A command's output is its result; only what went wrong is logged beside it.
    start_logs(settings, level="warning")
    with database_url(settings) as url:
        check_schema(url)
        database = Database(url)
        try:
            yield database
        finally:
            database.dispose()


class RolesNotUsable(Unavailable):
    """`PAYGO_DATABASE_ROLES` is `required`, and the database has no such role to take on."""

    code = "roles-not-usable"
    title = "The database role cannot be taken on"


def chosen_role(settings: Settings, url: str, role: str) -> str | None:
    """Return the database role that a process works under; None for whoever signs in.

    Raises:
        RolesNotUsable: the setting requires a role, and it cannot be taken on.
    """
    if settings.database_roles == "off":
        return None
    # The pages act as the others where they do their work: usage sent anew, a job run now.
    needed = PROCESSES if role == WEB else (role,)
    database = Database(url, pool_size=1)
    try:
        with database.engine.connect() as connection:
            missing = [one for one in needed if not grants.ready(connection, one)]
    finally:
        database.dispose()
    if not missing:
        return role
    told = f"{', '.join(missing)} cannot be taken on"
    if settings.database_roles == "required":
        raise RolesNotUsable(
            f"{told}; have an administrator make it, then run 'paygo migrate':"
            f" {' '.join(process_role_statements())}"
        )
    _log.warning("this process works with all rights of whoever signs in", reason=told)
    return None


def bring_up(url: str) -> None:
    """Migrate a database, grant its roles, and make the partitions of the months ahead."""
    migrate.upgrade(url)
    grant_roles(url)
    database = Database(url)
    try:
        make_partitions(database, now=clock.now())
    finally:
        database.dispose()


def grant_roles(url: str) -> None:
    """Give the processes' roles the rights that this code's version says."""
    database = Database(url)
    try:
        with database.transaction() as session:
            grants.apply(session.connection())
    finally:
        database.dispose()


def check_schema(url: str) -> None:
    """Refuse a database at another version than the code.

    Raises:
        SchemaNotCurrent: it is at another version.
    """
    at, needed = migrate.current(url), migrate.newest()
    if at != needed:
        where = "has no tables yet" if at is None else f"is at version {at}"
        raise SchemaNotCurrent(
            f"The database {where} and this paygo needs {needed}; run 'paygo migrate'."
        )


def end_with_parent(_ctx: click.Context, _param: click.Parameter, parent: int | None) -> None:
    """Apply the hidden option `--die-with`."""
    if parent is not None:
        die_with_parent(parent)


die_with = click.option(
    "--die-with", type=int, hidden=True, expose_value=False, is_eager=True, callback=end_with_parent
)


def stop_on_signals() -> threading.Event:
    """Return an event that Ctrl-C, SIGTERM and a closed terminal set."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def print_json(value: Any) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None
) -> None:
    """Print rows under headings; a column whose name ends in `>` is aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        right = column.endswith(">")
        table.add_column(column.rstrip(">"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*row)
    # Piped output is never cut to a terminal's width.
    Console(width=None if sys.stdout.isatty() else 250).print(table)


def show_instant(instant: datetime | None) -> str:
    """Return an instant on the London clock to the second, or a dash."""
    return "-" if instant is None else f"{london(instant):%Y-%m-%d %H:%M:%S}"
