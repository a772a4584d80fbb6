"""`paygo tariff simulate`: past usage under a draft, beside what was charged."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress as Bar

from billing.cli.context import MONTH, PRINCIPAL, opened_database, print_json, print_table
from billing.cli.files import read_tariff
from billing.documents.sheet import write_sheet
from billing.money import show_pounds
from billing.simulations import operations, queries
from billing.simulations.model import CSV_HEADER, Comparison, Row, csv_rows
from billing.simulations.pricing import Progress, compare
from billing.simulations.work import run_simulation
from metering.kit.clock import now
from metering.kit.db import Database
from metering.periods import Month


@click.command()
@click.argument("draft")
@click.option("--from", "first", type=MONTH, required=True, help="First London month.")
@click.option("--to", "last", type=MONTH, required=True, help="Last London month.")
@click.option("--as", "who", help="Who asks, for the audit trail; needed unless DRAFT is a file.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write every account, service and meter to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON.")
def simulate(
    draft: str, first: Month, last: Month, who: str | None, csv_file: Path | None, as_json: bool
) -> None:
    """Price real past usage of every account under DRAFT, beside what was charged.

    DRAFT is the id of a version, with which the result is kept for its approver, or a
    tariff file, for which nothing is kept.

    \b
    Examples:
      paygo tariff simulate tv_01J8ZQ0Q6W --from 2026-04 --to 2026-09 --as ann@nhs.example
      paygo tariff simulate imaging-archive.yaml --from 2026-04 --to 2026-09 --csv compared.csv
    """
    file = Path(draft)
    is_file = not draft.startswith("tv_") and file.is_file()
    if not is_file and who is None:
        raise click.UsageError("Say who asks with --as; the result is kept with the draft.")
    with opened_database() as database, Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Pricing", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if is_file:
            comparison = _of_file(database, file, first, last, progress)
        else:
            comparison = _of_version(database, draft, first, last, f"{PRINCIPAL}:{who}", progress)
    if csv_file is not None:
        csv_file.write_bytes(write_sheet(CSV_HEADER, csv_rows(comparison), for_people=True))
    if as_json:
        print_json(summary(comparison))
    else:
        _show(comparison)


def _of_file(
    database: Database, file: Path, first: Month, last: Month, progress: Progress
) -> Comparison:
    tariff = read_tariff(file)
    operations.check_span(first, last, now=now())
    with database.snapshot() as session:
        return compare(session, tariff=tariff, first=first, last=last, progress=progress)


def _of_version(
    database: Database,
    version_id: str,
    first: Month,
    last: Month,
    principal: str,
    progress: Progress,
) -> Comparison:
    with database.transaction() as session:
        simulation_id = operations.ask_for_simulation(
            session,
            version_id=version_id,
            first=first,
            last=last,
            principal=principal,
            now=now(),
            status="running",
        ).id
    run_simulation(database, simulation_id=simulation_id, now=now(), progress=progress)
    with database.snapshot() as session:
        return queries.result(queries.simulation(session, simulation_id=simulation_id))


def summary(comparison: Comparison) -> dict[str, object]:
    """Return a simulation as JSON for programs; the rows by account, service and meter too."""
    return {
        "charged": str(comparison.charged),
        "simulated": str(comparison.simulated),
        "difference": str(comparison.difference),
        "gainers": comparison.gainers(),
        "losers": comparison.losers(),
        **comparison.to_json(),
    }


def _show(comparison: Comparison) -> None:
    print_table(
        ("Month", "Charged>", "Under the draft>", "Difference>"),
        [
            (
                month.month,
                show_pounds(month.charged),
                show_pounds(month.simulated),
                show_pounds(month.difference),
            )
            for month in comparison.months
        ]
        + [
            (
                "All",
                show_pounds(comparison.charged),
                show_pounds(comparison.simulated),
                show_pounds(comparison.difference),
            )
        ],
        title="The nation, before VAT",
    )
    click.echo(
        f"\n{comparison.gainers()} accounts would have paid less, {comparison.losers()} more.\n"
    )
    heading = ("Charged>", "Under the draft>", "Difference>")
    print_table(
        ("Service", "Meter", *heading),
        [
            (row.service, row.meter or "monthly charges", *_amounts(row))
            for row in comparison.by_meter()
        ],
        title="By meter",
    )
    print_table(
        ("Account", "Name", *heading),
        [(row.organisation, row.name, *_amounts(row)) for row in comparison.movers()],
        title="Biggest movers",
    )
    for item in comparison.unpriced:
        click.echo(f"Not priced for {item.organisation}: {item.meter}. {item.detail}", err=True)


def _amounts(row: Row) -> tuple[str, str, str]:
    return (show_pounds(row.charged), show_pounds(row.simulated), show_pounds(row.difference))
