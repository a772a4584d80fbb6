"""`paygo reconcile` and `paygo verify`: proofs that anybody may ask for."""

import click
from sqlalchemy import select

from billing.cli.context import MONTH, opened_database, print_json, print_table
from billing.invoices import queries as invoices
from billing.invoices.verifying import verify_invoices
from billing.money import plain, show_pounds
from billing.runs.model import Reconciled
from billing.runs.reconciling import reconcile_month
from billing.runs.rerating import Rerated, Standing, invoiced_months, rerate_invoice, rerate_month
from metering.kit import audit
from metering.kit.clock import now
from metering.kit.db import Database
from metering.kit.tables import AuditEntryRow
from metering.periods import Month


@click.command()
@click.argument("month", type=MONTH)
@click.option("--all", "show_all", is_flag=True, help="List every line, not the differences alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reconcile(month: Month, show_all: bool, as_json: bool) -> None:
    """Check that a MONTH's events, readings, charges and invoices are one quantity.

    For each trust and meter: events = readings = rated + parked, and what is
    rated is invoiced or unbilled for a named reason. Usage that is just coming in
    is told apart. Status 1 on any difference.

    \b
    Examples:
      paygo reconcile 2026-10
      paygo reconcile 2026-10 --all --json
    """
    with opened_database() as database, database.snapshot() as session:
        rows = reconcile_month(session, month=month, ended=month < Month.of(now()), moving=True)
    wrong = [row for row in rows if row.differences]
    shown = rows if show_all else wrong
    if as_json:
        print_json([_document(row) for row in shown])
    elif shown:
        print_table(
            (
                "Organisation",
                "Meter",
                "Events>",
                "Readings>",
                "Rated>",
                "Invoiced>",
                "Unbilled>",
                "Reason or difference",
            ),
            [
                (
                    row.organisation,
                    row.meter,
                    "-" if row.events is None else plain(row.events),
                    plain(row.readings),
                    plain(row.rated),
                    plain(row.invoiced),
                    plain(row.unbilled),
                    "; ".join(row.differences or row.underway) or row.reason or "",
                )
                for row in shown
            ],
        )
    if wrong:
        raise click.ClickException(f"{len(wrong)} of {len(rows)} sums of {month.name} differ.")
    if not as_json:
        unbilled = sum(1 for row in rows if row.unbilled)
        underway = sum(1 for row in rows if row.underway)
        click.echo(
            f"{month.name}: {len(rows)} sums, every one equal from event to invoice"
            + (f"; {unbilled} unbilled for a named reason" if unbilled else "")
            + (f"; {underway} with usage still to be added up or rated." if underway else ".")
        )


def _document(row: Reconciled) -> dict[str, object]:
    return {
        "organisation": row.organisation,
        "meter": row.meter,
        "events": None if row.events is None else plain(row.events),
        "readings": plain(row.readings),
        "rated": plain(row.rated),
        "parked": plain(row.parked),
        "invoiced": plain(row.invoiced),
        "unbilled": plain(row.unbilled),
        "reason": row.reason,
        "differences": list(row.differences),
        "underway": list(row.underway),
    }


@click.command()
@click.argument("numbers", nargs=-1)
@click.option("--rerate", is_flag=True, help="Rate every invoiced month again as well.")
def verify(numbers: tuple[str, ...], rerate: bool) -> None:
    """Check every issued invoice's seal, number, sums and working, and the audit trail.

    With NUMBERS of invoices, rates those again from their stored readings and prices, and
    shows that the pennies are the same. Status 1 when anything does not hold.

    \b
    Examples:
      paygo verify
      paygo verify PG-2627-000001
      paygo verify --rerate
    """
    if numbers or rerate:
        _rerate(numbers)
    if numbers:
        return
    with opened_database() as database:
        click.echo(prove(database))


def prove(database: Database) -> str:
    """Check all that was issued and recorded; return what holds, in words.

    Raises:
        ClickException: something does not hold; each fault was written to standard error.
    """
    with database.snapshot() as session:
        verified = verify_invoices(session)
        entries = session.scalars(
            select(AuditEntryRow).order_by(AuditEntryRow.position).execution_options(yield_per=1000)
        )
        broken = audit.verify(entries)
        last = session.execute(
            select(AuditEntryRow.position, AuditEntryRow.seal)
            .order_by(AuditEntryRow.position.desc())
            .limit(1)
        ).first()
    for fault in verified.faults:
        click.echo(f"{fault.number}: {fault.what}", err=True)
    if broken is not None:
        click.echo(f"audit entry {broken.position}: {broken.reason}", err=True)
    if verified.faults or broken is not None:
        raise click.ClickException("Something that was issued or recorded does not hold.")
    proved = (
        f"{verified.documents} documents: numbers, seals, sums and working hold;"
        " so does the audit trail."
    )
    # Whoever keeps this elsewhere would see a chain that was made anew.
    return proved if last is None else f"{proved}\nIt ends at entry {last[0]}, seal {last[1]}."


def _rerate(numbers: tuple[str, ...]) -> None:
    found: list[Rerated] = []
    with opened_database() as database, database.snapshot() as session:
        for number in numbers:
            row = invoices.by_number(session, number=number)
            found += rerate_invoice(session, account_id=row.account_id, invoice_id=row.id)
        if not numbers:
            for month in invoiced_months(session):
                found += rerate_month(session, month=month)
    shown = [one for one in found if numbers or one.standing is not Standing.SAME]
    if shown:
        print_table(
            ("Trust", "Month", "Service", "Price", "Invoiced>", "Rated again>", "Standing"),
            [
                (
                    one.ods_code,
                    str(one.key.month),
                    one.key.tariff_code,
                    one.key.price_key,
                    show_pounds(one.invoiced),
                    show_pounds(one.rerated),
                    one.standing.value,
                )
                for one in shown
            ],
        )
    faults = sum(one.standing is Standing.FAULT for one in found)
    if faults:
        raise click.ClickException(f"{faults} prices come to other pennies from the same inputs.")
    same = sum(one.standing is Standing.SAME for one in found)
    click.echo(f"{same} of {len(found)} prices rated again come to the same pennies.")
