"""Trusts' queries about invoices: the inbox, and one with its decision."""

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.access.model import Permission
from billing.console.blueprint import APPROVES, PREPARES, blueprint
from billing.console.credit_forms import credit_lines, read_lines
from billing.console.credit_views import BASES
from billing.disputes import operations, queries
from billing.disputes.model import STILL_OPEN, Dispute, DisputeStatus, Side
from billing.disputes.pages import disputes_listing, message_views, status_tag
from billing.forms import Form, read_form
from billing.invoices.credit_notes import (
    Creditable,
    CreditInvalid,
    CreditTooLarge,
    NotCreditable,
    creditable,
)
from billing.sheets import listed
from billing.web import go
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day

_REFUSALS = (
    operations.DisputeClosed,
    operations.DisputeInvalid,
    CreditInvalid,
    CreditTooLarge,
    NotCreditable,
)


class AnswerForm(Schema):
    """An answer to a trust: a question, an explanation, or the reason of a credit."""

    text = fields.String(required=True, error_messages={"required": "Write to the trust."})
    basis = fields.String(
        load_default="concession", validate=validate.OneOf(["concession", "rebill"])
    )


@blueprint.get("/queries")
def disputes() -> str:
    """List queries: those to be answered, the earliest first; or those that are closed."""
    closed = request.args.get("state") == "closed"
    statuses = [status for status in DisputeStatus if (status in STILL_OPEN) != closed]
    with edge().database.snapshot() as session:
        counted = queries.counts(session)
        found = queries.disputes(session, statuses=statuses)
    listing = listed(
        disputes_listing(
            found,
            hrefs=[url_for("console.dispute", dispute_id=one.id) for one in found],
            path=url_for("console.disputes"),
            today=london_day(edge().clock()),
            with_account=True,
            query={"state": "closed"} if closed else {},
            empty="No query is closed yet." if closed else "No trust waits for an answer.",
        )
    )
    return render_template("console/disputes.html", listing=listing, closed=closed, counted=counted)


@blueprint.get("/queries/<dispute_id>")
def dispute(dispute_id: str) -> str:
    """Show a query, what both sides wrote, and what can be decided."""
    return _page(dispute_id, Form())


@blueprint.post("/queries/<dispute_id>/ask")
@guarded(PREPARES)
def ask_trust(dispute_id: str) -> Response | tuple[str, int]:
    """Ask the trust something; the timer stops until it answers."""
    return _decide(dispute_id, "ask", "The question is sent.")


@blueprint.post("/queries/<dispute_id>/explain")
@guarded(PREPARES)
def explain_dispute(dispute_id: str) -> Response | tuple[str, int]:
    """Decide that the invoice is right."""
    return _decide(dispute_id, "explain", "The query is closed with your explanation.")


@blueprint.post("/queries/<dispute_id>/credit")
@guarded(APPROVES)
def credit_dispute(dispute_id: str) -> Response | tuple[str, int]:
    """Decide that the trust is right: credit what is disputed, or the lines that are given."""
    return _decide(dispute_id, "credit", "The credit note is issued.")


def _decide(dispute_id: str, how: str, done: str) -> Response | tuple[str, int]:
    form, sent = read_form(AnswerForm(), request.form)
    chosen = how == "credit" and bool(request.form.get("chosen"))
    with edge().database.snapshot() as session:
        left = _left(session, queries.dispute(session, dispute_id=dispute_id))
    form, lines = read_lines(form, request.form, credit_lines(left))
    if chosen and not lines and not form.errors:
        form = form.with_error("Say what to credit of which line.")
    elif lines and not chosen:
        # Enter in one of their fields presses the form's first button, which is another.
        form = form.with_error(
            "You wrote what to credit: choose Credit these lines, or empty them."
        )
    if sent is None or form.errors:
        return _page(dispute_id, form), 422
    try:
        with edge().database.transaction() as session:
            said = {
                "account_id": queries.dispute(session, dispute_id=dispute_id).account_id,
                "dispute_id": dispute_id,
                "text": sent["text"],
                "principal": current_principal().id,
                "now": edge().clock(),
            }
            if how == "ask":
                operations.write_message(session, side=Side.CENTRAL, **said)
            elif how == "explain":
                operations.explain_dispute(session, **said)
            else:
                operations.credit_dispute(
                    session, basis=sent["basis"], lines=lines if chosen else None, **said
                )
    except _REFUSALS as refusal:
        return _page(dispute_id, form.with_refusal(refusal)), 422
    flash(done, "success")
    return go(url_for("console.dispute", dispute_id=dispute_id))


def _page(dispute_id: str, form: Form) -> str:
    principal = current_principal()
    with edge().database.snapshot() as session:
        found = queries.dispute(session, dispute_id=dispute_id)
        left = _left(session, found) if found.is_open else []
    return render_template(
        "console/dispute.html",
        found=found,
        standing=status_tag(found, today=london_day(edge().clock())),
        messages=message_views(found, mine=Side.CENTRAL),
        form=form,
        invoice_href=url_for("portal.invoice", code=found.ods_code, invoice_id=found.invoice_id),
        note_href=url_for("portal.invoice", code=found.ods_code, invoice_id=found.credit_note_id)
        if found.credit_note_id
        else None,
        may_prepare=principal.may(Permission.PREPARE),
        may_approve=principal.may(Permission.APPROVE),
        bases=BASES,
        lines=credit_lines(left),
        choosing=any(name.startswith("credit-") for name in form.values),
    )


def _left(session: Session, found: Dispute) -> list[Creditable]:
    return creditable(session, account_id=found.account_id, invoice_id=found.invoice_id)
