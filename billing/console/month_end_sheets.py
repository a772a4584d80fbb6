"""The lists of the month-end pages: accounts against last month, those left out, services, runs."""

from collections.abc import Iterable
from decimal import Decimal

from flask import url_for

from billing.console.lists import Field, Sheet, pounds_field
from billing.console.people import Names
from billing.listing import Cell
from billing.money import NOUGHT, show_pounds
from billing.runs.model import AccountFigures, Check, ServiceFigures
from billing.runs.tables import BillRunRow
from metering.periods import Month, london_day, show_date

STATUS_COLOURS = {
    "waiting": "grey",
    "drafted": "blue",
    "nothing-due": "white",
    "parked": "red",
    "held": "orange",
    "issued": "green",
    "carried-over": "white",
}
STATUS_WORDS = {
    "waiting": "Waiting",
    "drafted": "Drafted",
    "nothing-due": "Nothing due",
    "parked": "Parked",
    "held": "Held",
    "issued": "Issued",
    "carried-over": "Carried over",
}
RUN_COLOURS = {"open": "grey", "drafted": "blue", "approved": "purple", "issued": "green"}
CHECKLIST_WORDS = {
    "purchase-order": "Purchase order",
    "ods-code": "Code of the customer",
    "address": "Address",
    "supplier-vat-number": "Our VAT number",
    "backing": "Backing data",
    "cost-code": "Cost code",
}
"""Why shared services send invoices back, see `runs.checklist`; in the order of their list."""


def change_text(item: AccountFigures) -> str:
    """Return by how much an account changed from last month, in words where it is new."""
    if item.last_net is None:
        return "New"
    return "£0.00" if item.change == 0 else _signed(item.change)


def percent_change(item: AccountFigures) -> int | None:
    """Return the change from last month in whole percent, None without a last month."""
    if not item.last_net:
        return None
    return int((item.change * 100 / item.last_net).to_integral_value())


def _percent_cell(item: AccountFigures) -> Cell:
    found = percent_change(item)
    return Cell("" if found is None else f"{found:+d}%".replace("-", "−"), nowrap=True)


def _look_cell(item: AccountFigures) -> Cell:
    """Return what to look at of an account, the gravest first."""
    if item.failing:
        return Cell(_checks_of(item.failing), colour="red")
    if item.is_outlier:
        return Cell("Outlier", colour="yellow")
    if item.warnings:
        return Cell(_checks_of(item.warnings), colour="orange")
    return Cell("")


def _checks_of(checks: Iterable[Check]) -> str:
    return ", ".join(dict.fromkeys(check_words(check.name) for check in checks))


def _look_text(item: AccountFigures) -> str:
    return "; ".join(
        ([f"Changed from {show_pounds(item.last_net or NOUGHT)}"] if item.is_outlier else [])
        + list(dict.fromkeys(check.detail for check in (*item.failing, *item.warnings)))
    )


def check_words(name: str) -> str:
    """Return what a check of the list before issue is called."""
    return CHECKLIST_WORDS.get(name, name.replace("-", " ").capitalize())


def services_sheet(month: Month) -> Sheet[ServiceFigures]:
    """Return what each service comes to in a run, against the month before."""
    return Sheet(
        name=f"services-{month}",
        beside=True,
        caption="Services",
        empty="Nothing is drafted yet. Draft the invoices to see what each service comes to.",
        fields=(
            Field("Service", lambda item: item.name, key="service"),
            Field("Accounts", lambda item: item.accounts, key="accounts", numeric=True),
            pounds_field("Net", lambda item: item.net, key="net"),
            pounds_field("Last month", lambda item: item.last_net, key="last"),
            Field(
                "Change",
                lambda item: item.change,
                lambda item: Cell(_signed(item.change), nowrap=True),
                key="change",
                numeric=True,
            ),
        ),
    )


def _signed(change: Decimal) -> str:
    return f"{'+' if change > 0 else ''}{show_pounds(change)}"


