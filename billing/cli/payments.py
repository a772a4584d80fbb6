"""`paygo payments`: bank statements, statements of account, the ledger, from the terminal."""

from datetime import date, datetime
from pathlib import Path

import click

from billing.accounts.queries import payer_by_ods_code, payers
from billing.cli.context import MONTH, PRINCIPAL, opened_database, print_json, print_table
from billing.documents.sheet import write_sheet
from billing.ledger import queries as ledger
from billing.money import show_pounds
from billing.payments import debt, statements
from billing.payments.bank import imports
from billing.payments.bank import queries as bank
from billing.payments.bank.camt import read_camt
from billing.payments.bank.csv_file import (
    PLAIN,
    CsvMapping,
    read_csv_remittance,
    read_csv_statement,
)
from billing.payments.conservation import check_books
from billing.payments.jobs import BooksDiffer
from metering.kit.clock import now
from metering.periods import Month, london_day, show_date

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_on = click.option(
    "--on", type=click.DateTime(["%Y-%m-%d"]), help="London date, at its end; today if not given."
)


@click.group()
def payments() -> None:
    """Import bank statements and show what is owed, paid and in the ledger."""


@payments.command("import-statement")
@_file
@click.option("--bank-account", help="Our account; a CSV file does not say it.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="WHAT=NAME",
    help="Which CSV column holds what, for example --column amount=Value; repeat.",
)
def import_statement(file: Path, bank_account: str | None, columns: tuple[str, ...]) -> None:
    """Import a bank statement: CAMT.053 (.xml) or CSV. What came before adds nothing.

    \b
    Examples:
      paygo payments import-statement may.xml
      paygo payments import-statement may.csv --bank-account GB33BUKB20201555555555
      paygo payments import-statement may.csv --bank-account 20-20-15 \\
        --column date=Posted --column paid_in=Credit --column paid_out=Debit
    """
    content = file.read_bytes()
    if file.suffix.lower() == ".xml":
        read = read_camt(content)
    else:
        if bank_account is None:
            raise click.UsageError("A CSV statement needs --bank-account.")
        mapping = PLAIN
        if columns:
            pairs = [column.partition("=") for column in columns]
            if any(not name for _, _, name in pairs):
                raise click.UsageError("Write --column as WHAT=NAME.")
            mapping = CsvMapping.read({what: name for what, _, name in pairs})
        read = (read_csv_statement(content, bank_account=bank_account, mapping=mapping),)
    with opened_database() as database:
        for statement in read:
            with database.transaction() as session:
                made = imports.import_statement(
                    session,
                    statement=statement,
                    content=content,
                    file_name=file.name,
                    principal=PRINCIPAL,
                    now=now(),
                )
            click.echo(f"{statement.bank_account}: {made.added} new lines, {made.known} known.")


