"""Forms about a service's keys: issue, rotate with an overlap, revoke."""

from datetime import date, datetime, timedelta
from typing import Any

from flask import Response, render_template, request
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy.orm import Session

from billing.access.guards import current_principal, permitted
from billing.access.model import Permission
from billing.console.blueprint import blueprint
from billing.console.forms import FormPage, Input, day, show, submit, text
from billing.console.service_forms import crumbs, done, source_seen
from billing.console.service_pages import SCOPE_WORDS, moment
from billing.console.service_views import may_keep
from billing.forms import Form
from metering.kit.errors import Forbidden
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_midnight
from metering.sources import operations
from metering.sources.model import EVENTS_WRITE, MANIFESTS_WRITE, SCOPES, IssuedKey, RotatedKey
from metering.sources.queries import KeyUnknown, key_by_id
from metering.sources.tables import ServiceKeyRow, SourceRow

Answer = Response | str | tuple[str, int]

KEEPS_KEYS = permitted(Permission.SEE_SOURCE)
# How long both keys work, so that a service changes over without a gap.
_OVERLAPS = {
    "hour": ("One hour", timedelta(hours=1)),
    "day": ("One day", timedelta(days=1)),
    "week": ("One week", timedelta(days=7)),
    "month": ("30 days", timedelta(days=30)),
}
_UNTIL_DAY = "until"


class KeysNotYours(Forbidden):
    """Keys are issued and revoked by the service's owners, analysts and administrators."""

    code = "keys-not-yours"
    title = "You cannot change the keys of this service"


class KeyForm(Schema):
    """A new key."""

    label = text("Enter where the key will live", longest=100)
    ends_on = day("", required=False)


class RotateForm(Schema):
    """How long the old key goes on."""

    overlap = fields.String(
        load_default="week",
        validate=validate.OneOf([*_OVERLAPS, _UNTIL_DAY], error="Choose how long both keys work"),
    )
    ends_on = day("", required=False)

    @validates_schema
    def _check_day(self, sent: dict[str, Any], **_: Any) -> None:
        if sent.get("overlap") == _UNTIL_DAY and sent.get("ends_on") is None:
            raise ValidationError("Enter the day on which the old key ends", "ends_on")


def _check_keeper(source_id: int) -> None:
    if not may_keep(current_principal(), source_id):
        raise KeysNotYours("The service's owners, analysts and administrators keep its keys.")


@blueprint.route("/services/<int:source_id>/keys/new", methods=["GET", "POST"])
@guarded(KEEPS_KEYS)
def new_key(source_id: int) -> Answer:
    """Issue a key and show it, once."""
    row = source_seen(source_id)
    _check_keeper(source_id)
    scopes = request.form.getlist("scopes") or [EVENTS_WRITE, MANIFESTS_WRITE]

    def act(session: Session, sent: dict[str, Any]) -> IssuedKey:
        return operations.issue_key(
            session,
            source_code=row.code,
            label=sent["label"],
            scopes=scopes,
            expires_at=_midnight(sent["ends_on"]),
            created_by=current_principal().id,
            now=edge().clock(),
        )

    form, issued = submit(KeyForm(), act, dates=("ends_on",), field_name="ends_on")
    if issued is not None:
        return _issued_page(row, issued)
    shown = render_template(
        "console/new_key.html",
        service=row,
        form=form,
        crumbs=crumbs(row),
        scopes=[(one, SCOPE_WORDS[one], one in scopes) for one in SCOPES],
    )
    return (shown, 422) if form.errors else shown


def _midnight(on: date | None) -> datetime | None:
    return None if on is None else london_midnight(on)


def _issued_page(
    row: SourceRow, issued: IssuedKey, *, replaces: ServiceKeyRow | None = None
) -> str:
    return render_template(
        "console/issued_key.html",
        service=row,
        issued=issued,
        replaces=replaces,
        ends="" if replaces is None else moment(replaces.expires_at),
        crumbs=crumbs(row),
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


@blueprint.route("/services/<int:source_id>/keys/<key_id>/rotate", methods=["GET", "POST"])
@guarded(KEEPS_KEYS)
def rotate_key(source_id: int, key_id: str) -> Answer:
    """Issue a key in place of another and show it, once; the other ends by itself."""
    row = source_seen(source_id)
    _check_keeper(source_id)
    with edge().database.snapshot() as session:
        old = _own_key(session, source_id, key_id)

    def act(session: Session, sent: dict[str, Any]) -> RotatedKey:
        now, chosen = edge().clock(), sent["overlap"]
        return operations.rotate_key(
            session,
            key_id=key_id,
            ends_at=(_midnight(sent["ends_on"]) or now)
            if chosen == _UNTIL_DAY
            else now + _OVERLAPS[chosen][1],
            principal=current_principal().id,
            now=now,
        )

    start = Form({"overlap": "week"})
    form, made = submit(RotateForm(), act, start=start, dates=("ends_on",), field_name="ends_on")
    if made is not None:
        with edge().database.snapshot() as session:
            return _issued_page(row, made.issued, replaces=_own_key(session, source_id, key_id))
    options = [(name, words) for name, (words, _) in _OVERLAPS.items()]
    return show(
        FormPage(
            f"Rotate the key “{old.label}”",
            form,
            (
                Input(
                    "overlap",
                    "How long the old key still works",
                    "choice",
                    options=[*options, (_UNTIL_DAY, "Until a day that I choose")],
                ),
                Input(
                    "ends_on",
                    "First day on which it no longer works",
                    "date",
                    hint="Only if you choose a day",
                ),
            ),
            "Issue the new key",
            crumbs(row),
            caption=row.name,
            words="The new key may do what the old one may. Both work until the old one ends by "
            "itself, so that the service changes over without a gap.",
        )
    )


@blueprint.post("/services/<int:source_id>/keys/<key_id>/revoke")
@guarded(KEEPS_KEYS)
def revoke_key(source_id: int, key_id: str) -> Response:
    """Revoke a key from now on."""
    source_seen(source_id)
    _check_keeper(source_id)
    with edge().database.transaction() as session:
        key = _own_key(session, source_id, key_id)
        operations.revoke_key(
            session, key_id=key.id, principal=current_principal().id, now=edge().clock()
        )
    return done(source_id, f"The key “{key.label}” is revoked and no longer works.")
