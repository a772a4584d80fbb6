"""Reminders: when accounts are reminded, what is due to be written, what was."""

from collections.abc import Sequence

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.accounts.queries import AccountUnknown
from billing.console import money_queries as queries
from billing.console import money_stored
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input
from billing.console.lists import Field, Sheet
from billing.console.money_queries import Payers
from billing.console.stored_lists import stored_listing
from billing.forms import Form
from billing.listing import Cell
from billing.money import show_pounds
from billing.payments import reminders
from billing.payments.tables import ReminderRow
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import (
    london_day,
    show_date,
)

Written = tuple[ReminderRow, str]
"""A reminder and the number of its invoice."""

Answer = Response | str | tuple[str, int]


def schedule_words(days: Sequence[int]) -> str:
    """Return a reminder schedule in words: `5 days before, 1 and 14 days after the due date`."""
    if not days:
        return "Never"

    def one(day: int) -> str:
        if day == 0:
            return "on the due date"
        count = f"{abs(day)} {'day' if abs(day) == 1 else 'days'}"
        return f"{count} {'before' if day < 0 else 'after'}"

    return "; ".join(one(day) for day in sorted(days))


@blueprint.route("/money/reminders/accounts/<account_id>", methods=["GET", "POST"])
@guarded(PREPARES)
def reminder_schedule(account_id: str) -> Answer:
    """Set on which days before and after the due date an account is reminded."""
    with edge().database.snapshot() as session:
        payers = queries.payers(session)
        if account_id not in payers:
            raise AccountUnknown(f"There is no account {account_id}.")
        days = reminders.schedule_of(session, account_id=account_id)
    here = url_for("console.account_money", account_id=account_id)
    form = Form({"days": ", ".join(str(day) for day in days)})
    if request.method == "POST":
        form = Form({"days": request.form.get("days", "").strip()[:200]})
        try:
            wanted = [int(part) for part in form.value("days").replace(",", " ").split()]
            with edge().database.transaction() as session:
                reminders.set_schedule(
                    session,
                    account_id=account_id,
                    days=wanted,
                    principal=current_principal().id,
                    now=edge().clock(),
                )
            flash("The schedule is set.", "success")
            return go(here)
        except ValueError:
            form = form.with_error("Enter whole days, for example -5, 1, 14, 30", name="days")
        except Refusal as refusal:
            form = form.with_error(refusal.detail, name="days")
    page = FormPage(
        f"Reminders of {payers[account_id].name}",
        form,
        (
            Input(
                "days",
                "Days after the due date",
                hint="-5, 1, 14 means 5 days before it, and 1 and 14 days after. "
                "Leave it empty never to remind.",
                width="20",
            ),
        ),
        "Set the schedule",
        (("Debt", url_for("console.aged_debt")), (payers[account_id].name, here)),
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown


def _step_words(step: int) -> str:
    if step == 0:
        return "On the due date"
    count = f"{abs(step)} {'day' if abs(step) == 1 else 'days'}"
    return f"{count} {'before' if step < 0 else 'after'} it was due"


def written_sheet(payers: Payers, *, with_account: bool) -> Sheet[Written]:
    """Return the list of reminders that were written."""
    return Sheet(
        name="reminders-written",
        beside=True,
        caption="Reminders written",
        empty="No reminder was written yet.",
        fields=(
            Field("Invoice", lambda row: row[1], key="invoice"),
            *(
                (
                    Field[Written](
                        "Account", lambda row: payers[row[0].account_id].name, key="account"
                    ),
                )
                if with_account
                else ()
            ),
            Field("Step", lambda row: _step_words(row[0].step), key="step"),
            Field("To", lambda row: row[0].to, key="to"),
            Field("Subject", lambda row: row[0].subject),
            Field(
                "Written",
                lambda row: row[0].written_at,
                lambda row: Cell(show_date(london_day(row[0].written_at)), nowrap=True),
                key="written",
            ),
        ),
    )


def due_sheet(payers: Payers) -> Sheet[reminders.Due]:
    """Return the list of reminders that the next run writes."""
    return Sheet(
        name="reminders-due",
        beside=True,
        caption="Reminders due",
        empty="No reminder is due today.",
        fields=(
            Field("Invoice", lambda one: one.debt.number),
            Field(
                "Account",
                lambda one: payers[one.debt.account_id].name,
                lambda one: Cell(
                    payers[one.debt.account_id].name,
                    href=url_for("console.account_money", account_id=one.debt.account_id),
                ),
            ),
            Field("Step", lambda one: _step_words(one.step)),
            Field("Due", lambda one: one.debt.due_on, lambda one: Cell(show_date(one.debt.due_on))),
            Field(
                "To remind of",
                lambda one: one.amount,
                lambda one: Cell(show_pounds(one.amount), nowrap=True),
                numeric=True,
            ),
            Field(
                "Left out as disputed",
                lambda one: one.debt.disputed,
                lambda one: Cell(show_pounds(one.debt.disputed) if one.debt.disputed else ""),
                numeric=True,
            ),
        ),
    )


@blueprint.get("/money/reminders", endpoint="reminders")
def reminders_page() -> Response | str:
    """Show the reminders that the next run writes, and those that were written."""
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        due = reminders.due(session, on=today)
        payers = queries.payers(session)
        written = stored_listing(
            session, written_sheet(payers, with_account=True), money_stored.reminders_written()
        )
    return render_template(
        "console/money/reminders.html",
        due=due_sheet(payers).listing(due),
        written=written,
        usual=schedule_words(reminders.USUAL_DAYS),
    )
