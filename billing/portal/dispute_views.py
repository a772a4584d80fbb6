"""Queries of a trust: raise one about a line, follow it, answer, take it back."""

from dataclasses import dataclass
from decimal import Decimal

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, ValidationError, fields, validate

from billing.access.guards import current_principal, permitted
from billing.access.model import Permission
from billing.disputes import operations, queries
from billing.disputes.model import REASONS, Side
from billing.disputes.pages import choices, disputes_listing, message_views, status_tag
from billing.forms import Form, read_form
from billing.invoices.credit_notes import NotCreditable
from billing.portal.account import OpenAccount, changing, opened
from billing.portal.blueprint import blueprint
from billing.portal.invoice_queries import issued_invoice
from billing.sheets import listed
from billing.web import go
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day


@dataclass(frozen=True)
class AccountPage:
    """Whose page it is; the rest is handed to the template by name."""

    account: OpenAccount


CHANGE = permitted(Permission.CHANGE_ACCOUNT)


class QuantityField(fields.Field[Decimal]):
    """A quantity as people write it: `1,250`."""

    def _deserialize(
        self,
        value: object,
        attr: str | None,  # noqa: ARG002 - marshmallow's signature
        data: object,  # noqa: ARG002 - as above
        **kwargs: object,  # noqa: ARG002 - as above
    ) -> Decimal:
        text = str(value).replace(",", "").replace(" ", "")
        whole, _, places = text.partition(".")
        if not (whole.isascii() and (whole + places).isdigit() and len(text) <= 30):
            raise ValidationError("Enter a number, for example 1,250.")
        if len(places) > 9:
            raise ValidationError("Enter a number with at most nine decimal places.")
        return Decimal(text)


class DisputeForm(Schema):
    """What is wrong, with what, and what shows it."""

    line = fields.String(load_default="")
    reason = fields.String(
        required=True,
        validate=validate.OneOf(list(REASONS), error="Choose what is wrong."),
        error_messages={"required": "Choose what is wrong."},
    )
    quantity = QuantityField(load_default=None)
    text = fields.String(
        required=True, error_messages={"required": "Say what is wrong and how you know."}
    )


class MessageForm(Schema):
    """A message to the other side."""

    text = fields.String(required=True, error_messages={"required": "Write your message."})


@blueprint.get("/<code>/queries")
def disputes(code: str) -> str:
    """List the account's queries, those to be answered first."""
    today = london_day(edge().clock())
    with opened(code) as (session, account):
        found = queries.disputes(session, account_id=account.id)
    listing = listed(
        disputes_listing(
            found,
            hrefs=[url_for("portal.dispute", code=code, dispute_id=one.id) for one in found],
            path=url_for("portal.disputes", code=code),
            today=today,
        )
    )
    return render_template("portal/disputes.html", page=AccountPage(account), listing=listing)


@blueprint.get("/<code>/invoices/<invoice_id>/query")
@guarded(CHANGE)
def new_dispute(code: str, invoice_id: str) -> str:
    """Show the form that queries an invoice or the line that the address names."""
    return _form(code, invoice_id, Form({"line": request.args.get("line", "")[:6]}))


@blueprint.post("/<code>/invoices/<invoice_id>/query")
@guarded(CHANGE)
def raise_dispute(code: str, invoice_id: str) -> Response | tuple[str, int]:
    """Raise a query."""
    form, sent = read_form(DisputeForm(), request.form)
    if sent is not None:
        line = sent["line"]
        try:
            with changing(code) as (session, account):
                made = operations.raise_dispute(
                    session,
                    account_id=account.id,
                    invoice_id=invoice_id,
                    line_number=int(line) if line.isascii() and line.isdigit() else None,
                    reason=sent["reason"],
                    text=sent["text"],
                    quantity=sent["quantity"] if line else None,
                    principal=current_principal().id,
                    now=edge().clock(),
                )
                path = url_for("portal.dispute", code=code, dispute_id=made.id)
        except (
            operations.DisputeInvalid,
            operations.DisputeOpenAlready,
            NotCreditable,
        ) as refusal:
            form = form.with_refusal(refusal)
        else:
            flash("Your query is sent. You are not reminded of what it disputes.", "success")
            return go(path)
    return _form(code, invoice_id, form), 422


def _form(code: str, invoice_id: str, form: Form) -> str:
    with opened(code) as (session, account):
        issued = issued_invoice(session, account_id=account.id, invoice_id=invoice_id)
    return render_template(
        "portal/dispute_form.html",
        page=AccountPage(account),
        number=issued.row.number,
        back=url_for("portal.invoice", code=code, invoice_id=invoice_id),
        lines=choices(issued.lines),
        reasons=[("", "Choose"), *REASONS.items()],
        form=form,
    )


@blueprint.get("/<code>/queries/<dispute_id>")
def dispute(code: str, dispute_id: str) -> str:
    """Show a query and what both sides wrote."""
    return _page(code, dispute_id, Form())


@blueprint.post("/<code>/queries/<dispute_id>/messages")
@guarded(CHANGE)
def answer_dispute(code: str, dispute_id: str) -> Response | tuple[str, int]:
    """Write to the central team."""
    form, sent = read_form(MessageForm(), request.form)
    if sent is not None:
        try:
            with changing(code) as (session, account):
                operations.write_message(
                    session,
                    account_id=account.id,
                    dispute_id=dispute_id,
                    side=Side.TRUST,
                    text=sent["text"],
                    principal=current_principal().id,
                    now=edge().clock(),
                )
        except (operations.DisputeClosed, operations.DisputeInvalid) as refusal:
            form = form.with_refusal(refusal)
        else:
            flash("Your message is sent.", "success")
            return go(url_for("portal.dispute", code=code, dispute_id=dispute_id))
    return _page(code, dispute_id, form), 422


@blueprint.post("/<code>/queries/<dispute_id>/withdraw")
@guarded(CHANGE)
def withdraw_dispute(code: str, dispute_id: str) -> Response | tuple[str, int]:
    """Take a query back."""
    try:
        with changing(code) as (session, account):
            operations.withdraw_dispute(
                session,
                account_id=account.id,
                dispute_id=dispute_id,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except operations.DisputeClosed as refusal:
        return _page(code, dispute_id, Form().with_refusal(refusal)), 409
    flash("Your query is withdrawn. What it disputed is to be paid.", "success")
    return go(url_for("portal.dispute", code=code, dispute_id=dispute_id))


def _page(code: str, dispute_id: str, form: Form) -> str:
    today = london_day(edge().clock())
    with opened(code) as (session, account):
        found = queries.dispute(session, dispute_id=dispute_id, account_id=account.id)
    return render_template(
        "portal/dispute.html",
        page=AccountPage(account),
        found=found,
        standing=status_tag(found, today=today),
        messages=message_views(found, mine=Side.TRUST),
        form=form,
    )
