"""`paygo tariff` and `paygo estimate`."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from billing.cli.context import MONTH, PRINCIPAL, opened_database, print_json, print_table
from billing.cli.files import FILE, read_document, read_tariff
from billing.cli.simulate import simulate
from billing.rating.estimate import estimate as rate_estimate
from billing.tariffs import operations, queries
from billing.tariffs.model import Tariff, diff_tariffs, parse_tariff
from metering.kit.clock import now
from metering.periods import Month, london_day


@click.group()
def tariff() -> None:
    """Check, compare, import, export, simulate and list tariffs."""


tariff.add_command(simulate)


@tariff.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Say whether FILE is a tariff that paygo takes; list every fault.

    \b
    Example:
      paygo tariff check imaging-archive.yaml
    """
    read = read_tariff(file)
    click.echo(
        f"{read.code} {read.version}: {len(read.prices)} prices for"
        f" {', '.join(sorted(read.meters)) or 'no meter'}, from {read.effective_from}, in order."
    )


_who = click.option(
    "--as", "who", required=True, help="Who acts, for the audit trail: an email address."
)


@tariff.command("import")
@click.argument("file", type=FILE)
@_who
@click.option("--submit", is_flag=True, help="Submit it for approval at once.")
def import_(file: Path, who: str, submit: bool) -> None:
    """Keep the tariff in FILE as a draft version, or replace the draft of that name.

    \b
    Example:
      paygo tariff import imaging-archive.yaml --as ann@nhs.example --submit
    """
    with opened_database() as database, database.transaction() as session:
        row = operations.draft_version(
            session, document=read_document(file), principal=_principal(who), now=now()
        )
        if submit:
            operations.submit_version(
                session, version_id=row.id, principal=_principal(who), now=now()
            )
    click.echo(f"{row.tariff_code} {row.version} is {row.status}: {row.id}")


@tariff.command()
@click.argument("version_id")
@_who
@click.option("--reason", help="Needed where it changes months that are invoiced.")
def approve(version_id: str, who: str, reason: str | None) -> None:
    """Approve a submitted version; somebody other than its author must.

    \b
    Example:
      paygo tariff approve tv_01J8ZQ0Q6W3V5T7Y9A1C3E5G7J --as bob@nhs.example
    """
    with opened_database() as database, database.transaction() as session:
        row = operations.approve_version(
            session, version_id=version_id, principal=_principal(who), now=now(), reason=reason
        )
    click.echo(f"{row.tariff_code} {row.version} holds from {row.effective_from}.")


@tariff.command()
@click.argument("version_id")
def export(version_id: str) -> None:
    """Print a version as the file that 'paygo tariff import' reads.

    \b
    Example:
      paygo tariff export tv_01J8ZQ0Q6W3V5T7Y9A1C3E5G7J > imaging-archive.yaml
    """
    with opened_database() as database, database.snapshot() as session:
        click.echo(operations.export_tariff(session, version_id=version_id), nl=False)


@tariff.command()
@click.argument("old")
@click.argument("new")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of sentences.")
def diff(old: str, new: str, as_json: bool) -> None:
    """Say in words what changes from OLD to NEW; each is a tariff file or a version's id.

    \b
    Examples:
      paygo tariff diff last-year.yaml this-year.yaml
      paygo tariff diff tv_01J8ZQ0Q6W3V5T7Y9A1C3E5G7J imaging-archive.yaml
    """
    before, after = _file_or_version(old), _file_or_version(new)
    if before.code != after.code:
        raise click.ClickException(f"{before.code} and {after.code} are two tariffs.")
    said = diff_tariffs(before, after)
    if as_json:
        print_json(list(said))
    else:
        click.echo("\n".join(said) or "Nothing changes.")


def _file_or_version(name: str) -> Tariff:
    if not name.startswith("tv_"):
        file = Path(name)
        if not file.is_file():
            raise click.ClickException(f"There is no file {name}, and a version's id begins tv_.")
        return read_tariff(file)
    with opened_database() as database, database.snapshot() as session:
        return parse_tariff(queries.version(session, version_id=name).content)


@tariff.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_versions(as_json: bool) -> None:
    """List every tariff with its versions.

    \b
    Example:
      paygo tariff list
    """
    today = london_day(now())
    with opened_database() as database, database.snapshot() as session:
        rows = [
            (
                row.code,
                version.version,
                str(version.effective_from),
                str(version.effective_to or ""),
                str(queries.standing(version, today=today)),
                version.id,
            )
            for row in queries.tariffs(session)
            for version in queries.versions(session, tariff_code=row.code)
        ]
    columns = ("Tariff", "Version", "From", "To", "Standing", "Id")
    if as_json:
        print_json([dict(zip(map(str.lower, columns), row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def _principal(who: str) -> str:
    return f"{PRINCIPAL}:{who}"


@click.command()
@click.argument("tariff_file", metavar="TARIFF", type=FILE)
@click.argument("usage_file", metavar="USAGE", type=FILE)
@click.option(
    "--month", type=MONTH, help="London month of usage without 'at'; else the present one."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the whole working.")
def estimate(tariff_file: Path, usage_file: Path, month: Month | None, as_json: bool) -> None:
    """Price supposed USAGE on a TARIFF, with the working, by the code that invoices.

    USAGE is a JSON or YAML list of {organisation, meter, quantity, dimensions, at}.
    No database is needed.

    \b
    Examples:
      paygo estimate imaging-archive.yaml usage.json --month 2026-10
      paygo estimate imaging-archive.yaml usage.json --json
    """
    usage = read_document(usage_file)
    priced = rate_estimate(
        read_tariff(tariff_file), usage, month=month or _month_of(usage) or Month.of(now())
    )
    if as_json:
        print_json(priced)
        return
    print_table(
        ("Organisation", "Meter", "Price", "Quantity>", "Amount>"),
        [
            (
                charge["organisation"],
                charge["meter"] or "",
                charge["price"],
                charge["quantity"],
                f"£{charge['amount']}",
            )
            for charge in priced["charges"]
        ],
    )
    click.echo(f"Total before VAT: £{priced['total']}")
    for parked in priced.get("parked", []):
        click.echo(f"Not priced: {parked['detail']}", err=True)


def _month_of(usage: Any) -> Month | None:
    """Return the London month of the first `at`, None where there is none to read."""
    for item in usage if isinstance(usage, list) else ():
        try:
            return Month.of(datetime.fromisoformat(item["at"]))
        except (TypeError, KeyError, ValueError):
            continue
    return None
