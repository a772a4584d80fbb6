"""The form that takes money off an invoice again, wherever it had come from."""

from flask import Response, flash, request

from billing.access.guards import current_principal
from billing.console.forms import FormPage, Input, show
from billing.forms import Form, read_text
from billing.payments import operations
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.web import edge


def undo_form(
    *,
    account_id: str,
    allocation_id: str,
    title: str,
    button: str,
    said: str,
    back: str,
    crumbs: tuple[tuple[str, str], ...],
    words: str = "",
) -> Response | str | tuple[str, int]:
    """Ask why an allocation is undone, undo it, say `said` and go `back`."""
    form = Form({"reason": read_text(request.form, "reason")})
    if request.method == "POST":
        try:
            with edge().database.transaction() as session:
                operations.undo_allocation(
                    session,
                    account_id=account_id,
                    allocation_id=allocation_id,
                    reason=form.value("reason"),
                    principal=current_principal().id,
                    now=edge().clock(),
                )
            flash(said, "success")
            return go(back)
        except Refusal as refusal:
            form = form.with_error(refusal.detail, name="reason")
    return show(
        FormPage(
            title,
            form,
            (Input("reason", "Why it is undone"),),
            button,
            crumbs,
            words=words,
            warning=True,
        )
    )
