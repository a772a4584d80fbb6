"""Forms that change services: particulars, keys, meters."""

from typing import Any

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.access.guards import current_principal, permitted, roles
from billing.access.model import Permission, Role
from billing.console.blueprint import blueprint
from billing.console.forms import (
    FormPage,
    Input,
    day,
    keeping_dates,
    optional_text,
    text,
    with_dates,
)
from billing.console.service_pages import AGGREGATION_WORDS, POLICY_WORDS, SCOPE_WORDS
from billing.console.service_views import may_keep, seen_source
from billing.forms import Form, read_form
from billing.web import go
from metering.kit import audit
from metering.kit.errors import Forbidden, Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.meters import operations as meters
from metering.meters.model import AGGREGATIONS
from metering.periods import london_midnight
from metering.sources import operations
from metering.sources.model import EVENTS_WRITE, MANIFESTS_WRITE, SCOPES, IssuedKey
from metering.sources.operations import MANIFEST_POLICIES
from metering.sources.queries import KeyUnknown, key_by_id
from metering.sources.tables import ServiceKeyRow, SourceRow

Answer = Response | str | tuple[str, int]

KEEPS_KEYS = permitted(Permission.SEE_SOURCE)
REGISTERS = roles(Role.ANALYST, Role.ADMINISTRATOR)


class KeysNotYours(Forbidden):
    """Keys are issued and revoked by the service's owners, analysts and administrators."""

    code = "keys-not-yours"
    title = "You cannot change the keys of this service"


class ServiceForm(Schema):
    """A hosted service's particulars."""

    code = text("Enter a code", longest=100)
    name = text("Enter the service's name")
    contact_email = optional_text()
    manifest_policy = fields.String(
        load_default="warn",
        validate=validate.OneOf(MANIFEST_POLICIES, error="Choose what a difference does"),
    )


class KeyForm(Schema):
    """A new key."""

    label = text("Enter where the key will live", longest=100)
    ends_on = day("", required=False)


class MeterForm(Schema):
    """A new meter."""

    name = text("Enter the meter's name")
    code = text("Enter a code", longest=63)
    event_type = text("Enter the event type", longest=200)
    aggregation = fields.String(
        required=True,
        error_messages={"required": "Choose how it counts"},
        validate=validate.OneOf(AGGREGATIONS, error="Choose how it counts"),
    )
    quantity_field = optional_text(longest=63)
    unit = text("Enter the unit, in the singular", longest=30)
    dimensions = optional_text(longest=2000)
    resolution = fields.String(load_default="day", validate=validate.OneOf(("day", "hour")))


def _crumbs(row: SourceRow | None = None) -> tuple[tuple[str, str], ...]:
    first = (("Services", url_for("console.services")),)
    if row is None:
        return first
    return (*first, (row.name, url_for("console.service", source_id=row.id)))


def _show(page: FormPage) -> Answer:
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if page.form.errors else shown


def _source(source_id: int) -> SourceRow:
    with edge().database.snapshot() as session:
        return seen_source(session, source_id)


def _note(session: Session, action: str, code: str, facts: dict[str, Any]) -> None:
    audit.record(
        session,
        now=edge().clock(),
        principal=current_principal().id,
        action=action,
        object_kind="source",
        object_id=code,
        facts=facts,
    )


_PARTICULARS = (
    Input("name", "Name"),
    Input("contact_email", "Contact email address", "email", hint="May be left out"),
    Input(
        "manifest_policy",
        "When its own counts (manifests) differ",
        "choice",
        options=[(one, POLICY_WORDS[one]) for one in MANIFEST_POLICIES],
    ),
)


@blueprint.route("/services/new", methods=["GET", "POST"])
@guarded(REGISTERS)
def new_service() -> Answer:
    """Register a hosted service."""
    form = Form({"manifest_policy": "warn"})
    if request.method == "POST":
        form, sent = read_form(ServiceForm(), request.form)
        if sent is not None:
            try:
                with edge().database.transaction() as session:
                    row = operations.register(
                        session,
                        code=sent["code"],
                        name=sent["name"],
                        contact_email=sent["contact_email"] or None,
                        manifest_policy=sent["manifest_policy"],
                        now=edge().clock(),
                    )
                    _note(session, "register source", row.code, {"name": row.name})
                flash("The service is registered. Register its meters and issue a key.", "success")
                return go(url_for("console.service", source_id=row.id))
            except Refusal as refusal:
                form = form.with_error(refusal.detail, name="code")
    code = Input(
        "code", "Source", hint="What its events give as their source, for example imaging-archive"
    )
    return _show(
        FormPage("Register a service", form, (code, *_PARTICULARS), "Register it", _crumbs())
    )


