"""Payments: the list, one with what it pays, and the acts on it."""

from dataclasses import replace

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.console import money_queries as queries
from billing.console import money_stored
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input
from billing.console.lists import Field, Sheet, pounds_field
from billing.console.money_pages import may_prepare, typed_amount
from billing.console.money_queries import Payers
from billing.console.money_undo import undo_form
from billing.console.money_views_prepaid import drawn_words
from billing.console.money_views_refunds import refunds_sheet
from billing.console.people import Names, names_of
from billing.console.stored_lists import stored_listing
from billing.forms import Form, read_text
from billing.listing import Cell, Column, Listing, day_cell, money_cell
from billing.money import show_pounds
from billing.payments import operations, prepaid
from billing.payments.bank import operations as bank
from billing.payments.bank.queries import line_of_payment
from billing.payments.funds import left_of
from billing.payments.tables import AllocationRow, PaymentRow
from billing.sheets import listed
from billing.web import go, show_moment
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import show_date

Answer = Response | str | tuple[str, int]
STATES = (
    ("", "All"),
    ("left", "With something left"),
    ("back", "Taken back"),
)
SOURCES = {"bank": "Bank", "stripe": "Stripe"}


def standing(row: PaymentRow) -> Cell:
    """Return where a payment stands."""
    if row.reversed_at is not None:
        return Cell("Taken back", colour="grey")
    left = left_of(row)
    if left == row.amount:
        return Cell("On the account", colour="yellow")
    return Cell("Partly used", colour="blue") if left else Cell("Used", colour="green")


def payments_sheet(payers: Payers) -> Sheet[PaymentRow]:
    """Return the list of payments."""
    return Sheet(
        name="payments",
        caption="Payments",
        sort="received",
        direction="descending",
        empty="No payment was received yet. Import a bank statement and match its lines.",
        fields=(
            Field(
                "Account",
                lambda row: payers[row.account_id].name,
                lambda row: Cell(
                    payers[row.account_id].name,
                    href=url_for("console.payment", account_id=row.account_id, payment_id=row.id),
                    hidden=f"{show_pounds(row.amount)} on {show_date(row.received_on)}",
                ),
                key="account",
            ),
            Field("ODS code", lambda row: payers[row.account_id].ods_code, on_page=False),
            Field("Payment", lambda row: row.id, on_page=False),
            Field(
                "Received",
                lambda row: row.received_on,
                lambda row: Cell(show_date(row.received_on), nowrap=True),
                key="received",
            ),
            Field("By", lambda row: SOURCES[row.source], key="source"),
            Field("Reference", lambda row: row.reference),
            pounds_field("Amount", lambda row: row.amount, key="amount"),
            pounds_field("Left", left_of, key="left"),
            Field("State", lambda row: standing(row).text, standing),
        ),
    )


@blueprint.get("/money/payments")
def payments() -> Response | str:
    """List the payments that accounts made."""
    asked = request.args.get("account", "")
    state = request.args.get("state", "")
    state = state if state in dict(STATES) else ""
    with edge().database.snapshot() as session:
        payers = queries.payers(session)
        account_id = payers.named(asked)
        filtered = bool(account_id or state)
        listing = stored_listing(
            session,
            payments_sheet(payers),
            money_stored.payments(account_id=account_id, state=state),
            query={"account": asked, "state": state},
            empty="No payment fits. Clear the filters to see all." if filtered else None,
        )
    return render_template(
        "console/money/payments.html",
        listing=listing,
        filters=Form({"account": asked, "state": state}),
        accounts=[("", "All"), *payers.choices] if payers.choices else [],
        states=STATES,
        is_filtered=filtered,
    )


