"""Prepaid credit of an account: what there is, what it paid, and holding a payment as such."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema

from billing.access.guards import current_principal
from billing.accounts.queries import AccountUnknown
from billing.console import money_queries as queries
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input, day, keeping_dates, with_dates
from billing.console.lists import Field, Sheet
from billing.console.people import Names, names_of
from billing.forms import Form, read_form
from billing.listing import Cell
from billing.money import show_pounds, sum_pounds
from billing.payments import prepaid as operations
from billing.payments.funds import left_of
from billing.payments.prepaid import PrepaidDraw, PrepaidStanding
from billing.web import go, show_moment
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day, show_date

Answer = Response | str | tuple[str, int]


class HoldForm(Schema):
    """The days on which a credit may be drawn."""

    granted_on = day("", required=False)
    ends_on = day("", required=False)


def drawn_words(item: PrepaidStanding) -> str:
    """Return the days on which a credit is drawn, in words."""
    until = "" if item.ends_on is None else f", no more from {show_date(item.ends_on)}"
    return f"Drawn from {show_date(item.granted_on)}{until}"


def state_of(item: PrepaidStanding, today: date) -> Cell:
    """Return where a credit stands."""
    if item.taken_back:
        return Cell("Taken back", colour="grey")
    if not item.left:
        return Cell("Used", colour="green")
    if item.is_drawn_on(today):
        return Cell("Being drawn", colour="blue")
    if item.granted_on > today:
        return Cell("Later", colour="yellow")
    # Nothing draws it any more: somebody sets it against an invoice or gives it back.
    return Cell("Ended with something left", colour="orange")


def _pounds(label: str, value: Callable[[PrepaidStanding], Decimal]) -> Field[PrepaidStanding]:
    return Field(
        label, value, lambda item: Cell(show_pounds(value(item)), nowrap=True), numeric=True
    )


def credits_sheet(account_id: str, *, today: date) -> Sheet[PrepaidStanding]:
    """Return the list of an account's prepaid credits."""
    return Sheet(
        name="prepaid-credits",
        beside=True,
        caption="Prepaid credits",
        empty="The account has paid nothing in advance.",
        fields=(
            Field(
                "Received",
                lambda item: item.received_on,
                lambda item: Cell(
                    show_date(item.received_on),
                    href=url_for(
                        "console.payment", account_id=account_id, payment_id=item.payment_id
                    ),
                    hidden=f"payment of {show_pounds(item.amount)}",
                    nowrap=True,
                ),
            ),
            Field("Reference", lambda item: item.reference),
            Field(
                "Drawn from",
                lambda item: item.granted_on,
                lambda item: Cell(show_date(item.granted_on), nowrap=True),
            ),
            Field(
                "No more from",
                lambda item: item.ends_on,
                lambda item: Cell(
                    "Open end" if item.ends_on is None else show_date(item.ends_on), nowrap=True
                ),
            ),
            _pounds("Amount", lambda item: item.amount),
            _pounds("Drawn", lambda item: item.drawn),
            _pounds("Given back", lambda item: item.refunded),
            _pounds("Left", lambda item: item.left),
            Field(
                "State",
                lambda item: state_of(item, today).text,
                lambda item: state_of(item, today),
            ),
        ),
    )


def draws_sheet(names: Names) -> Sheet[PrepaidDraw]:
    """Return the list of what prepaid credits paid."""
    return Sheet(
        name="prepaid-draws",
        beside=True,
        caption="What prepaid credit paid",
        empty="Nothing of it is drawn yet. It is, when an invoice is issued.",
        fields=(
            Field(
                "When",
                lambda item: item.made_at,
                lambda item: Cell(show_moment(item.made_at).striptags(), nowrap=True),
            ),
            Field("Invoice", lambda item: item.number, lambda item: Cell(item.number, nowrap=True)),
            Field(
                "Amount",
                lambda item: item.amount,
                lambda item: Cell(show_pounds(item.amount), nowrap=True),
                numeric=True,
            ),
            Field(
                "Credit drawn from",
                lambda item: item.granted_on,
                lambda item: Cell(show_date(item.granted_on), nowrap=True),
            ),
            Field("By", lambda item: names.of(item.made_by)),
            Field("Why", lambda item: item.reason),
        ),
    )


@blueprint.get("/money/debt/accounts/<account_id>/prepaid")
def prepaid(account_id: str) -> Response | str:
    """Show an account's prepaid credits and what they paid."""
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        payers = queries.payers(session)
        if account_id not in payers:
            raise AccountUnknown(f"There is no account {account_id}.")
        credits = operations.standings(session, account_id=account_id)
        drawn = operations.history(session, account_id=account_id)
        names = names_of(session, principals=[item.made_by for item in drawn])
    credit_list, draw_list = credits_sheet(account_id, today=today), draws_sheet(names)
    return render_template(
        "console/money/prepaid.html",
        payer=payers[account_id],
        left=sum_pounds([item.left for item in credits if item.is_drawn_on(today)]),
        credits=credit_list.listing(credits),
        draws=draw_list.listing(drawn),
    )


@blueprint.route("/money/payments/<account_id>/<payment_id>/prepaid", methods=["GET", "POST"])
@guarded(PREPARES)
def hold_prepaid(account_id: str, payment_id: str) -> Answer:
    """Hold what is left of a payment for invoices to come."""
    with edge().database.snapshot() as session:
        row = queries.payment(session, account_id=account_id, payment_id=payment_id)
        payer = queries.payers(session)[account_id]
    form = Form({})
    if request.method == "POST":
        form, sent = read_form(HoldForm(), with_dates(request.form, "granted_on", "ends_on"))
        form = keeping_dates(form, request.form, "granted_on", "ends_on")
        if sent is not None:
            form, said = _hold(form, account_id, payment_id, sent)
            if said:
                flash(said, "success")
                return go(url_for("console.prepaid", account_id=account_id))
    page = FormPage(
        f"Hold {show_pounds(left_of(row))} as prepaid credit",
        form,
        (
            Input(
                "granted_on",
                "First day on which it is drawn",
                "date",
                hint=f"Empty: the day it was received, {show_date(row.received_on)}",
            ),
            Input(
                "ends_on",
                "First day on which it is drawn no more",
                "date",
                hint="Empty: open end. What is left then waits for you",
            ),
        ),
        "Hold it as prepaid credit",
        (
            ("Payments", url_for("console.payments")),
            (
                show_pounds(row.amount),
                url_for("console.payment", account_id=account_id, payment_id=payment_id),
            ),
        ),
        caption=payer.name,
        words="Invoices are then paid from it by themselves, the oldest first.",
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown


def _hold(
    form: Form, account_id: str, payment_id: str, sent: Mapping[str, date | None]
) -> tuple[Form, str]:
    """Return the form with what was refused, or what was done."""
    try:
        with edge().database.transaction() as session:
            operations.hold_as_prepaid(
                session,
                account_id=account_id,
                payment_id=payment_id,
                granted_on=sent["granted_on"],
                ends_on=sent["ends_on"],
                principal=current_principal().id,
                now=edge().clock(),
            )
    except Refusal as refusal:
        return form.with_error(refusal.detail, name="ends_on"), ""
    return form, "The payment is held as prepaid credit."
