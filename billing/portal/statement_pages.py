"""What the statement of account shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

from flask import url_for

from billing.forms import Form
from billing.invoices.parties import BankAccount
from billing.listing import Cell, Column, Listing, day_cell, money_cell
from billing.money import show_pounds
from billing.payments.debt import OpenDebt
from billing.payments.statements import AccountStatement
from billing.portal.account import OpenAccount
from billing.portal.invoice_list_pages import owing_figures
from billing.portal.owing import Owing, TakenOver
from billing.portal.parts import Figure
from billing.portal.paying import PaymentSeen, bank_rows, payments_listing
from billing.portal.words import plural
from billing.sheets import listed
from metering.periods import financial_year_label, show_date

_YEARS = 7
_AGES = {
    "not due": "Not due yet",
    "1 to 30": "1 to 30 days overdue",
    "31 to 60": "31 to 60 days overdue",
    "61 to 90": "61 to 90 days overdue",
    "over 90": "More than 90 days overdue",
}


@dataclass(frozen=True)
class StatementPage:
    """A financial year's statement of account.

    Attributes:
        opening, closing: sentences with the balance at both ends.
        ages: what is open today, by how long it is overdue.
        payments: those that reached us in the year, with what each pays.
        taken_over: open invoices of organisations that became part of this one.
        pay_to: where to pay, as label and text.
    """

    account: OpenAccount
    year: str
    form: Form
    years: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]
    opening: str
    closing: str
    movements: Listing
    ages: Listing
    debts: Listing
    taken_over: Listing | None
    payments: Listing
    pay_to: tuple[tuple[str, str], ...]


def statement_page(
    *,
    account: OpenAccount,
    path: str,
    invoices_path: str,
    year: int,
    this_year: int,
    statement: AccountStatement,
    owing: Owing,
    payments: Sequence[PaymentSeen],
    pay_pages: Mapping[str, str],
    pay_to: BankAccount | None,
) -> StatementPage:
    """Return the statement of a financial year with today's debt by age."""
    return StatementPage(
        account=account,
        year=financial_year_label(year),
        form=Form({"year": str(year)}),
        years=tuple(
            (str(each), financial_year_label(each))
            for each in range(this_year, this_year - _YEARS, -1)
        ),
        figures=owing_figures(owing),
        opening=f"Balance brought forward on {show_date(statement.first_day)}: "
        f"{_balance(statement.opening)}.",
        closing=f"Balance now: {_balance(statement.closing)}."
        if year == this_year
        else f"Balance at the end of the year: {_balance(statement.closing)}.",
        movements=listed(
            Listing(
                name="movements",
                caption=f"What changed the balance in {financial_year_label(year)}",
                columns=(
                    Column("Date", "on"),
                    Column("What"),
                    Column("Charged", numeric=True),
                    Column("Paid or credited", numeric=True),
                    Column("Balance", numeric=True),
                ),
                rows=tuple(
                    (
                        day_cell(each.movement.on),
                        Cell(each.movement.description),
                        money_cell(each.movement.amount if each.movement.amount > 0 else None),
                        money_cell(-each.movement.amount if each.movement.amount < 0 else None),
                        money_cell(each.balance),
                    )
                    for each in statement.movements
                ),
                path=path,
                query={"year": str(year)},
                empty=f"Nothing was invoiced or paid in {financial_year_label(year)}. "
                "Choose another financial year.",
            ),
            download=f"{path}.csv?year={year}",
        ),
        ages=Listing(
            caption="What is open today, by age",
            columns=(Column("Age"), Column("Open", numeric=True)),
            rows=tuple(
                (Cell(_AGES[bucket]), Cell(show_pounds(amount)))
                for bucket, amount in owing.by_age.items()
            ),
            path=path,
        ),
        debts=listed(
            Listing(
                name="open-invoices",
                beside=True,
                caption="Open invoices",
                columns=(
                    Column("Number"),
                    Column("Due"),
                    Column("Overdue"),
                    Column("Total with VAT", numeric=True),
                    Column("Open", numeric=True),
                    Column("You dispute", numeric=True),
                    *((Column("Pay", acts=True),) if pay_pages else ()),
                ),
                rows=tuple(
                    (
                        Cell(debt.number, href=f"{invoices_path}/{quote(debt.invoice_id)}"),
                        day_cell(debt.due_on),
                        _overdue_cell(debt),
                        money_cell(debt.total),
                        money_cell(debt.outstanding),
                        money_cell(debt.disputed or None),
                        *((_pay_cell(debt, pay_pages),) if pay_pages else ()),
                    )
                    for debt in owing.debts
                ),
                path=path,
                empty="Nothing is open: everything that was invoiced is paid.",
            )
        ),
        taken_over=_taken_over(owing.taken_over, path=path) if owing.taken_over else None,
        payments=payments_listing(payments, path=path, year=financial_year_label(year)),
        pay_to=bank_rows(pay_to, reference="The number of each invoice that you pay"),
    )


def _taken_over(found: Sequence[TakenOver], *, path: str) -> Listing:
    return listed(
        Listing(
            name="taken-over",
            beside=True,
            caption="Open invoices of organisations that became part of yours",
            columns=(
                Column("Number"),
                Column("Issued to"),
                Column("Due"),
                Column("Overdue"),
                Column("Open", numeric=True),
                Column("You dispute", numeric=True),
            ),
            rows=tuple(
                (
                    Cell(
                        each.debt.number,
                        href=url_for(
                            "portal.invoice", code=each.code, invoice_id=each.debt.invoice_id
                        ),
                        nowrap=True,
                    ),
                    Cell(f"{each.name} ({each.code})"),
                    day_cell(each.debt.due_on),
                    _overdue_cell(each.debt),
                    money_cell(each.debt.outstanding),
                    money_cell(each.debt.disputed or None),
                )
                for each in found
            ),
            path=path,
        )
    )


def _overdue_cell(debt: OpenDebt) -> Cell:
    late = max(0, debt.days_overdue)
    return Cell(plural(late, "day") if late else "No", value=late)


def _pay_cell(debt: OpenDebt, pay_pages: Mapping[str, str]) -> Cell:
    href = pay_pages.get(debt.invoice_id)
    return Cell("") if href is None else Cell("Pay now", href=href, hidden=debt.number)


def _balance(amount: Decimal) -> str:
    if amount < 0:
        return f"{show_pounds(-amount)} in credit"
    return f"{show_pounds(amount)} owed" if amount else "nothing owed"