def allocations_listing(
    rows: list[AllocationRow], *, numbers: dict[str, str], names: Names, undo: bool
) -> Listing:
    """Return what a payment was set against, undone or not, with the trail."""
    undone = {row.undoes: row for row in rows if row.undoes is not None}

    def state(row: AllocationRow) -> Cell:
        by = undone.get(row.id)
        if by is not None:
            who = names.of(by.made_by)
            return Cell(f"Undone by {who}, {show_moment(by.made_at).striptags()}: {by.reason}")
        if undo:
            return Cell(
                "Undo",
                href=url_for(
                    "console.undo_allocation", account_id=row.account_id, allocation_id=row.id
                ),
                hidden=f"{show_pounds(row.amount)} of {numbers.get(row.invoice_id, '')}",
            )
        return Cell("Stands")

    return Listing(
        name="allocations",
        caption="What it pays",
        caption_hidden=True,
        beside=True,
        path=request.path,
        columns=(
            Column("Invoice"),
            Column("Amount", numeric=True),
            Column("Paid as of"),
            Column("By"),
            Column("Why"),
            Column("State"),
        ),
        rows=tuple(
            (
                Cell(numbers.get(row.invoice_id, row.invoice_id), nowrap=True),
                money_cell(row.amount),
                day_cell(row.effective_on),
                Cell(f"{names.of(row.made_by)}, {show_moment(row.made_at).striptags()}"),
                Cell(row.reason),
                state(row),
            )
            for row in rows
            if row.undoes is None
        ),
        empty="Nothing of it is set against an invoice yet.",
    )


def _payment_page(account_id: str, payment_id: str, form: Form) -> str:
    with edge().database.snapshot() as session:
        row = queries.payment(session, account_id=account_id, payment_id=payment_id)
        rows = list(queries.allocations(session, account_id=account_id, payment_id=payment_id))
        invoices = queries.open_receivables(session, account_id=account_id)
        refunds = queries.refunds(session, account_id=account_id, payment_id=payment_id)
        payers = queries.payers(session)
        numbers = queries.numbers(session, document_ids=[each.invoice_id for each in rows])
        names = names_of(session, principals=[row.made_by, *(each.made_by for each in rows)])
        line_id = line_of_payment(session, payment_id=payment_id)
        held = next(
            (
                each
                for each in prepaid.standings(session, account_id=account_id)
                if each.payment_id == payment_id
            ),
            None,
        )
    state, left = standing(row), left_of(row)
    payer = payers[account_id]
    return render_template(
        "console/money/payment.html",
        row=row,
        state=state,
        payer=payer,
        left=left,
        held=held is not None,
        line_id=line_id,
        facts=(
            ("Account", payer.label),
            ("Received", show_date(row.received_on)),
            ("By", SOURCES[row.source]),
            *((("Reference", row.reference),) if row.reference else ()),
            ("Amount", show_pounds(row.amount)),
            ("Set against invoices", show_pounds(row.allocated)),
            ("Refunded", show_pounds(row.refunded)),
            ("Left on the account", show_pounds(left)),
            *((("Prepaid credit", drawn_words(held)),) if held is not None else ()),
            ("Recorded", f"{show_moment(row.made_at).striptags()} by {names.of(row.made_by)}"),
        ),
        allocations=listed(
            allocations_listing(rows, numbers=numbers, names=names, undo=may_prepare())
        ),
        invoices=[
            (
                each.document_id,
                f"{each.number}: {show_pounds(each.total - each.allocated)} open, "
                f"due {show_date(each.due_on)}",
            )
            for each in invoices
        ],
        refunds=replace(refunds_sheet(payers), beside=True).listing(refunds),
        form=form,
    )


@blueprint.get("/money/payments/<account_id>/<payment_id>")
def payment(account_id: str, payment_id: str) -> str:
    """Show one payment: what it pays, what was given back, and what may be done with it."""
    return _payment_page(account_id, payment_id, Form())


