"""`paygo forecast` and `paygo accrual`."""

from pathlib import Path

import click

from billing.accruals import queries as accruals
from billing.cli.context import MONTH, opened_database, print_json, print_table, show_instant
from billing.documents.sheet import write_sheet
from billing.forecasts import queries
from billing.forecasts.pricing import backtest as try_forecasts
from billing.money import show_pounds, sum_pounds
from metering.kit.clock import now
from metering.periods import Month

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def forecast() -> None:
    """Show what this month will come to, and how well forecasts did."""


@forecast.command()
@_json
def show(as_json: bool) -> None:
    """Show the last forecast of the present month; 'paygo run-job forecast' makes one.

    \b
    Example:
      paygo forecast show
    """
    month = Month.of(now())
    with opened_database() as database, database.snapshot() as session:
        rows = queries.latest_with_names(session, month=month)
    if as_json:
        print_json(
            [
                {
                    "organisation": code,
                    "name": name,
                    "month": str(month),
                    "made_on": str(row.made_on),
                    "to_date": str(row.to_date),
                    "low": str(row.low),
                    "expected": str(row.expected),
                    "high": str(row.high),
                }
                for row, code, name in rows
            ]
        )
        return
    print_table(
        ("Account", "Name", "So far>", "Low>", "Expected>", "High>", "Made on"),
        [
            (
                code,
                name,
                show_pounds(row.to_date),
                show_pounds(row.low),
                show_pounds(row.expected),
                show_pounds(row.high),
                str(row.made_on),
            )
            for row, code, name in rows
        ],
        title=f"{month.name}, before VAT",
    )
    click.echo(f"The nation: {show_pounds(sum_pounds([row.expected for row, _, _ in rows]))}")


@forecast.command()
@click.option("--month", type=MONTH, help="A London month that is over; else the last one.")
@click.option(
    "--day",
    "days",
    type=click.IntRange(1, 28),
    multiple=True,
    default=(8, 15, 22),
    show_default=True,
    help="Foretell from this day, knowing the days before; may be repeated.",
)
@_json
def backtest(month: Month | None, days: tuple[int, ...], as_json: bool) -> None:
    """Foretell a month that is over, and say how far off it would have been.

    \b
    Examples:
      paygo forecast backtest
      paygo forecast backtest --month 2026-09 --day 10 --day 20
    """
    month = month or Month.of(now()).previous
    with opened_database() as database, database.snapshot() as session:
        found = try_forecasts(session, month=month, days=sorted(set(days)))
    if as_json:
        print_json([vars(item) for item in found])
        return
    print_table(
        ("Made on", "Foretold>", "Came to>", "Error>", "Each account>", "In range>"),
        [
            (
                str(item.as_of),
                show_pounds(item.expected),
                show_pounds(item.actual),
                f"{item.error_percent}%",
                f"{item.spread_percent}%",
                f"{item.in_range_percent}%",
            )
            for item in found
        ],
        title=f"{month.name}, {found[0].accounts} accounts, before VAT",
    )
    click.echo("Error: of the nation. Each account: all errors, either way, over the whole.")


@click.command()
@click.option("--month", type=MONTH, help="At the end of this London month; else the last one.")
@click.option("--taken", is_flag=True, help="As it was taken for the books, not as it stands.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file instead.",
)
@_json
def accrual(month: Month | None, taken: bool, csv_file: Path | None, as_json: bool) -> None:
    """Show what was used up to a month's end and is not invoiced, without VAT.

    The job take-accruals keeps it on the first working day after the month.

    \b
    Examples:
      paygo accrual --month 2026-09
      paygo accrual --month 2026-09 --taken --csv accrual.csv
    """
    month = month or Month.of(now()).previous
    with opened_database() as database, database.snapshot() as session:
        instant = accruals.taken_at(session, month=month)
        rows = (
            accruals.taken(session, month=month)
            if taken
            else accruals.standing(session, month=month)
        )
    if csv_file is not None:
        csv_file.write_bytes(
            write_sheet(accruals.CSV_HEADER, accruals.csv_rows(rows), for_people=True)
        )
        return
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    print_table(
        ("Account", "Name", "Service", "Used in", "Amount>"),
        [
            (
                row.ods_code,
                row.name,
                row.tariff_code,
                str(Month.of_day(row.usage_month)),
                show_pounds(row.amount),
            )
            for row in rows
        ],
    )
    click.echo(f"All: {show_pounds(sum_pounds([row.amount for row in rows]))}")
    click.echo(f"Taken for the books: {show_instant(instant)}", err=True)
