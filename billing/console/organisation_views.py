"""Organisations: the bodies whose usage is taken. Registered, renamed, closed, imported."""

from typing import Any

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, fields, validate
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.accounts.tables import AccountRow
from billing.console.blueprint import blueprint
from billing.console.forms import (
    FormPage,
    Input,
    date_values,
    day,
    optional_text,
    refused,
    show,
    submit,
    text,
)
from billing.console.money_imports import allow_files, sent_file
from billing.console.organisation_pages import (
    KINDS,
    kind_words,
    organisation_page,
    organisations_sheet,
)
from billing.console.service_forms import REGISTERS
from billing.forms import Form, read_form
from billing.web import go
from metering.kit import audit
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.organisations import operations, queries
from metering.organisations.ods import OdsFileInvalid, read_ods_file
from metering.organisations.tables import OrganisationRow
from metering.periods import london_day

Answer = Response | str | tuple[str, int]
_IMPORT = "console.import_organisations"


@blueprint.url_value_preprocessor
def _files_may_be_large(endpoint: str | None, _values: object) -> None:
    # Before the form is read: its token is checked by a guard, which reads it.
    if endpoint == _IMPORT and request.method == "POST":
        allow_files()


class OrganisationForm(Schema):
    """A body's particulars."""

    code = text("Enter the ODS code", longest=10)
    name = text("Enter the name")
    kind = fields.String(
        required=True,
        error_messages={"required": "Choose what kind of body it is"},
        validate=validate.Length(max=40),
    )
    postcode = optional_text(longest=10)
    opened_on = day("", required=False)


class CloseForm(Schema):
    """From when a body no longer exists, and who takes over."""

    closed_from = day("Enter the first day on which it no longer exists")
    successor = optional_text(longest=10)


class ImportForm(Schema):
    """What the bodies of a file are."""

    kind = fields.String(load_default="other", validate=validate.OneOf(list(KINDS)))


def _note(session: Session, action: str, code: str, facts: dict[str, Any]) -> None:
    audit.record(
        session,
        now=edge().clock(),
        principal=current_principal().id,
        action=action,
        object_kind="organisation",
        object_id=code,
        facts=facts,
    )


def _crumbs(row: OrganisationRow | None = None) -> tuple[tuple[str, str], ...]:
    first = (
        ("Accounts", url_for("console.accounts")),
        ("Organisations", url_for("console.organisations")),
    )
    if row is None:
        return first
    return (*first, (row.name, url_for("console.organisation", code=row.ods_code)))


def _done(code: str, words: str) -> Response:
    flash(words, "success")
    return go(url_for("console.organisation", code=code))


def _row(code: str) -> OrganisationRow:
    with edge().database.snapshot() as session:
        return queries.by_ods_code(session, ods_code=code)


@blueprint.get("/organisations")
def organisations() -> Response | str:
    """List the bodies whose usage is taken."""
    search = request.args.get("search", "").strip()[:100]
    state = request.args.get("state", "")
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        open_on = today if state == "open" else None
        found = queries.every(session, text=search, open_on=open_on)
        accounts = {
            row.organisation_id: row.id
            for row in session.execute(select(AccountRow.organisation_id, AccountRow.id))
        }
    if state == "closed":
        found = [row for row in found if row.closed_from and row.closed_from <= today]
    elif state == "no-account":
        found = [row for row in found if row.id not in accounts]
    return render_template(
        "console/organisations.html",
        listing=organisations_sheet(today, accounts).listing(
            found,
            query={"search": search, "state": state},
            empty="No organisation fits. Change what you search for, or clear the filters.",
        ),
        filters=Form({"search": search, "state": state}),
        is_filtered=bool(search or state),
        may_register=_may_register(),
    )


def _may_register() -> bool:
    try:
        REGISTERS.check()
    except Refusal:
        return False
    return True


@blueprint.get("/organisations/<code>")
def organisation(code: str) -> str:
    """Show one body, and what became of it."""
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        row = queries.by_ods_code(session, ods_code=code)
        account_id = session.scalar(
            select(AccountRow.id).where(AccountRow.organisation_id == row.id)
        )
        before = queries.predecessors(session, organisation_id=row.id)
        after = queries.successors(session, organisation_id=row.id)
    page = organisation_page(
        row,
        today=today,
        account_id=account_id,
        predecessors={one.ods_code: one.name for one in before},
        successors={one.ods_code: one.name for one in after},
    )
    return render_template("console/organisation.html", page=page, may_register=_may_register())


def _particulars(kind: str = "") -> tuple[Input, ...]:
    options = [("", "Choose one"), *KINDS.items()]
    if kind and kind not in KINDS:
        options.append((kind, kind_words(kind)))
    return (
        Input("name", "Name", hint="As ODS has it"),
        Input("kind", "Kind", "choice", options=options),
        Input("postcode", "Postcode", width="10", hint="May be left out"),
        Input("opened_on", "Opened", "date", hint="Empty: long ago"),
    )


@blueprint.route("/organisations/new", methods=["GET", "POST"])
@guarded(REGISTERS)
def new_organisation() -> Answer:
    """Register a body, so that its usage is taken."""

    def act(session: Session, sent: dict[str, Any]) -> OrganisationRow:
        code = sent["code"].upper()
        if queries.every(session, codes=[code]):
            raise operations.OrganisationInvalid(f"{code} is registered already.")
        row = operations.register(
            session,
            ods_code=code,
            name=sent["name"],
            kind=sent["kind"],
            postcode=sent["postcode"] or None,
            opened_on=sent["opened_on"],
            now=edge().clock(),
        )
        _note(session, "register organisation", row.ods_code, {"name": row.name})
        return row

    form, made = submit(OrganisationForm(), act, dates=("opened_on",), field_name="code")
    if made is not None:
        return _done(made.ods_code, f"{made.name} is registered. Its usage is taken from now on.")
    code = Input("code", "ODS code", width="10", hint="3 to 10 letters and digits, for example RWE")
    words = "Usage that was refused because the body was unknown can then be replayed."
    return show(
        FormPage(
            "Register an organisation",
            form,
            (code, *_particulars()),
            "Register it",
            _crumbs(),
            words=words,
        )
    )


@blueprint.route("/organisations/<code>/edit", methods=["GET", "POST"])
@guarded(REGISTERS)
def edit_organisation(code: str) -> Answer:
    """Rename a body or put its particulars right."""
    row = _row(code)

    def act(session: Session, sent: dict[str, Any]) -> OrganisationRow:
        _note(session, "change organisation", code, {"before": row.name, "name": sent["name"]})
        return operations.register(
            session,
            ods_code=code,
            name=sent["name"],
            kind=sent["kind"],
            postcode=sent["postcode"] or None,
            opened_on=sent["opened_on"],
            closed_from=row.closed_from,
            now=edge().clock(),
        )

    start = Form(
        {
            "name": row.name,
            "kind": row.kind,
            "postcode": row.postcode or "",
            **date_values("opened_on", row.opened_on),
        }
    )
    form, made = submit(
        OrganisationForm(exclude=("code",)),
        act,
        start=start,
        dates=("opened_on",),
        field_name="opened_on",
    )
    if made is not None:
        return _done(code, "The particulars are saved.")
    return show(
        FormPage(
            "Change particulars",
            form,
            _particulars(row.kind),
            "Save",
            _crumbs(row),
            caption=row.name,
            words="The account of the body keeps the name that is printed on its invoices until "
            "its details are changed too.",
        )
    )


@blueprint.route("/organisations/<code>/close", methods=["GET", "POST"])
@guarded(REGISTERS)
def close_organisation(code: str) -> Answer:
    """Close a body from a day on, and say who takes over."""
    row = _row(code)

    def act(session: Session, sent: dict[str, Any]) -> bool:
        successor = sent["successor"].upper()
        operations.close(session, ods_code=code, closed_from=sent["closed_from"])
        if successor:
            operations.record_succession(
                session,
                predecessor=code,
                successor=successor,
                effective_on=sent["closed_from"],
            )
        _note(
            session,
            "close organisation",
            code,
            {"closed_from": sent["closed_from"].isoformat(), "successor": successor or None},
        )
        return True

    start = Form(date_values("closed_from", row.closed_from))
    form, made = submit(
        CloseForm(), act, start=start, dates=("closed_from",), field_name="successor"
    )
    if made is not None:
        return _done(code, "The organisation closes on that day. Earlier usage can still arrive.")
    return show(
        FormPage(
            f"Close {row.name}",
            form,
            (
                Input("closed_from", "First day on which it no longer exists", "date"),
                Input(
                    "successor",
                    "ODS code of the body that takes over",
                    width="10",
                    hint="May be left out. Refused usage then names it",
                ),
            ),
            "Close the organisation",
            _crumbs(row),
            words="Usage from that day on is refused. Its account is merged on the account’s own "
            "page, which also moves its agreements.",
            warning=True,
        )
    )


@blueprint.route("/organisations/import", methods=["GET", "POST"])
@guarded(REGISTERS)
def import_organisations() -> Answer:
    """Register every body of a file of ODS, or bring those there are up to date."""
    form = Form({"kind": "acute"})
    if request.method == "POST":
        form, sent = read_form(ImportForm(), request.form)
        file = sent_file()
        if file is None:
            form = form.with_error("Choose the file", name="file")
        elif sent is not None:
            try:
                counted = _import(file.content, kind=sent["kind"], file_name=file.name)
            except OdsFileInvalid as refusal:
                faults = [f"row {one.pointer[1:]}: {one.detail}" for one in refusal.errors[:3]]
                form = form.with_error(" ".join([refusal.detail, *faults]), name="file")
            except Refusal as refusal:
                form = refused(form, refusal, "file")
            else:
                new, changed = counted
                flash(f"Registered: {new:,}. Brought up to date: {changed:,}.", "success")
                return go(url_for("console.organisations"))
    return show(
        FormPage(
            "Import organisations",
            form,
            (
                Input(
                    "file",
                    "ODS file (CSV)",
                    "file",
                    hint="As NHS England publishes them, for example etr.csv; or with a header "
                    "of code, name, postcode, open_date and close_date",
                ),
                Input("kind", "What they are", "choice", options=list(KINDS.items())),
            ),
            "Import them",
            _crumbs(),
            words="Bodies that are registered already get the name, postcode and dates of the "
            "file and keep their kind. None is removed.",
        )
    )


def _import(content: bytes, *, kind: str, file_name: str) -> tuple[int, int]:
    """Return how many bodies of a file were new, and how many were changed."""
    listed = read_ods_file(content)
    with edge().database.transaction() as session:
        new, changed = operations.import_listed(
            session, listed=listed, kind=kind, now=edge().clock()
        )
        _note(
            session,
            "import organisations",
            file_name[:100],
            {"rows": len(listed), "new": new, "changed": changed},
        )
    return new, changed