@blueprint.route("/services/<int:source_id>/edit", methods=["GET", "POST"])
@guarded(REGISTERS)
def edit_service(source_id: int) -> Answer:
    """Change a service's particulars."""
    row = _source(source_id)
    form = Form(
        {
            "name": row.name,
            "contact_email": row.contact_email or "",
            "manifest_policy": row.manifest_policy,
        }
    )
    if request.method == "POST":
        form, sent = read_form(ServiceForm(exclude=("code",)), request.form)
        if sent is not None:
            try:
                with edge().database.transaction() as session:
                    operations.register(
                        session,
                        code=row.code,
                        name=sent["name"],
                        contact_email=sent["contact_email"] or None,
                        manifest_policy=sent["manifest_policy"],
                        now=edge().clock(),
                    )
                    _note(session, "change source", row.code, {"policy": sent["manifest_policy"]})
                flash("The particulars are saved.", "success")
                return go(url_for("console.service", source_id=source_id))
            except Refusal as refusal:
                form = form.with_error(refusal.detail, name="name")
    return _show(
        FormPage("Change particulars", form, _PARTICULARS, "Save", _crumbs(row), caption=row.name)
    )


@blueprint.route("/services/<int:source_id>/close", methods=["GET", "POST"])
@guarded(REGISTERS)
def close_service(source_id: int) -> Answer:
    """Stop taking events from a service, after asking once more."""
    row = _source(source_id)
    if request.method == "POST":
        with edge().database.transaction() as session:
            operations.close(
                session, code=row.code, principal=current_principal().id, now=edge().clock()
            )
        flash("The service is closed. What it sent stays.", "success")
        return go(url_for("console.service", source_id=source_id))
    words = (
        "Its keys stop working at once and its events are refused. What it sent stays, and is "
        "invoiced."
    )
    return _show(
        FormPage(
            f"Close {row.name}",
            Form(),
            (),
            "Close the service",
            _crumbs(row),
            words=words,
            warning=True,
        )
    )


def _check_keeper(source_id: int) -> None:
    if not may_keep(current_principal(), source_id):
        raise KeysNotYours("The service's owners, analysts and administrators keep its keys.")


@blueprint.route("/services/<int:source_id>/keys/new", methods=["GET", "POST"])
@guarded(KEEPS_KEYS)
def new_key(source_id: int) -> Answer:
    """Issue a key and show it, once."""
    row = _source(source_id)
    _check_keeper(source_id)
    scopes = request.form.getlist("scopes") or [EVENTS_WRITE, MANIFESTS_WRITE]
    form = Form()
    if request.method == "POST":
        form, sent = read_form(KeyForm(), with_dates(request.form, "ends_on"))
        form = keeping_dates(form, request.form, "ends_on")
        if sent is not None:
            try:
                with edge().database.transaction() as session:
                    issued = operations.issue_key(
                        session,
                        source_code=row.code,
                        label=sent["label"],
                        scopes=scopes,
                        expires_at=None
                        if sent["ends_on"] is None
                        else london_midnight(sent["ends_on"]),
                        created_by=current_principal().id,
                        now=edge().clock(),
                    )
                return _issued_page(row, issued, replaces=None)
            except Refusal as refusal:
                form = form.with_error(refusal.detail, name="ends_on")
    shown = render_template(
        "console/new_key.html",
        service=row,
        form=form,
        crumbs=_crumbs(row),
        scopes=[(one, SCOPE_WORDS[one], one in scopes) for one in SCOPES],
    )
    return (shown, 422) if form.errors else shown


def _issued_page(row: SourceRow, issued: IssuedKey, *, replaces: ServiceKeyRow | None) -> str:
    return render_template(
        "console/issued_key.html",
        service=row,
        issued=issued,
        replaces=replaces,
        crumbs=_crumbs(row),
    )


def _own_key(session: Session, source_id: int, key_id: str) -> ServiceKeyRow:
    """Return a key of the service.

    Raises:
        KeyUnknown: it is none of this service's.
    """
    key = key_by_id(session, key_id=key_id)
    if key.source_id != source_id:
        raise KeyUnknown(f"The service has no key '{key_id}'.")
    return key


