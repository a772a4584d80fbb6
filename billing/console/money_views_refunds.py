"""Refunds: asked for, sent by the way the money came, failed or come back."""

from decimal import Decimal

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.console import money_queries as queries
from billing.console import money_stored
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import FormPage, Input
from billing.console.lists import Field, Sheet, pounds_field
from billing.console.money_pages import typed_amount
from billing.console.money_queries import Payers
from billing.console.stored_lists import stored_listing
from billing.forms import Form, read_typed
from billing.listing import Cell
from billing.money import show_pounds
from billing.payments import refunds
from billing.payments.funds import CreditNoteUnknown, left_of
from billing.payments.tables import RefundRow
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day, show_date

Answer = Response | str | tuple[str, int]
STATES = (("", "All"), ("requested", "Asked for"), ("sent", "Sent"), ("failed", "Failed"))
_COLOURS = {"requested": "yellow", "sent": "green", "failed": "grey"}
_WORDS = dict(STATES)


def _action(row: RefundRow) -> Cell:
    if row.status == "requested":
        return Cell(
            "Cancel",
            href=url_for("console.cancel_refund", account_id=row.account_id, refund_id=row.id),
            hidden=f"refund of {show_pounds(row.amount)}",
        )
    return Cell("")


def refunds_sheet(payers: Payers) -> Sheet[RefundRow]:
    """Return the list of refunds."""
    return Sheet(
        name="refunds",
        caption="Refunds",
        empty="No refund was asked for. Ask for one on the page of a payment.",
        fields=(
            Field(
                "Account",
                lambda row: payers[row.account_id].name,
                lambda row: Cell(
                    payers[row.account_id].name,
                    href=url_for("console.account_money", account_id=row.account_id),
                ),
                key="account",
            ),
            Field("Refund", lambda row: row.id, on_page=False),
            Field("Payment", lambda row: row.payment_id, on_page=False),
            Field("Credit note", lambda row: row.credit_note_id, on_page=False),
            Field(
                "Asked for",
                lambda row: row.requested_at,
                lambda row: Cell(show_date(london_day(row.requested_at)), nowrap=True),
                key="asked",
            ),
            Field("By", lambda row: "Stripe" if row.via == "stripe" else "Bank", key="via"),
            Field("Why", lambda row: row.reason),
            pounds_field("Amount", lambda row: row.amount, key="amount"),
            Field(
                "State",
                lambda row: _WORDS[row.status],
                lambda row: Cell(_WORDS[row.status], colour=_COLOURS[row.status]),
                key="state",
            ),
            Field("Action", lambda row: row.id, _action, in_file=False),
        ),
    )


@blueprint.get("/money/refunds", endpoint="refunds")
def refunds_page() -> Response | str:
    """List the refunds."""
    state = request.args.get("state", "")
    state = state if state in _WORDS else ""
    with edge().database.snapshot() as session:
        listing = stored_listing(
            session,
            refunds_sheet(queries.payers(session)),
            money_stored.refunds(state=state),
            query={"state": state},
            empty="No refund has that state. Clear the filter to see all." if state else None,
        )
    return render_template(
        "console/money/refunds.html",
        listing=listing,
        filters=Form({"state": state}),
        states=STATES,
        is_filtered=bool(state),
    )


