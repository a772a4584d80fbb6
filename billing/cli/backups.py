"""`paygo backup` and `paygo restore`: the whole database as one file, and back, proved."""

import sys
from pathlib import Path

import click

from billing.cli.checks import prove
from billing.cli.context import grant_roles, opened_database, read_settings, start_logs
from metering.kit import dumps, migrate
from metering.kit.postgres import database_url

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
def backup(file: Path) -> None:
    """Write the whole database to FILE, as of one instant.

    FILE must not exist, and only its owner may read it; - writes it to the standard output,
    for a program that encrypts it. The key in PAYGO_SECRET_KEY is not
    in it: keep that elsewhere. Nothing needs to stop meanwhile.

    \b
    Examples:
      paygo backup /backups/paygo-2026-04-01.dump
      paygo backup - | age -r age1… > /backups/paygo-2026-04-01.dump.age
    """
    if str(file) == "-":
        with opened_database() as database:
            url = database.engine.url.render_as_string(hide_password=False)
            dumps.write_dump(url, sys.stdout.buffer)
        return
    with opened_database() as database:
        dumps.dump(database.engine.url.render_as_string(hide_password=False), file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Read FILE into an empty database, bring it up to date, and prove what it holds.

    All of it is read, or nothing. Then every seal, number and sum is checked, and the audit
    trail, as by 'paygo verify': status 1 when anything does not hold.

    \b
    Examples:
      paygo restore /backups/paygo-2026-04-01.dump
      PAYGO_DATA_DIR=/tmp/rehearsal paygo restore /backups/paygo-2026-04-01.dump
    """
    settings = read_settings()
    start_logs(settings, level="warning")
    with database_url(settings) as url:
        dumps.restore(url, file)
        at, needed = migrate.current(url), migrate.newest()
        if at != needed:
            migrate.upgrade(url)
            click.echo(f"The database was of version {at} and is now at {needed}.")
        grant_roles(url)
        with opened_database(settings) as database:
            click.echo(prove(database))