def variance_sheet(month: Month) -> Sheet[AccountFigures]:
    """Return the list of a run's accounts against the month before, as `Review.ranked`."""
    return Sheet(
        name=f"month-end-{month}",
        caption=f"Accounts in {month.name}",
        empty="There is no account in this run. Open accounts first.",
        fields=(
            Field(
                "Account",
                lambda item: item.name,
                lambda item: Cell(
                    item.name,
                    href=url_for(
                        "console.run_account", month=str(month), account_id=item.account_id
                    ),
                ),
                key="account",
            ),
            Field("ODS code", lambda item: item.ods_code, key="ods"),
            Field(
                "Status",
                lambda item: STATUS_WORDS[item.status],
                lambda item: Cell(STATUS_WORDS[item.status], colour=STATUS_COLOURS[item.status]),
                key="status",
            ),
            Field("Status reason", lambda item: item.reason, on_page=False),
            pounds_field("Net", lambda item: item.net, key="net"),
            Field("VAT", lambda item: item.vat, on_page=False),
            Field("Total", lambda item: item.total, on_page=False),
            Field("Corrections", lambda item: item.corrections, on_page=False),
            Field("Saved by the pool", lambda item: item.pool_saving, on_page=False),
            Field(
                "Last month",
                lambda item: item.last_net,
                lambda item: Cell(
                    "None" if item.last_net is None else show_pounds(item.last_net), nowrap=True
                ),
                key="last",
                numeric=True,
            ),
            Field(
                "Change",
                lambda item: abs(item.change),
                lambda item: Cell(change_text(item), nowrap=True),
                key="change",
                numeric=True,
                in_file=False,
            ),
            Field("Change", lambda item: item.change, on_page=False),
            Field("Change, %", percent_change, _percent_cell, key="percent", numeric=True),
            Field("Look at", _look_text, _look_cell),
        ),
    )


def parked_sheet(month: Month) -> Sheet[AccountFigures]:
    """Return the list of accounts that a run leaves out, with the reason."""
    return Sheet(
        name=f"left-out-{month}",
        beside=True,
        caption="Parked, held and carried over",
        empty="No account is parked, held or carried over.",
        sort="account",
        fields=(
            Field(
                "Account",
                lambda item: item.name,
                lambda item: Cell(
                    item.name,
                    href=url_for(
                        "console.run_account", month=str(month), account_id=item.account_id
                    ),
                ),
                key="account",
            ),
            Field(
                "Status",
                lambda item: STATUS_WORDS[item.status],
                lambda item: Cell(STATUS_WORDS[item.status], colour=STATUS_COLOURS[item.status]),
            ),
            Field("Reason", lambda item: item.reason or ""),
        ),
    )


def runs_sheet(names: Names) -> Sheet[BillRunRow]:
    """Return the list of all month ends."""
    return Sheet(
        name="month-ends",
        caption="Month ends",
        sort="month",
        direction="descending",
        empty="No month has been invoiced yet. Start the first month end above.",
        fields=(
            Field(
                "Month",
                lambda row: row.month,
                lambda row: Cell(
                    Month.of_day(row.month).name,
                    href=url_for("console.board", month=str(Month.of_day(row.month))),
                ),
                key="month",
            ),
            Field(
                "Status",
                lambda row: row.status,
                lambda row: Cell(row.status.capitalize(), colour=RUN_COLOURS[row.status]),
                key="status",
            ),
            Field("Started by", lambda row: names.of(row.started_by)),
            Field("Approved by", lambda row: names.of(row.approved_by)),
            Field("Issued", lambda row: row.issued_at, lambda row: _day_cell(row), key="issued"),
        ),
    )


def _day_cell(row: BillRunRow) -> Cell:
    if row.issued_at is None:
        return Cell("Not yet")
    return Cell(show_date(london_day(row.issued_at)), nowrap=True)