@payments.command("import-remittance")
@_file
@click.option("--payer", required=True, help="Who pays, as the advice says.")
@click.option("--reference", default="", help="The payment's reference on the statement.")
@click.option("--paid-on", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Payment date.")
def import_remittance(file: Path, payer: str, reference: str, paid_on: datetime) -> None:
    """Import a remittance advice: a CSV file with the columns Invoice and Amount.

    \b
    Example:
      paygo payments import-remittance advice.csv --payer "NHS SBS" --paid-on 2026-05-19
    """
    content = file.read_bytes()
    advice = read_csv_remittance(content, payer=payer, reference=reference, paid_on=paid_on.date())
    with opened_database() as database, database.transaction() as session:
        made = imports.import_remittance(
            session, remittance=advice, content=content, principal=PRINCIPAL, now=now()
        )
    words = "Imported" if made is not None else "Imported before"
    click.echo(f"{words}: {len(advice.items)} invoices, {show_pounds(advice.total)}.")


@payments.command()
@_json
def unmatched(as_json: bool) -> None:
    """List the bank lines that wait to be matched, each with the best suggestion.

    \b
    Example:
      paygo payments unmatched
    """
    with opened_database() as database, database.snapshot() as session:
        against = bank.matching_ledger(session)
        lines = [
            (line, bank.suggestions(line, against=against)) for line in bank.unmatched(session)
        ]
    if as_json:
        print_json(
            [
                {
                    "id": line.id,
                    "booked_on": line.booked_on.isoformat(),
                    "left": str(line.left),
                    "payer": line.counterparty,
                    "reference": line.reference,
                    "suggestions": [{"score": one.score, "why": one.why} for one in suggestions],
                }
                for line, suggestions in lines
            ]
        )
        return
    print_table(
        ("line", "booked", "left>", "payer", "reference", "best suggestion"),
        (
            (
                line.id,
                line.booked_on.isoformat(),
                show_pounds(line.left),
                line.counterparty,
                line.reference,
                f"{found[0].score}: {found[0].why}" if found else "-",
            )
            for line, found in lines
        ),
    )


@payments.command()
@click.argument("trust")
@click.option("--from", "first", type=MONTH, required=True, help="First month, YYYY-MM.")
@click.option("--to", "last", type=MONTH, help="Last month; the first if not given.")
@_json
def statement(trust: str, first: Month, last: Month | None, as_json: bool) -> None:
    """Show the statement of account of TRUST (an ODS code).

    \b
    Example:
      paygo payments statement RRK --from 2026-04 --to 2026-06
    """
    with opened_database() as database, database.snapshot() as session:
        shown = statements.statement_of_account(
            session,
            account_id=payer_by_ods_code(session, ods_code=trust).account.id,
            first_day=first.first_day,
            end_day=(last or first).end_day,
        )
    rows = [
        (row.movement.on, row.movement.description, row.movement.amount, row.balance)
        for row in shown.movements
    ]
    if as_json:
        print_json(
            {
                "opening": str(shown.opening),
                "movements": [
                    {
                        "on": on.isoformat(),
                        "what": what,
                        "amount": str(amount),
                        "balance": str(left),
                    }
                    for on, what, amount, left in rows
                ],
                "closing": str(shown.closing),
            }
        )
        return
    print_table(
        ("date", "what", "amount>", "balance>"),
        [
            ("", "Opening balance", "", show_pounds(shown.opening)),
            *(
                (show_date(on), what, show_pounds(amount), show_pounds(left))
                for on, what, amount, left in rows
            ),
            ("", "Closing balance", "", show_pounds(shown.closing)),
        ],
    )


@payments.command("trial-balance")
@_on
@_json
def trial_balance(on: datetime | None, as_json: bool) -> None:
    """Show every ledger account's balance, and check it against documents and payments.

    \b
    Example:
      paygo payments trial-balance --on 2026-05-31
    """
    day = _day(on)
    with opened_database() as database, database.snapshot() as session:
        shown = ledger.trial_balance(session, on=day)
        differences = check_books(session, on=day)
    if as_json:
        print_json(
            {
                "on": day.isoformat(),
                "balances": {name.value: str(amount) for name, amount in shown.balances.items()},
                "revenue_by_service": {
                    service: str(amount) for service, amount in shown.revenue_by_service.items()
                },
            }
        )
    else:
        print_table(
            ("account", "debit>", "credit>"),
            [
                *(
                    (
                        name.value,
                        show_pounds(amount) if amount > 0 else "",
                        show_pounds(-amount) if amount < 0 else "",
                    )
                    for name, amount in shown.balances.items()
                ),
                ("together", show_pounds(shown.debits), show_pounds(shown.credits)),
            ],
            title=f"Trial balance at the end of {show_date(day)}",
        )
    if differences:
        told = "; ".join(f"{one.what} {one.ledger} / {one.documents}" for one in differences)
        raise BooksDiffer(f"Ledger / documents: {told}.")


@payments.command("aged-debt")
@_on
@_json
def aged_debt(on: datetime | None, as_json: bool) -> None:
    """Show what each trust owes by days overdue.

    \b
    Example:
      paygo payments aged-debt
    """
    with opened_database() as database, database.snapshot() as session:
        codes = {payer.account.id: payer.ods_code for payer in payers(session)}
        found = debt.aged_debt(session, on=_day(on))
    if as_json:
        print_json(
            [
                {
                    "trust": codes[one.account_id],
                    **{bucket: str(amount) for bucket, amount in one.by_bucket.items()},
                    "total": str(one.total),
                }
                for one in found
            ]
        )
        return
    print_table(
        ("trust", *(f"{bucket}>" for bucket in debt.BUCKETS), "total>"),
        (
            (
                codes[one.account_id],
                *(show_pounds(amount) for amount in one.by_bucket.values()),
                show_pounds(one.total),
            )
            for one in found
        ),
    )


@payments.command()
@click.argument("month", type=MONTH)
def journal(month: Month) -> None:
    """Print the journal of MONTH as CSV, with cost codes, for the national ledger.

    \b
    Example:
      paygo payments journal 2026-05 > may.csv
    """
    with opened_database() as database, database.snapshot() as session:
        lines = ledger.journal(session, first_day=month.first_day, end_day=month.end_day)
    sheet = write_sheet(statements.JOURNAL_HEADER, statements.journal_rows(lines), for_people=False)
    click.echo(sheet.decode(), nl=False)


def _day(on: datetime | None) -> date:
    return london_day(now()) if on is None else on.date()
