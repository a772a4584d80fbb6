"""`paygo distribute`: from one PostgreSQL to a Citus cluster."""

import click

from billing.cli.context import opened_database
from billing.schema import metadata
from metering.events import partitions
from metering.kit import citus


@click.command()
@click.option(
    "--shards",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="Shards of each group of tables.",
)
def distribute(shards: int) -> None:
    """Put every table where it belongs on a Citus cluster.

    Safe to repeat. Does nothing on plain PostgreSQL. Stop the web servers and
    schedulers first; docs/scale.md says the rest.

    \b
    Example:
      DATABASE_URL=postgresql://paygo@coordinator/paygo paygo distribute --shards 32
    """
    with opened_database() as database:
        with database.transaction() as session:
            if citus.is_cluster(session):
                partitions.summarise_on_request(session)
        moved = citus.distribute(database, metadata, shards=shards)
    if moved is None:
        click.echo("This database has no Citus extension: every table stays where it is.")
    elif moved:
        click.echo(f"{len(moved)} tables were moved: {', '.join(moved)}.")
    else:
        click.echo("Every table was where it should be already.")