@blueprint.post("/money/payments/<account_id>/<payment_id>/allocate")
@guarded(PREPARES)
def allocate_payment(account_id: str, payment_id: str) -> Answer:
    """Set what is left of a payment, or a part of it, against an invoice."""
    form = Form({name: request.form.get(name, "") for name in ("invoice", "amount")})
    try:
        amount = typed_amount(form.value("amount"))
    except ValueError as error:
        return _payment_page(
            account_id, payment_id, form.with_error(str(error), name="amount")
        ), 422
    if amount is None:
        wrong = form.with_error("Enter how much of it pays the invoice", name="amount")
        return _payment_page(account_id, payment_id, wrong), 422
    try:
        with edge().database.transaction() as session:
            operations.allocate(
                session,
                account_id=account_id,
                invoice_id=form.value("invoice"),
                payment_id=payment_id,
                amount=amount,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except Refusal as refusal:
        wrong = form.with_error(refusal.detail, name="amount")
        return _payment_page(account_id, payment_id, wrong), 422
    flash(f"{show_pounds(amount)} is set against the invoice.", "success")
    return go(url_for("console.payment", account_id=account_id, payment_id=payment_id))


@blueprint.route(
    "/money/accounts/<account_id>/allocations/<allocation_id>/undo", methods=["GET", "POST"]
)
@guarded(PREPARES)
def undo_allocation(account_id: str, allocation_id: str) -> Answer:
    """Take a payment or credit note off an invoice again; a write-off only by an approver."""
    with edge().database.snapshot() as session:
        row = next(
            (
                each
                for each in queries.allocations(session, account_id=account_id)
                if each.id == allocation_id and each.kind != "write-off"
            ),
            None,
        )
        if row is None:
            raise operations.AllocationUnknown(f"The account has no allocation {allocation_id}.")
        number = queries.numbers(session, document_ids=[row.invoice_id]).get(row.invoice_id, "")
        payer = queries.payers(session)[account_id]
    back = (
        url_for("console.account_money", account_id=account_id)
        if row.payment_id is None
        else url_for("console.payment", account_id=account_id, payment_id=row.payment_id)
    )
    amount = show_pounds(row.amount)
    return undo_form(
        account_id=account_id,
        allocation_id=allocation_id,
        title=f"Take {amount} off invoice {number}",
        button="Take it off",
        said=f"{amount} is taken off invoice {number}.",
        back=back,
        crumbs=(("Payments", url_for("console.payments")), (payer.name, back)),
        words="The invoice is open again by this much, and the money is the account’s to use.",
    )


@blueprint.route("/money/payments/<account_id>/<payment_id>/take-back", methods=["GET", "POST"])
@guarded(PREPARES)
def take_back_payment(account_id: str, payment_id: str) -> Answer:
    """Undo that money is an account's, with all that it paid."""
    here = url_for("console.payment", account_id=account_id, payment_id=payment_id)
    form = Form({"reason": read_text(request.form, "reason")})
    if request.method == "POST":
        try:
            with edge().database.transaction() as session:
                use_id = bank.use_of_payment(session, account_id=account_id, payment_id=payment_id)
                said = {
                    "reason": form.value("reason"),
                    "principal": current_principal().id,
                }
                if use_id is None:
                    bank.undo_payment(
                        session,
                        account_id=account_id,
                        payment_id=payment_id,
                        now=edge().clock(),
                        **said,
                    )
                else:
                    bank.undo(session, use_id=use_id, now=edge().clock(), **said)
            flash("The payment is taken back, and what it paid is open again.", "success")
            return go(here)
        except Refusal as refusal:
            form = form.with_error(refusal.detail, name="reason")
    with edge().database.snapshot() as session:
        row = queries.payment(session, account_id=account_id, payment_id=payment_id)
        payer = queries.payers(session)[account_id]
    words = (
        "The money came by the bank, so its line is to be matched again."
        if row.source == "bank"
        else "Do this when Stripe could not keep the money: a failed debit or a lost dispute."
    )
    page = FormPage(
        f"Take back {show_pounds(row.amount)} of {payer.name}",
        form,
        (Input("reason", "Why it is taken back"),),
        "Take it back",
        (("Payments", url_for("console.payments")), (show_pounds(row.amount), here)),
        words=f"Every invoice that it paid is open again. {words}",
        warning=True,
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown
