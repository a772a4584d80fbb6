"""An account's statement of account, what is open, its credit, and writing off."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.accounts.queries import AccountUnknown
from billing.console import money_queries as queries
from billing.console.blueprint import APPROVES, blueprint
from billing.console.forms import FormPage, Input
from billing.console.lists import Field, Sheet
from billing.console.money_pages import may_approve, may_prepare, typed_amount
from billing.console.money_undo import undo_form
from billing.console.money_views_reminders import schedule_words, written_sheet
from billing.console.people import names_of
from billing.forms import Form, read_typed
from billing.ledger.tables import ReceivableRow
from billing.listing import Cell
from billing.money import show_pounds
from billing.payments import debt, operations, reminders, statements
from billing.payments.debt import OpenDebt
from billing.payments.funds import InvoiceNotOpen, left_of
from billing.payments.statements import StatementMovement
from billing.payments.tables import PaymentRow
from billing.web import go, show_moment
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import (
    Month,
    financial_year_label,
    financial_year_start,
    london_day,
    show_date,
)

Answer = Response | str | tuple[str, int]
_YEARS = 7


def movements_sheet(name: str) -> Sheet[StatementMovement]:
    """Return a statement of account's movements."""
    return Sheet(
        name=name,
        caption="What changed the balance",
        empty="Nothing was invoiced or paid in this financial year.",
        fields=(
            Field(
                "Date",
                lambda one: one.movement.on,
                lambda one: Cell(show_date(one.movement.on), nowrap=True),
            ),
            Field("What", lambda one: one.movement.description),
            Field(
                "Amount",
                lambda one: one.movement.amount,
                lambda one: Cell(show_pounds(one.movement.amount), nowrap=True),
                numeric=True,
            ),
            Field(
                "Balance",
                lambda one: one.balance,
                lambda one: Cell(show_pounds(one.balance), nowrap=True),
                numeric=True,
            ),
        ),
    )


def open_sheet(account_id: str, *, may_write_off: bool) -> Sheet[OpenDebt]:
    """Return the list of an account's open invoices."""
    action = Field[OpenDebt](
        "Action",
        lambda one: one.number,
        lambda one: Cell(
            "Write off",
            href=url_for("console.write_off", account_id=account_id, invoice_id=one.invoice_id),
            hidden=one.number,
        ),
        in_file=False,
    )
    return Sheet(
        name="open-invoices",
        beside=True,
        caption="Open invoices",
        empty="Nothing is open: everything that was invoiced is paid.",
        fields=(
            Field("Invoice", lambda one: one.number, lambda one: Cell(one.number, nowrap=True)),
            Field(
                "Due",
                lambda one: one.due_on,
                lambda one: Cell(show_date(one.due_on), nowrap=True),
            ),
            Field(
                "Overdue",
                lambda one: one.days_overdue,
                lambda one: (
                    Cell(f"{one.days_overdue} days", colour="red")
                    if one.days_overdue
                    else Cell("Not due", colour="green")
                ),
            ),
            Field(
                "Open",
                lambda one: one.outstanding,
                lambda one: Cell(show_pounds(one.outstanding), nowrap=True),
                numeric=True,
            ),
            Field(
                "Disputed",
                lambda one: one.disputed,
                lambda one: (
                    Cell(show_pounds(one.disputed), colour="orange") if one.disputed else Cell("")
                ),
                numeric=True,
            ),
            *((action,) if may_write_off else ()),
        ),
    )


@dataclass(frozen=True)
class Credit:
    """Something an account may still use: a payment or a credit note."""

    words: str
    href: str | None
    left: Decimal
    action: str
    action_href: str | None


def credits_of(
    payments: Sequence[PaymentRow], notes: Sequence[ReceivableRow], *, may: bool
) -> list[Credit]:
    """Return what an account has left to use."""
    found = [
        Credit(
            f"Payment received on {show_date(row.received_on)}",
            url_for("console.payment", account_id=row.account_id, payment_id=row.id),
            left_of(row),
            "",
            None,
        )
        for row in payments
    ]
    return found + [
        Credit(
            f"Credit note {row.number}",
            None,
            left_of(row),
            "Pay it out" if may else "",
            url_for("console.refund_credit", account_id=row.account_id, document_id=row.document_id)
            if may
            else None,
        )
        for row in notes
    ]


_CREDITS = Sheet[Credit](
    name="credit",
    beside=True,
    caption="Credit of the account",
    empty="The account has no credit: every payment and credit note is used.",
    fields=(
        Field("What", lambda one: one.words, lambda one: Cell(one.words, href=one.href)),
        Field(
            "Left",
            lambda one: one.left,
            lambda one: Cell(show_pounds(one.left), nowrap=True),
            numeric=True,
        ),
        Field(
            "Action",
            lambda one: one.action,
            lambda one: Cell(one.action, href=one.action_href, hidden=one.words),
        ),
    ),
)


def _asked_year(today: date) -> int:
    text = request.args.get("year", "")
    this = Month.of_day(today).financial_year
    year = int(text) if text.isascii() and text.isdigit() and len(text) == 4 else this
    return year if 2000 <= year <= this else this


