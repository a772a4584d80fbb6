"""`paygo migrate` and `paygo settings`."""

import os

import click

from billing.cli.context import bring_up, print_json, print_table, read_settings
from metering.kit import migrate as migrations
from metering.kit.config import declared_settings
from metering.kit.postgres import database_url


@click.command()
@click.option("--check", is_flag=True, help="Only say the version; change nothing.")
def migrate(check: bool) -> None:
    """Bring the database to the version that this paygo needs, partitions of months ahead included.

    Safe to repeat, and to run from several machines at once.

    \b
    Examples:
      paygo migrate
      DATABASE_URL=postgresql://paygo@db/paygo paygo migrate --check
    """
    with database_url(read_settings()) as url:
        before, newest = migrations.current(url), migrations.newest()
        if not check:
            bring_up(url)
    if check:
        click.echo(f"The database is at {before or 'nothing'}; this paygo needs {newest}.")
    elif before == newest:
        click.echo(f"The database was at {newest} already.")
    else:
        click.echo(f"The database went from {before or 'nothing'} to {newest}.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(as_json: bool) -> None:
    """List every setting, what it is now, and what it means.

    A setting is an environment variable. Secrets are never shown.

    \b
    Examples:
      paygo settings
      PAYGO_PORT=9000 paygo settings --json
    """
    values = read_settings()
    rows = []
    for attribute, setting in declared_settings().items():
        value = getattr(values, attribute)
        shown = "" if value in (None, {}) else str(value)
        rows.append(
            {
                "name": setting.name,
                "value": "(hidden)" if setting.secret and shown else shown,
                "set": bool(os.environ.get(setting.name, "").strip()),
                "help": setting.help,
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        ("Setting", "Value", "From", "Meaning"),
        [
            (
                str(row["name"]),
                str(row["value"]),
                "environment" if row["set"] else "default" if row["value"] else "",
                str(row["help"]),
            )
            for row in rows
        ],
    )