def _request(
    *,
    account_id: str,
    available: Decimal,
    crumbs: tuple[tuple[str, str], ...],
    words: str,
    payment_id: str | None = None,
    credit_note_id: str | None = None,
) -> Answer:
    form = Form({"amount": f"{available:.2f}"})
    if request.method == "POST":
        form = read_typed(request.form, "amount", "reason")
        try:
            amount = typed_amount(form.value("amount"))
            if amount is None:
                form = form.with_error("Enter how much is given back", name="amount")
        except ValueError as error:
            amount, form = None, form.with_error(str(error), name="amount")
        if not form.value("reason"):
            form = form.with_error("Enter why it is given back", name="reason")
        if amount is not None and not form.errors:
            try:
                with edge().database.transaction() as session:
                    refunds.request_refund(
                        session,
                        account_id=account_id,
                        amount=amount,
                        reason=form.value("reason")[:500],
                        payment_id=payment_id,
                        credit_note_id=credit_note_id,
                        principal=current_principal().id,
                        now=edge().clock(),
                    )
                flash(f"{show_pounds(amount)} is set aside to be given back.", "success")
                return go(url_for("console.refunds"))
            except Refusal as refusal:
                form = form.with_error(refusal.detail, name="amount")
    page = FormPage(
        "Give money back",
        form,
        (
            Input("amount", "Amount in pounds", "number", f"{show_pounds(available)} is left"),
            Input("reason", "Why it is given back"),
        ),
        "Ask for the refund",
        crumbs,
        words=words,
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown


@blueprint.route("/money/payments/<account_id>/<payment_id>/refund", methods=["GET", "POST"])
@guarded(PREPARES)
def refund_payment(account_id: str, payment_id: str) -> Answer:
    """Ask that what is left of a payment is given back."""
    with edge().database.snapshot() as session:
        row = queries.payment(session, account_id=account_id, payment_id=payment_id)
    words = (
        "Stripe gives it back by itself within minutes."
        if row.source == "stripe"
        else "Pay it from the bank account; when its line is on a statement, match the two."
    )
    here = url_for("console.payment", account_id=account_id, payment_id=payment_id)
    return _request(
        account_id=account_id,
        available=left_of(row),
        payment_id=payment_id,
        words=words,
        crumbs=(("Payments", url_for("console.payments")), (show_pounds(row.amount), here)),
    )


@blueprint.route(
    "/money/accounts/<account_id>/credit-notes/<document_id>/refund", methods=["GET", "POST"]
)
@guarded(PREPARES)
def refund_credit(account_id: str, document_id: str) -> Answer:
    """Ask that what is left of a credit note is paid out."""
    with edge().database.snapshot() as session:
        row = queries.receivable(session, account_id=account_id, document_id=document_id)
    if row is None or row.kind != "credit-note":
        raise CreditNoteUnknown(f"The account has no issued credit note {document_id}.")
    here = url_for("console.account_money", account_id=account_id)
    return _request(
        account_id=account_id,
        available=left_of(row),
        credit_note_id=document_id,
        words=f"Of credit note {row.number}. Pay it from the bank account; when its line is on a "
        "statement, match the two.",
        crumbs=(("Debt", url_for("console.aged_debt")), ("Account", here)),
    )


@blueprint.route("/money/accounts/<account_id>/refunds/<refund_id>/cancel", methods=["GET", "POST"])
@guarded(PREPARES)
def cancel_refund(account_id: str, refund_id: str) -> Answer:
    """Let a refund that was asked for not be sent; its amount is free again."""
    with edge().database.snapshot() as session:
        row = next(
            (one for one in queries.refunds(session, account_id=account_id) if one.id == refund_id),
            None,
        )
    if row is None:
        raise refunds.RefundUnknown(f"The account has no refund {refund_id}.")
    form = Form()
    if request.method == "POST":
        try:
            with edge().database.transaction() as session:
                refunds.cancel_refund(
                    session,
                    account_id=account_id,
                    refund_id=refund_id,
                    principal=current_principal().id,
                    now=edge().clock(),
                )
            flash("The refund is cancelled. The money is on the account again.", "success")
            return go(url_for("console.refunds"))
        except refunds.RefundFinished as refusal:
            form = form.with_error(refusal.detail)
    page = FormPage(
        f"Cancel the refund of {show_pounds(row.amount)}",
        form,
        (),
        "Cancel the refund",
        (("Refunds", url_for("console.refunds")),),
        words="Only when the money has not left us. Its amount is free to be used again.",
        warning=True,
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown
