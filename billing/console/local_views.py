"""Local agreements: one person proposes other terms, another approves them."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.access.guards import RoleNeeded, current_principal
from billing.accounts import local_operations as operations
from billing.accounts.queries import account as account_row
from billing.accounts.tables import LocalAgreementRow
from billing.console.account_queries import all_local_agreements, groups_of, local_agreement_row
from billing.console.account_views import account_name, done
from billing.console.blueprint import APPROVES, PREPARES, blueprint
from billing.console.forms import (
    FormPage,
    Input,
    day,
    keeping_dates,
    optional_text,
    pounds,
    text,
    with_dates,
)
from billing.console.local_pages import all_locals_sheet, local_page
from billing.console.overview_queries import tariff_names
from billing.console.people import names_of
from billing.console.tariff_places import Problem, place_of, problems
from billing.forms import Form, read_form, read_text
from billing.money import plain
from billing.tariffs.files import load_document
from billing.web import go
from metering.kit.errors import FieldError, Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day

Answer = Response | str | tuple[str, int]

_EXAMPLE = (
    "YAML as the prices of a tariff file, which the tariff’s page exports. Each takes the "
    "place of the tariff’s price for the same use, or is added. May be left out"
)


class LocalForm(Schema):
    """A proposal; its prices are read apart, as a document."""

    tariff = text("Choose a service")
    group = optional_text(longest=20)
    starts_on = day("Enter the first day")
    ends_on = day("", required=False)
    discount_percent = fields.Decimal(
        load_default=None,
        allow_nan=False,
        validate=validate.Range(min=0, max=100, error="Enter a percentage from 0 to 100"),
        error_messages={"invalid": "Enter a percentage, for example 2.5"},
    )
    commitment = pounds("Enter pounds and pence, for example 12000.00")
    commitment_per = fields.String(
        load_default="month", validate=validate.OneOf(("month", "financial-year"))
    )
    reason = optional_text(longest=500)


class EndForm(Schema):
    """A proposed end."""

    ends_on = day("Enter the first day that the terms no longer cover")
    reason = optional_text(longest=500)


@blueprint.route("/accounts/<account_id>/local/new", methods=["GET", "POST"])
@guarded(PREPARES)
def propose_local(account_id: str) -> Answer:
    """Propose other terms than the tariff's for an account or its group."""
    form, faults = Form({"commitment_per": "month"}), tuple[Problem, ...]()
    if request.method == "POST":
        prices = request.form.get("prices", "").replace("\r\n", "\n")
        form, sent = read_form(LocalForm(), with_dates(request.form, "starts_on", "ends_on"))
        form = keeping_dates(form, request.form, "starts_on", "ends_on")
        form = Form({**form.values, "prices": prices}, form.errors)
        if sent is not None:
            try:
                terms = _terms(sent, prices)
                with edge().database.transaction() as session:
                    operations.propose_local_agreement(
                        session,
                        tariff_code=sent["tariff"],
                        account_id=None if sent["group"] else account_id,
                        group_code=sent["group"] or None,
                        starts_on=sent["starts_on"],
                        ends_on=sent["ends_on"],
                        terms=terms,
                        reason=sent["reason"],
                        principal=current_principal().id,
                        now=edge().clock(),
                    )
                return done(account_id, "The terms are proposed. Somebody else approves them.")
            except Refusal as refusal:
                form, faults = _with_faults(form, refusal, prices)
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
        services = sorted(tariff_names(session).items(), key=lambda item: item[1])
        groups = groups_of(session, account_id=account_id)
    inputs = (
        Input("tariff", "Service", "choice", options=(("", "Choose one"), *services)),
        Input(
            "group",
            "For",
            "choice",
            options=(("", "This account"), *((code, f"Every member of {code}") for code in groups)),
        ),
        Input("starts_on", "First day", "date"),
        Input("ends_on", "First day that they no longer cover", "date", hint="Empty: open end"),
        Input("discount_percent", "Discount, percent", "number", width="5"),
        Input("commitment", "Promises to spend at least, pounds", "number"),
        Input(
            "commitment_per",
            "in each",
            "choice",
            options=(("month", "Month"), ("financial-year", "Financial year")),
        ),
        Input("prices", "Other prices", "code", hint=_EXAMPLE, rows=14),
        Input(
            "reason",
            "Reason, if this changes months that are invoiced",
            hint="Leave it empty otherwise",
        ),
    )
    page = FormPage(
        "Propose local terms",
        form,
        inputs,
        "Propose the terms",
        _crumbs(account_id, name),
        caption=name,
        words="Nothing changes until another person approves them.",
    )
    shown = render_template("console/local_form.html", page=page, problems=faults)
    return (shown, 422) if form.errors else shown


def _terms(sent: Mapping[str, Any], prices: str) -> dict[str, Any]:
    """Return the terms as typed; prices are a list, or a mapping that holds only them."""
    terms: dict[str, Any] = {}
    if sent["discount_percent"] is not None:
        terms["discount_percent"] = plain(sent["discount_percent"])
    if sent["commitment"] is not None:
        terms["commitment"] = {
            # Not rounded: an amount with more than pennies is refused, not changed.
            "amount": plain(sent["commitment"]),
            "per": sent["commitment_per"],
        }
    if prices.strip():
        document = load_document(prices)
        if isinstance(document, dict) and set(document) == {"prices"}:
            document = document["prices"]
        terms["prices"] = document
    return terms


def _with_faults(form: Form, refusal: Refusal, prices: str) -> tuple[Form, tuple[Problem, ...]]:
    """Return the form with what was refused, and each fault of the prices with its line."""
    faults = refusal.errors
    if not faults:
        unreadable = refusal.code == "tariff-unreadable"
        return form.with_error(refusal.detail, name="prices" if unreadable else ""), ()
    found = []
    for fault in faults:
        _, name, *_ = (*fault.pointer.split("/"), "")
        if name == "prices":
            found.append(_problem(prices, fault))
        else:
            form = form.with_error(fault.detail, name=name)
    if found:
        form = form.with_error("The prices need putting right.", name="prices")
    return form, tuple(found)


def _problem(prices: str, fault: FieldError) -> Problem:
    named = prices.lstrip().startswith(("prices:", "{"))
    within = fault.pointer if named else fault.pointer.removeprefix("/prices")
    (found,) = problems(prices, (FieldError(within, fault.code, fault.detail),))
    return Problem(found.line, place_of(fault.pointer), fault.detail)


@blueprint.get("/local-agreements")
def local_agreements() -> Response | str:
    """List the local agreements of every account and group, or those that wait."""
    status = "waiting" if request.args.get("status") == "waiting" else ""
    with edge().database.snapshot() as session:
        rows = all_local_agreements(session, waiting=bool(status))
        names = tariff_names(session)
    sheet = all_locals_sheet(names, today=london_day(edge().clock()))
    if sheet.wanted:
        return sheet.file(rows)
    return render_template(
        "console/locals.html",
        listing=sheet.listing(
            rows,
            query={"status": status},
            empty="No local agreement waits for approval. Clear the filter to see all.",
        ),
        filters=Form({"status": status}),
        sheet=sheet.name,
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
            owner, crumbs = f"Group {row.group_code}", _crumbs()
        else:
            owner = account_row(session, account_id=row.account_id).name
            crumbs = _crumbs(row.account_id, owner)
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


def _crumbs(account_id: str | None = None, name: str = "") -> tuple[tuple[str, str], ...]:
    first = (("Accounts", url_for("console.accounts")),)
    if account_id is None:
        return first
    return (*first, (name, url_for("console.account", account_id=account_id)))
