"""`paygo key`: the keys by which hosted services prove themselves."""

from datetime import datetime

import click

from billing.cli.context import (
    PRINCIPAL,
    opened_database,
    print_json,
    print_table,
    show_instant,
)
from metering.kit.clock import now
from metering.periods import london_midnight
from metering.sources import operations, queries
from metering.sources.model import EVENTS_WRITE, MANIFESTS_WRITE, SCOPES


@click.group()
def key() -> None:
    """Issue, list and revoke the keys of hosted services."""


@key.command()
@click.argument("source")
@click.option("--label", required=True, help="Where the key will live, for example 'production'.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sorted(SCOPES)),
    default=(EVENTS_WRITE, MANIFESTS_WRITE),
    show_default=True,
    help="What it may be used for; repeat for several.",
)
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d"]),
    help="First London date on which it no longer works.",
)
def issue(source: str, label: str, scopes: tuple[str, ...], expires: datetime | None) -> None:
    """Issue a key to a hosted service and print it: it is shown only this once.

    \b
    Examples:
      paygo key issue imaging-archive --label production
      paygo key issue imaging-archive --label trial --expires 2027-01-01
    """
    with opened_database() as database, database.transaction() as session:
        issued = operations.issue_key(
            session,
            source_code=source,
            label=label,
            scopes=scopes,
            expires_at=None if expires is None else london_midnight(expires.date()),
            created_by=PRINCIPAL,
            now=now(),
        )
    click.echo(issued.text)
    click.echo("Keep it safe: it cannot be shown again.", err=True)


@key.command("list")
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(source: str, as_json: bool) -> None:
    """List a hosted service's keys, without their secrets.

    \b
    Example:
      paygo key list imaging-archive
    """
    with opened_database() as database, database.snapshot() as session:
        found = queries.by_code(session, code=source)
        rows = [
            (
                row.id,
                row.prefix,
                row.label,
                " ".join(row.scopes),
                show_instant(row.created_at),
                show_instant(row.last_used_at),
                "revoked"
                if row.revoked_at
                else f"until {show_instant(row.expires_at)}"
                if row.expires_at
                else "in use",
            )
            for row in queries.keys_of(session, source_id=found.id)
        ]
    columns = ("Id", "Prefix", "Label", "Scopes", "Created", "Last used", "State")
    if as_json:
        print_json([dict(zip(map(str.lower, columns), row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


@key.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key by its id, from this instant on.

    \b
    Example:
      paygo key revoke key_01J8ZQ0Q6W3V5T7Y9A1C3E5G7J
    """
    with opened_database() as database, database.transaction() as session:
        operations.revoke_key(session, key_id=key_id, principal=PRINCIPAL, now=now())
    click.echo(f"The key {key_id} works no longer.")
