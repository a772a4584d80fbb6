"""`paygo archive`: old months of raw events as Parquet files."""

import click

from billing.cli.context import MONTH, PRINCIPAL, opened_database, read_settings
from metering.events.archive import archive_month
from metering.kit.clock import now
from metering.periods import Month


@click.command()
@click.argument("month", type=MONTH)
def archive(month: Month) -> None:
    """Move the raw events of an old MONTH to a Parquet file in PAYGO_ARCHIVE_DIR.

    The file is compared with the database row by row before the month leaves it.
    Daily totals and the ids of events stay. A month that is archived already is
    checked against its file.

    \b
    Example:
      paygo archive 2024-03
    """
    settings = read_settings()
    with opened_database(settings) as database:
        done = archive_month(
            database,
            month=month,
            folder=settings.archive_dir,
            correction_months=settings.correction_months,
            principal=PRINCIPAL,
            now=now(),
        )
    click.echo(f"{month.name}: {done.rows:,} rows in {done.path}")
    click.echo(f"SHA-256 {done.sha256}")
