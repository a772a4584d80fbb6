"""Local agreements: one person proposes other terms, another approves them."""

from collections.abc import Callable

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema
from sqlalchemy.orm import Session

from billing.access.guards import RoleNeeded, current_principal
from billing.accounts import local_operations as operations
from billing.accounts.queries import account as account_row
from billing.accounts.tables import LocalAgreementRow
from billing.console.account_queries import all_local_agreements, local_agreement_row
from billing.console.blueprint import APPROVES, PREPARES, blueprint
from billing.console.forms import (
    day,
    keeping_dates,
    optional_text,
    with_dates,
)
from billing.console.local_pages import all_locals_sheet, local_page
from billing.console.overview_queries import tariff_names
from billing.console.people import names_of
from billing.forms import Form, read_form, read_text
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day

Answer = Response | str | tuple[str, int]


class EndForm(Schema):
    """A proposed end."""

    ends_on = day("Enter the first day that the terms no longer cover")
    reason = optional_text(longest=500)


@blueprint.get("/local-agreements")
def local_agreements() -> Response | str:
    """List the local agreements of every account and group, or those that wait."""
    status = "waiting" if request.args.get("status") == "waiting" else ""
    with edge().database.snapshot() as session:
        rows = all_local_agreements(session, waiting=bool(status))
        names = tariff_names(session)
    sheet = all_locals_sheet(names, today=london_day(edge().clock()))
    return render_template(
        "console/locals.html",
        listing=sheet.listing(
            rows,
            query={"status": status},
            empty="No local agreement waits for approval. Clear the filter to see all.",
        ),
        filters=Form({"status": status}),
    )


@blueprint.get("/local-agreements/<local_id>")
def local_agreement(local_id: str) -> str:
    """Show one local agreement and what may be done with it."""
    return _local_page(local_id, Form())


def _local_page(local_id: str, form: Form) -> str:
    with edge().database.snapshot() as session:
        row = local_agreement_row(session, local_id=local_id)
        tariff = tariff_names(session).get(row.tariff_code, row.tariff_code)
        people = (row.proposed_by, row.decided_by, row.end_proposed_by, row.end_approved_by)
        names = names_of(session, principals=people)
        if row.account_id is None:
            owner, crumbs = f"Group {row.group_code}", local_crumbs()
        else:
            owner = account_row(session, account_id=row.account_id).name
            crumbs = local_crumbs(row.account_id, owner)
        page = local_page(
            row,
            tariff=tariff,
            owner=owner,
            crumbs=crumbs,
            names=names,
            principal=current_principal(),
            today=london_day(edge().clock()),
        )
    return render_template("console/local.html", page=page, form=form)


def _step(
    local_id: str, work: Callable[[Session], object], *, said: str, form: Form | None = None
) -> Answer:
    """Do one step of a local agreement's life; a refusal is said on its page."""
    try:
        with edge().database.transaction() as session:
            work(session)
    except operations.LocalAgreementUnknown:
        raise
    except Refusal as refusal:
        return _local_page(local_id, (form or Form()).with_error(refusal.detail)), 422
    flash(said, "success")
    return go(url_for("console.local_agreement", local_id=local_id))


@blueprint.post("/local-agreements/<local_id>/approve")
@guarded(APPROVES)
def approve_local(local_id: str) -> Answer:
    """Approve proposed terms as the second person."""
    return _step(
        local_id,
        lambda session: operations.approve_local_agreement(
            session, local_id=local_id, principal=current_principal().id, now=edge().clock()
        ),
        said="The terms are approved. They hold on their dates.",
    )


@blueprint.post("/local-agreements/<local_id>/reject")
@guarded(APPROVES)
def reject_local(local_id: str) -> Answer:
    """Turn proposed terms down."""
    reason = read_text(request.form, "reject_reason")
    form = Form({"reject_reason": reason})
    if not reason:
        wrong = form.with_error("Enter why they are rejected", name="reject_reason")
        return _local_page(local_id, wrong), 422
    return _step(
        local_id,
        lambda session: operations.reject_local_agreement(
            session,
            local_id=local_id,
            principal=current_principal().id,
            now=edge().clock(),
            reason=reason,
        ),
        said="The terms are rejected.",
        form=form,
    )


@blueprint.post("/local-agreements/<local_id>/take-back")
@guarded(PREPARES)
def take_back_local(local_id: str) -> Answer:
    """Take one's own proposal back."""

    def work(session: Session) -> LocalAgreementRow:
        row = local_agreement_row(session, local_id=local_id)
        if row.proposed_by != current_principal().id:
            raise RoleNeeded("Only the person who proposed the terms takes them back.")
        return operations.reject_local_agreement(
            session,
            local_id=local_id,
            principal=current_principal().id,
            now=edge().clock(),
            reason="taken back",
        )

    return _step(local_id, work, said="The proposal is taken back.")


@blueprint.post("/local-agreements/<local_id>/end")
@guarded(PREPARES)
def propose_local_end(local_id: str) -> Answer:
    """Propose that terms end earlier."""
    form, sent = read_form(EndForm(), with_dates(request.form, "ends_on"))
    form = keeping_dates(form, request.form, "ends_on")
    if sent is None:
        return _local_page(local_id, form), 422
    return _step(
        local_id,
        lambda session: operations.propose_end(
            session,
            local_id=local_id,
            ends_on=sent["ends_on"],
            reason=sent["reason"],
            principal=current_principal().id,
            now=edge().clock(),
        ),
        said="The end is proposed. Somebody else approves it.",
        form=form,
    )


@blueprint.post("/local-agreements/<local_id>/end/approve")
@guarded(APPROVES)
def approve_local_end(local_id: str) -> Answer:
    """Approve a proposed end as the second person."""
    return _step(
        local_id,
        lambda session: operations.approve_end(
            session, local_id=local_id, principal=current_principal().id, now=edge().clock()
        ),
        said="The end is approved.",
    )


def local_crumbs(account_id: str | None = None, name: str = "") -> tuple[tuple[str, str], ...]:
    """Return the way to the page of local terms: through their account where they have one."""
    first = (("Accounts", url_for("console.accounts")),)
    if account_id is None:
        return first
    return (*first, (name, url_for("console.account", account_id=account_id)))
