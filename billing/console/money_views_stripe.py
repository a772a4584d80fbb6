"""Stripe: what was pushed, what it refused, and the webhooks that came; and the money's start."""

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.console import money_queries as queries
from billing.console import money_stored
from billing.console.blueprint import PREPARES, blueprint
from billing.console.context import console
from billing.console.lists import Field, Sheet
from billing.console.money_pages import may_prepare
from billing.console.money_queries import Payers
from billing.console.money_views_ledger import books_figure, last_check
from billing.console.stored_lists import stored_listing
from billing.forms import Form
from billing.ledger.tables import ReceivableRow
from billing.listing import Cell
from billing.money import show_pounds, sum_pounds
from billing.payments import calls, debt
from billing.payments.funds import left_of
from billing.payments.tables import GatewayCallRow, StripeInvoiceRow, WebhookEventRow
from billing.web import go, show_moment
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day

Pushed = tuple[StripeInvoiceRow, ReceivableRow]
ACTIONS = {
    "customer": "Make the customer",
    "invoice": "Make the invoice",
    "lines": "Add lines to the invoice",
    "finalise": "Let the invoice be paid",
    "credit-note": "Credit the invoice",
    "paid-elsewhere": "Mark as paid elsewhere",
    "refund": "Give money back",
}
STATES = {
    "draft": ("Draft", "grey"),
    "open": ("Open", "blue"),
    "paid": ("Paid", "green"),
    "void": ("Void", "grey"),
    "uncollectible": ("Given up", "red"),
}
OUTCOMES = {
    "waiting": ("Waits", "yellow"),
    "applied": ("Followed", "green"),
    "ignored": ("Nothing to do", "grey"),
    "failed": ("Failed", "red"),
}


@blueprint.get("/money")
def money() -> str:
    """Show where money stands today, and what waits for somebody."""
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        waits = queries.waiting(session)
        debts = debt.open_debts(session, on=today)
        left = queries.unused_sum(session)
        asked = queries.refunds(session, state="requested")
        books = last_check(session)
    overdue = [one for one in debts if one.days_overdue]
    late = sum_pounds([one.outstanding for one in overdue])
    figures = (
        {
            "label": "Owed to us",
            "value": show_pounds(sum_pounds([one.outstanding for one in debts])),
            "note": f"{len(debts):,} open invoices",
        },
        {
            "label": "Overdue",
            "value": show_pounds(late),
            "note": f"{len(overdue):,} invoices",
            "tone": "warning" if overdue else "success",
        },
        {
            "label": "On accounts, not used",
            "value": show_pounds(left),
        },
        books_figure(books),
    )
    return render_template(
        "console/money/home.html",
        figures=figures,
        waits=waits,
        refunds=len(asked),
        books_differ=books is not None and books.outcome == "failed",
    )


def pushed_sheet(payers: Payers) -> Sheet[Pushed]:
    """Return the invoices that Stripe has, beside what is open here."""

    def state(row: Pushed) -> Cell:
        words, colour = STATES.get(row[0].status, (row[0].status, "grey"))
        return Cell(words, colour=colour)

    return Sheet(
        name="stripe-invoices",
        caption="Invoices at Stripe",
        empty="No invoice was pushed to Stripe yet.",
        fields=(
            Field("Invoice", lambda row: row[1].number, key="number"),
            Field("Account", lambda row: payers[row[0].account_id].name, key="account"),
            Field("Stripe’s id", lambda row: row[0].stripe_id),
            Field("State at Stripe", lambda row: state(row).text, state, key="state"),
            Field(
                "Open at Stripe",
                lambda row: row[0].amount_remaining,
                lambda row: Cell(show_pounds(row[0].amount_remaining), nowrap=True),
                key="remaining",
                numeric=True,
            ),
            Field(
                "Open here",
                lambda row: left_of(row[1]),
                lambda row: Cell(show_pounds(left_of(row[1])), nowrap=True),
                key="here",
                numeric=True,
            ),
            Field(
                "Looked at",
                lambda row: row[0].mirrored_at,
                lambda row: Cell(show_moment(row[0].mirrored_at).striptags()),
                key="seen",
            ),
        ),
    )


def webhooks_sheet() -> Sheet[WebhookEventRow]:
    """Return the webhooks that came, each stored once."""

    def outcome(row: WebhookEventRow) -> Cell:
        words, colour = OUTCOMES[row.outcome]
        return Cell(words, colour=colour)

    return Sheet(
        name="stripe-webhooks",
        caption="Webhooks",
        empty="No webhook came yet. Check the endpoint at Stripe once keys are set.",
        page_size=25,
        fields=(
            Field("Event", lambda row: row.type, key="event"),
            Field("Id", lambda row: row.id, on_page=False),
            Field("About", lambda row: row.object_id, key="about"),
            Field(
                "Received",
                lambda row: row.received_at,
                lambda row: Cell(show_moment(row.received_at).striptags()),
                key="received",
            ),
            Field("Tries", lambda row: row.tries, key="tries", numeric=True),
            Field("Outcome", lambda row: outcome(row).text, outcome, key="outcome"),
            Field("What was wrong", lambda row: row.error or ""),
        ),
    )


def _refused(row: GatewayCallRow, payers: Payers, numbers: dict[str, str]) -> dict[str, str]:
    about = numbers.get(row.subject_id, row.subject_id)
    # The lines of a long invoice are added in several calls, `lines-100`.
    action = row.action.partition("-")[0] if row.action.startswith("lines") else row.action
    return {
        "id": row.id,
        "account_id": row.account_id,
        "title": f"{ACTIONS.get(action, action)}: {about}, {payers[row.account_id].name}",
        "detail": row.error or "",
        "when": show_moment(row.finished_at or row.first_tried_at).striptags(),
    }


@blueprint.get("/money/stripe")
def stripe() -> Response | str:
    """Show what Stripe has, what it refused, and what it told."""
    show_webhooks = request.args.get("show") == "webhooks"
    with edge().database.snapshot() as session:
        refused = calls.refused(session)
        pending = queries.pending_calls(session)
        payers = queries.payers(session)
        numbers = queries.numbers(session, document_ids=[row.subject_id for row in refused])
        listing = (
            stored_listing(
                session,
                webhooks_sheet(),
                money_stored.webhooks_seen(),
                query={"show": "webhooks"},
            )
            if show_webhooks
            else stored_listing(session, pushed_sheet(payers), money_stored.stripe_invoices())
        )
    settings = console().settings
    return render_template(
        "console/money/stripe.html",
        has_key=settings.stripe_secret_key is not None,
        refused=[_refused(row, payers, numbers) for row in refused],
        pending=pending,
        show_webhooks=show_webhooks,
        listing=listing,
        form=Form(),
        may_allow=may_prepare(),
    )


@blueprint.post("/money/stripe/<account_id>/calls/<call_id>/allow")
@guarded(PREPARES)
def allow_call(account_id: str, call_id: str) -> Response:
    """Let a refused call be tried again, once its cause was put right."""
    with edge().database.transaction() as session:
        calls.allow_again(
            session,
            account_id=account_id,
            call_id=call_id,
            principal=current_principal().id,
            now=edge().clock(),
        )
    flash("It is tried again within two minutes.", "success")
    return go(url_for("console.stripe"))
