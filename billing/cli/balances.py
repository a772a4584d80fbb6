"""`paygo balances`: the agreement of balances at M9 and M12, from the terminal."""

from pathlib import Path

import click

from billing.accounts import queries as accounts
from billing.balances.queries import (
    BALANCES_HEADER,
    AgreedBalance,
    agreement_of_balances,
    balance_rows,
)
from billing.balances.statement import balance_file_stem, balance_pdf
from billing.cli.context import MONTH, opened_database, print_json, print_table, read_settings
from billing.documents.sheet import write_sheet
from billing.documents.words import plural
from billing.invoices.drafting import party_of
from billing.invoices.supplier import supplier_of
from billing.money import show_pounds
from metering.periods import Month


@click.command()
@click.argument("month", type=MONTH)
@click.option("--account", "code", help="ODS code: only this organisation.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a row for each counterparty to this file.",
)
@click.option(
    "--pdf",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a statement for each counterparty into this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def balances(
    month: Month, code: str | None, csv_file: Path | None, folder: Path | None, as_json: bool
) -> None:
    """Show what each counterparty is asked to confirm at the end of MONTH, M9 or M12.

    \b
    Examples:
      paygo balances 2026-12
      paygo balances 2026-12 --csv m9.csv --pdf statements
    """
    supplier = supplier_of(read_settings()).party
    with opened_database() as database, database.snapshot() as session:
        account_id = None
        if code is not None:
            account_id = accounts.payer_by_ods_code(session, ods_code=code).account.id
        found = agreement_of_balances(session, month=month, account_id=account_id)
        payers = accounts.payers(session, account_ids=[one.account_id for one in found])
        buyers = {payer.account.id: party_of(payer.account, payer.ods_code) for payer in payers}
    if csv_file is not None:
        csv_file.write_bytes(write_sheet(BALANCES_HEADER, balance_rows(found), for_people=True))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for one in found:
            (folder / f"{balance_file_stem(one)}.pdf").write_bytes(
                balance_pdf(one, supplier=supplier, buyer=buyers[one.account_id])
            )
    if as_json:
        print_json([_document(one) for one in found])
        return
    for file, what in ((csv_file, "rows"), (folder, "statements")):
        if file is not None:
            click.echo(f"{file}: {len(found)} {what}")
    if csv_file is None and folder is None:
        _table(month, found)


def _document(one: AgreedBalance) -> dict[str, object]:
    return {
        "organisation": one.ods_code,
        "name": one.name,
        "month": str(one.month),
        "receivable": str(one.receivable),
        "disputed": str(one.disputed),
        "credit": str(one.credit),
        "balance": str(one.balance),
        "accrued": str(one.accrued),
        "income": str(one.income),
        "invoices": [debt.number for debt in one.invoices],
    }


def _table(month: Month, found: list[AgreedBalance]) -> None:
    counted = plural(len(found), "counterparty", "counterparties")
    click.echo(f"M{month.financial_month}, {month.name}: {counted}")
    print_table(
        ("Counterparty", "Receivable>", "Disputed>", "Credit>", "Balance>", "Accrued>", "Income>"),
        [
            (
                f"{one.ods_code} {one.name}",
                *(
                    show_pounds(amount)
                    for amount in (
                        one.receivable,
                        one.disputed,
                        one.credit,
                        one.balance,
                        one.accrued,
                        one.income,
                    )
                ),
            )
            for one in found
        ],
    )
