"""`paygo readings rebuild`: work readings out anew from raw events."""

import click

from billing.cli.context import MONTH, opened_database
from billing.documents.words import plural
from metering.jobs import rebuild as rebuild_months
from metering.kit import clock
from metering.periods import Month


@click.group()
def readings() -> None:
    """Look after the daily readings."""


@readings.command()
@click.argument("first", type=MONTH)
@click.argument("last", type=MONTH, required=False)
def rebuild(first: Month, last: Month | None) -> None:
    """Work out the readings of the months FIRST to LAST (or of FIRST alone) from raw events.

    Readings that were right stay as they are: no difference proves them. It is safe
    at any time; each month is one transaction.

    \b
    Examples:
      paygo readings rebuild 2026-04
      paygo readings rebuild 2026-04 2026-09
    """
    if last is not None and last < first:
        raise click.UsageError(f"{last} is before {first}.")
    with opened_database() as database:
        done = rebuild_months(database, first=first, last=last or first, now=clock.now())
    click.echo(
        f"{plural(done['months'], 'month')}; {plural(done['readings'], 'reading')} differed."
    )
