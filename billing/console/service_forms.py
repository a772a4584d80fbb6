"""Forms that change services: register one, change its particulars, close it."""

from typing import Any

from flask import Response, flash, request, url_for
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.access.guards import current_principal, roles
from billing.access.model import Role
from billing.console.blueprint import blueprint
from billing.console.forms import FormPage, Input, optional_text, show, submit, text
from billing.console.service_pages import POLICY_WORDS
from billing.console.service_views import seen_source
from billing.forms import Form
from billing.web import go
from metering.kit import audit
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.sources import operations
from metering.sources.operations import MANIFEST_POLICIES
from metering.sources.tables import SourceRow

Answer = Response | str | tuple[str, int]

REGISTERS = roles(Role.ANALYST, Role.ADMINISTRATOR)


class ServiceForm(Schema):
    """A hosted service's particulars."""

    code = text("Enter a code", longest=100)
    name = text("Enter the service's name")
    contact_email = optional_text()
    manifest_policy = fields.String(
        load_default="warn",
        validate=validate.OneOf(MANIFEST_POLICIES, error="Choose what a difference does"),
    )


def crumbs(row: SourceRow | None = None) -> tuple[tuple[str, str], ...]:
    """Return the way from the list of services to a page under one of them."""
    first = (("Services", url_for("console.services")),)
    if row is None:
        return first
    return (*first, (row.name, url_for("console.service", source_id=row.id)))


def source_seen(source_id: int) -> SourceRow:
    """Return a service that whoever is signed in may see.

    Raises:
        SourceUnknown: there is none, or it is another owner's.
    """
    with edge().database.snapshot() as session:
        return seen_source(session, source_id)


def note(session: Session, action: str, code: str, facts: dict[str, Any]) -> None:
    """Record in the audit trail what was done about a service."""
    audit.record(
        session,
        now=edge().clock(),
        principal=current_principal().id,
        action=action,
        object_kind="source",
        object_id=code,
        facts=facts,
    )


def done(source_id: int, words: str) -> Response:
    """Say what was done, on the service's page."""
    flash(words, "success")
    return go(url_for("console.service", source_id=source_id))


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

    def act(session: Session, sent: dict[str, Any]) -> SourceRow:
        row = operations.register(
            session,
            code=sent["code"],
            name=sent["name"],
            contact_email=sent["contact_email"] or None,
            manifest_policy=sent["manifest_policy"],
            now=edge().clock(),
        )
        note(session, "register source", row.code, {"name": row.name})
        return row

    start = Form({"manifest_policy": "warn"})
    form, made = submit(ServiceForm(), act, start=start, field_name="code")
    if made is not None:
        return done(made.id, "The service is registered. Register its meters and issue a key.")
    code = Input(
        "code", "Source", hint="What its events give as their source, for example imaging-archive"
    )
    return show(
        FormPage("Register a service", form, (code, *_PARTICULARS), "Register it", crumbs())
    )


@blueprint.route("/services/<int:source_id>/edit", methods=["GET", "POST"])
@guarded(REGISTERS)
def edit_service(source_id: int) -> Answer:
    """Change a service's particulars."""
    row = source_seen(source_id)

    def act(session: Session, sent: dict[str, Any]) -> SourceRow:
        note(session, "change source", row.code, {"policy": sent["manifest_policy"]})
        return operations.register(
            session,
            code=row.code,
            name=sent["name"],
            contact_email=sent["contact_email"] or None,
            manifest_policy=sent["manifest_policy"],
            now=edge().clock(),
        )

    start = Form(
        {
            "name": row.name,
            "contact_email": row.contact_email or "",
            "manifest_policy": row.manifest_policy,
        }
    )
    form, made = submit(ServiceForm(exclude=("code",)), act, start=start, field_name="name")
    if made is not None:
        return done(source_id, "The particulars are saved.")
    return show(
        FormPage("Change particulars", form, _PARTICULARS, "Save", crumbs(row), caption=row.name)
    )


@blueprint.route("/services/<int:source_id>/close", methods=["GET", "POST"])
@guarded(REGISTERS)
def close_service(source_id: int) -> Answer:
    """Stop taking events from a service, after asking once more."""
    row = source_seen(source_id)
    if request.method == "POST":
        with edge().database.transaction() as session:
            operations.close(
                session, code=row.code, principal=current_principal().id, now=edge().clock()
            )
        return done(source_id, "The service is closed. What it sent stays.")
    words = (
        "Its keys stop working at once and its events are refused. What it sent stays, and is "
        "invoiced."
    )
    return show(
        FormPage(
            f"Close {row.name}",
            Form(),
            (),
            "Close the service",
            crumbs(row),
            words=words,
            warning=True,
        )
    )
