"""`paygo documents`: the files of issued invoices, many at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from billing.accounts import queries as accounts
from billing.bundles.operations import NothingToBundle, Selection
from billing.bundles.work import pack_selection
from billing.cli.context import MONTH, opened_database
from billing.cli.runs import run_id_of
from billing.documents.words import plural, show_size
from metering.kit.db import Database
from metering.periods import Month


@click.group()
def documents() -> None:
    """Fetch the documents of issued invoices."""


@documents.command()
@click.argument("month", type=MONTH)
@click.option("--to", "last", type=MONTH, help="The last month, with --account; MONTH without.")
@click.option("--account", "code", help="ODS code: only the documents of this organisation.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    required=True,
    help="The zip file to write.",
)
def bundle(month: Month, last: Month | None, code: str | None, output: Path) -> None:
    """Put all documents of MONTH's bill run, or of one organisation, into a zip file.

    The same documents give the same file, whenever it is made.

    \b
    Examples:
      paygo documents bundle 2026-10 --output october.zip
      paygo documents bundle 2026-04 --to 2026-10 --account RWE --output rwe.zip
    """
    if last is not None and code is None:
        raise click.UsageError("--to goes with --account; a bill run is of one month.")
    with opened_database() as database:
        selection = _selection(database, month, last or month, code)
        count = 0

        with _bar() as told, output.open("wb") as file:

            def counted(done: int, total: int) -> None:
                nonlocal count
                count = total
                told(done, total)

            for piece in pack_selection(database, selection=selection, told=counted):
                file.write(piece)
    if not count:
        output.unlink()
        raise NothingToBundle("Nothing of that is issued yet.")
    packed = plural(count, "invoice or credit note", "invoices and credit notes")
    click.echo(f"{output}: {packed}, {show_size(output.stat().st_size)}")


def _selection(database: Database, month: Month, last: Month, code: str | None) -> Selection:
    if code is None:
        return Selection(run_id=run_id_of(database, month))
    with database.snapshot() as session:
        account_id = accounts.payer_by_ods_code(session, ods_code=code).account.id
    return Selection(account_id=account_id, first=month.first_day, last=last.first_day)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Yield what shows progress: a bar on a terminal, nothing in a pipe."""
    columns = (
        TextColumn("Packing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("packing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