@blueprint.post("/services/<int:source_id>/keys/<key_id>/rotate")
@guarded(KEEPS_KEYS)
def rotate_key(source_id: int, key_id: str) -> str:
    """Issue a key like another and show it, once; the other works until it is revoked."""
    row = _source(source_id)
    _check_keeper(source_id)
    with edge().database.transaction() as session:
        old = _own_key(session, source_id, key_id)
        issued = operations.issue_key(
            session,
            source_code=row.code,
            label=old.label,
            scopes=old.scopes,
            created_by=current_principal().id,
            now=edge().clock(),
        )
    return _issued_page(row, issued, replaces=old)


@blueprint.post("/services/<int:source_id>/keys/<key_id>/revoke")
@guarded(KEEPS_KEYS)
def revoke_key(source_id: int, key_id: str) -> Response:
    """Revoke a key from now on."""
    _source(source_id)
    _check_keeper(source_id)
    with edge().database.transaction() as session:
        key = _own_key(session, source_id, key_id)
        operations.revoke_key(
            session, key_id=key.id, principal=current_principal().id, now=edge().clock()
        )
    flash(f"The key “{key.label}” is revoked and no longer works.", "success")
    return go(url_for("console.service", source_id=source_id))


@blueprint.route("/services/<int:source_id>/meters/new", methods=["GET", "POST"])
@guarded(REGISTERS)
def new_meter(source_id: int) -> Answer:
    """Register a meter: what is counted of a service's events."""
    row = _source(source_id)
    form = Form({"resolution": "day", "aggregation": "sum"})
    if request.method == "POST":
        form, sent = read_form(MeterForm(), request.form)
        if sent is not None:
            try:
                with edge().database.transaction() as session:
                    meters.register(
                        session,
                        source_code=row.code,
                        code=sent["code"],
                        name=sent["name"],
                        event_type=sent["event_type"],
                        aggregation=sent["aggregation"],
                        quantity_field=sent["quantity_field"] or None,
                        unit=sent["unit"],
                        dimensions=read_dimensions(sent["dimensions"]),
                        resolution=sent["resolution"],
                        now=edge().clock(),
                    )
                    _note(session, "register meter", row.code, {"meter": sent["code"]})
                flash("The meter is registered. It counts events from now on.", "success")
                return go(url_for("console.service", source_id=source_id))
            except Refusal as refusal:
                form = _meter_faults(form, refusal)
    inputs = (
        Input("name", "Name", hint="As people read it, for example Studies archived"),
        Input("code", "Code", hint="Lower-case words with hyphens, unique over all services"),
        Input("event_type", "Event type", hint="The type of the events that it reads"),
        Input(
            "aggregation",
            "How it counts",
            "choice",
            options=[(one, AGGREGATION_WORDS[one]) for one in AGGREGATIONS],
        ),
        Input(
            "quantity_field", "Field of data that it measures", hint="Empty for a count", width="20"
        ),
        Input("unit", "Unit, in the singular", width="10"),
        Input(
            "dimensions",
            "Split by",
            "lines",
            hint="One dimension a line with its values, for example modality: CT, MR, US. "
            "Without values any text passes",
        ),
        Input(
            "resolution",
            "Kept by",
            "choice",
            options=[("day", "Day"), ("hour", "Hour, for prices with time-of-day bands")],
        ),
    )
    words = (
        "What a meter counts cannot be changed later, and it counts only what arrives from now on."
    )
    return _show(
        FormPage(
            "Register a meter",
            form,
            inputs,
            "Register it",
            _crumbs(row),
            caption=row.name,
            words=words,
        )
    )


def _meter_faults(form: Form, refusal: Refusal) -> Form:
    found = {
        fault.pointer.strip("/").split("/")[0] or "code": fault.detail for fault in refusal.errors
    }
    return Form(form.values, {**form.errors, **(found or {"code": refusal.detail})})


def read_dimensions(lines: str) -> dict[str, dict[str, Any]]:
    """Read dimensions as people write them, one a line: `modality: CT, MR`.

    >>> read_dimensions("modality: CT, MR")
    {'modality': {'label': 'Modality', 'values': ['CT', 'MR']}}
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines.splitlines():
        name, _, values = line.partition(":")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if name.strip():
            label = name.strip().replace("_", " ").replace("-", " ").capitalize()
            found[name.strip()] = {"label": label, "values": listed or None}
    return found
