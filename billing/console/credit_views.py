"""Crediting an issued invoice: the whole of it, some lines, or some of their quantity."""

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.accounts import queries as accounts
from billing.console.blueprint import APPROVES, blueprint
from billing.console.credit_forms import credit_lines, read_lines
from billing.forms import Form, read_form
from billing.invoices import queries as invoices
from billing.invoices.credit_notes import (
    CreditInvalid,
    CreditTooLarge,
    NotCreditable,
    credit_invoice,
    creditable,
)
from billing.web import go
from metering.kit.guards import guarded
from metering.kit.web import edge

BASES = (
    ("concession", "Give the money back"),
    ("rebill", "Give it back and invoice the usage again"),
)


class CreditForm(Schema):
    """Why money is given back, and whether the usage is invoiced again."""

    reason = fields.String(
        required=True, error_messages={"required": "Say why; it is printed on the credit note."}
    )
    basis = fields.String(
        required=True,
        validate=validate.OneOf([value for value, _ in BASES], error="Choose one."),
        error_messages={"required": "Choose one."},
    )


def account_of(session: Session, code: str) -> str:
    """Return the account of an organisation.

    Raises:
        AccountUnknown: it has none.
    """
    return accounts.payer_by_ods_code(session, ods_code=code).account.id


@blueprint.get("/accounts/<code>/invoices/<invoice_id>/credit")
@guarded(APPROVES)
def new_credit(code: str, invoice_id: str) -> str:
    """Show what is left to credit of an invoice, line by line."""
    return _page(code, invoice_id, Form({"basis": "concession"}))


@blueprint.post("/accounts/<code>/invoices/<invoice_id>/credit")
@guarded(APPROVES)
def issue_credit(code: str, invoice_id: str) -> Response | tuple[str, int]:
    """Issue a credit note for the lines and quantities given; for all where none is."""
    form, sent = read_form(CreditForm(), request.form)
    with edge().database.snapshot() as session:
        left = creditable(session, account_id=account_of(session, code), invoice_id=invoice_id)
    form, lines = read_lines(form, request.form, credit_lines(left))
    whole = request.form.get("whole") == "yes"
    if sent is not None and not form.errors:
        if not lines and not whole:
            form = form.with_error("Say what to credit of which line, or credit all that is left.")
        else:
            try:
                with edge().database.transaction() as session:
                    note = credit_invoice(
                        session,
                        account_id=account_of(session, code),
                        invoice_id=invoice_id,
                        reason=sent["reason"],
                        basis=sent["basis"],
                        principal=current_principal().id,
                        now=edge().clock(),
                        lines=None if whole else lines,
                    )
            except (CreditInvalid, CreditTooLarge, NotCreditable) as refusal:
                form = form.with_refusal(refusal)
            else:
                flash(f"Credit note {note.number} is issued.", "success")
                return go(url_for("portal.invoice", code=code, invoice_id=note.id))
    return _page(code, invoice_id, form), 422


def _page(code: str, invoice_id: str, form: Form) -> str:
    with edge().database.snapshot() as session:
        account_id = account_of(session, code)
        left = creditable(session, account_id=account_id, invoice_id=invoice_id)
        row = invoices.invoice_row(session, account_id=account_id, invoice_id=invoice_id)
    return render_template(
        "console/credit.html",
        form=form,
        lines=credit_lines(left),
        bases=BASES,
        number=row.number,
        name=row.content["buyer"]["name"],
        back=url_for("portal.invoice", code=code, invoice_id=invoice_id),
    )
