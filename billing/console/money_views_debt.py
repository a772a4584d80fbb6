"""What is owed to us: aged debt, an account's statement, writing off, reminders."""

from datetime import date

from flask import Response, render_template, request, url_for

from billing.console import money_queries as queries
from billing.console.blueprint import blueprint
from billing.console.forms import DATE_PARTS, keeping_dates, with_dates
from billing.console.lists import Field, Sheet, pounds_field
from billing.console.money_queries import Payers
from billing.forms import Form
from billing.listing import Cell
from billing.money import show_pounds, sum_pounds
from billing.payments import debt
from billing.payments.debt import BUCKETS, AgedDebt
from metering.kit.web import edge
from metering.periods import (
    london_day,
    show_date,
)

Answer = Response | str | tuple[str, int]
AGES = {
    "not due": "Not due",
    "1 to 30": "1 to 30 days",
    "31 to 60": "31 to 60 days",
    "61 to 90": "61 to 90 days",
    "over 90": "Over 90 days",
}


def asked_day(name: str = "on") -> tuple[date, Form]:
    """Return the London date that the address asks for, today where it says none, and its form."""
    today = london_day(edge().clock())
    form = keeping_dates(Form(), request.args, name)
    text = with_dates(request.args, name).get(name, "")
    if not text:
        return today, form
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return today, form.with_error("Enter a real date, for example 1 4 2026", name=name)
    if not 2000 <= day.year <= 2200:
        return today, form.with_error("Enter a year like 2026", name=name)
    return day, form


def debt_sheet(payers: Payers, on: date) -> Sheet[AgedDebt]:
    """Return the aged debt; the file says amounts as numbers."""

    def bucket(name: str) -> Field[AgedDebt]:
        return Field(
            AGES[name],
            lambda one: one.by_bucket[name],
            lambda one: Cell(show_pounds(one.by_bucket[name]), nowrap=True),
            key=name.replace(" ", "-"),
            numeric=True,
        )

    return Sheet(
        name=f"aged-debt-{on.isoformat()}",
        caption=f"Aged debt on {show_date(on)}",
        sort="account",
        empty="Nobody owes anything on that day.",
        fields=(
            Field(
                "Account",
                lambda one: payers[one.account_id].name,
                lambda one: Cell(
                    payers[one.account_id].name,
                    href=url_for("console.account_money", account_id=one.account_id),
                ),
                key="account",
            ),
            Field("ODS code", lambda one: payers[one.account_id].ods_code, on_page=False),
            *(bucket(name) for name in BUCKETS),
            pounds_field("Total", lambda one: one.total, key="total"),
            Field(
                "Disputed",
                lambda one: one.disputed,
                lambda one: (
                    Cell(show_pounds(one.disputed), colour="orange") if one.disputed else Cell("")
                ),
                key="disputed",
                numeric=True,
            ),
        ),
    )


@blueprint.get("/money/debt")
def aged_debt() -> Response | str | tuple[str, int]:
    """Show what each account owes by days overdue, with what it disputes."""
    on, form = asked_day()
    with edge().database.snapshot() as session:
        rows = list(debt.aged_debt(session, on=on))
        payers = queries.payers(session)
    sheet = debt_sheet(payers, on)
    total = sum_pounds([one.total for one in rows])
    late = total - sum_pounds([one.by_bucket[BUCKETS[0]] for one in rows])
    disputed = sum_pounds([one.disputed for one in rows])
    figures = (
        {"label": "Owed to us", "value": show_pounds(total)},
        {
            "label": "Overdue",
            "value": show_pounds(late),
            "tone": "warning" if late else "success",
        },
        {"label": "Disputed", "value": show_pounds(disputed), "note": "Not chased until answered"},
        {
            "label": "Over 90 days",
            "value": show_pounds(sum_pounds([one.by_bucket[BUCKETS[-1]] for one in rows])),
        },
    )
    shown = render_template(
        "console/money/debt.html",
        on=on,
        form=form,
        figures=figures,
        listing=sheet.listing(rows, query=day_query("on")),
    )
    return (shown, 422) if form.errors else shown


def day_query(*names: str) -> dict[str, str]:
    """Return the parts of dates in the address, to be kept when order or page changes."""
    parts = {f"{name}-{part}" for name in names for part in DATE_PARTS}
    return {name: text for name, text in request.args.items() if name in parts}