@blueprint.get("/money/debt/accounts/<account_id>")
def account_money(account_id: str) -> Response | str:
    """Show an account's statement, what is open, its credit, and its reminders."""
    today = london_day(edge().clock())
    year = _asked_year(today)
    start = financial_year_start(year)
    with edge().database.snapshot() as session:
        payers = queries.payers(session)
        if account_id not in payers:
            raise AccountUnknown(f"There is no account {account_id}.")
        found = statements.statement_of_account(
            session,
            account_id=account_id,
            first_day=start.first_day,
            end_day=min(start.shift(12).first_day, today + timedelta(days=1)),
        )
        open_now = debt.open_debts(session, on=today, account_id=account_id)
        left = queries.unused_payments(session, account_id=account_id)
        notes = queries.open_receivables(session, account_id=account_id, kind="credit-note")
        given_up = queries.write_offs(session, account_id=account_id)
        schedule = reminders.schedule_of(session, account_id=account_id)
        written = queries.reminders_written(session, account_id=account_id)
        about = [row.invoice_id for row in given_up] + [row.invoice_id for row in written]
        numbers = queries.numbers(session, document_ids=about)
        names = names_of(session, principals=[row.made_by for row in given_up])
    payer = payers[account_id]
    sheet = movements_sheet(f"statement-{payer.ods_code}-{year}")
    undone = {row.undoes for row in given_up}
    return render_template(
        "console/money/account.html",
        payer=payer,
        year=financial_year_label(year),
        years=[
            (str(each), financial_year_label(each))
            for each in range(
                Month.of_day(today).financial_year,
                Month.of_day(today).financial_year - _YEARS,
                -1,
            )
        ],
        choose=Form({"year": str(year)}),
        statement=found,
        movements=sheet.listing(found.movements, query={"year": str(year)}),
        open=open_sheet(account_id, may_write_off=may_approve()).listing(open_now),
        credit=_CREDITS.listing(credits_of(left, notes, may=may_prepare())),
        write_offs=[
            {
                "id": row.id,
                "words": f"{show_pounds(row.amount)} of {numbers.get(row.invoice_id, '')} by "
                f"{names.of(row.made_by)}, {show_moment(row.made_at).striptags()}: {row.reason}",
                "undone": row.id in undone,
            }
            for row in given_up
            if row.undoes is None
        ],
        schedule=schedule_words(schedule),
        written=written_sheet(payers, with_account=False).listing(
            [(row, numbers.get(row.invoice_id, row.invoice_id)) for row in written]
        ),
    )


@blueprint.route(
    "/money/debt/accounts/<account_id>/invoices/<invoice_id>/write-off", methods=["GET", "POST"]
)
@guarded(APPROVES)
def write_off(account_id: str, invoice_id: str) -> Answer:
    """Give up what an invoice leaves open, or a part of it; an approver's act."""
    with edge().database.snapshot() as session:
        row = queries.receivable(session, account_id=account_id, document_id=invoice_id)
        if row is None or row.kind != "invoice":
            raise InvoiceNotOpen(f"The account has no issued invoice {invoice_id}.")
        payer = queries.payers(session)[account_id]
    here = url_for("console.account_money", account_id=account_id)
    form = Form({"amount": f"{left_of(row):.2f}"})
    if request.method == "POST":
        form = read_typed(request.form, "amount", "reason")
        amount = None
        try:
            amount = typed_amount(form.value("amount"))
            if amount is None:
                form = form.with_error("Enter how much is written off", name="amount")
        except ValueError as error:
            form = form.with_error(str(error), name="amount")
        if not form.value("reason"):
            form = form.with_error("Enter why it will never be paid", name="reason")
        if amount is not None and not form.errors:
            try:
                with edge().database.transaction() as session:
                    operations.write_off(
                        session,
                        account_id=account_id,
                        invoice_id=invoice_id,
                        amount=amount,
                        reason=form.value("reason")[:500],
                        principal=current_principal().id,
                        now=edge().clock(),
                    )
                flash(f"{show_pounds(amount)} of {row.number} is written off.", "success")
                return go(here)
            except Refusal as refusal:
                form = form.with_error(refusal.detail, name="amount")
    page = FormPage(
        f"Write off {row.number}",
        form,
        (
            Input("amount", "Amount in pounds", "number", f"{show_pounds(left_of(row))} is open"),
            Input("reason", "Why it will never be paid"),
        ),
        "Write it off",
        (("Debt", url_for("console.aged_debt")), (payer.name, here)),
        words="The debt is given up, VAT included. The trust sees that the invoice is settled.",
        warning=True,
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown


@blueprint.route(
    "/money/debt/accounts/<account_id>/write-offs/<allocation_id>/undo", methods=["GET", "POST"]
)
@guarded(APPROVES)
def undo_write_off(account_id: str, allocation_id: str) -> Answer:
    """Take a write-off back: the debt is owed again."""
    here = url_for("console.account_money", account_id=account_id)
    with edge().database.snapshot() as session:
        rows = {row.id: row for row in queries.write_offs(session, account_id=account_id)}
        if allocation_id not in rows:
            raise operations.AllocationUnknown(f"The account has no write-off {allocation_id}.")
        payer = queries.payers(session)[account_id]
    amount = show_pounds(rows[allocation_id].amount)
    return undo_form(
        account_id=account_id,
        allocation_id=allocation_id,
        title=f"Undo the write-off of {amount}",
        button="Undo it",
        said=f"{amount} is owed again.",
        back=here,
        crumbs=(("Debt", url_for("console.aged_debt")), (payer.name, here)),
    )
