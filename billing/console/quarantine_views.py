"""Quarantine: refused events with their reasons, replayed once mended, or dismissed."""

from dataclasses import replace
from uuid import UUID

from flask import Response, flash, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.access.model import Permission
from billing.console import quarantine_queries as queries
from billing.console.blueprint import PREPARES, blueprint
from billing.console.overview_queries import source_names
from billing.console.people import names_of
from billing.console.quarantine_pages import (
    HEADER,
    PAGE_SIZE,
    REFUSED,
    reason_words,
    reasons_sheet,
    refused_listing,
    refused_page,
    sheet_row,
)
from billing.console.quarantine_queries import Filter
from billing.documents.words import plural
from billing.forms import Form, read_text
from billing.listing import Asked, read_asked
from billing.sheets import sheet_response
from billing.web import go
from metering.events import operations, replay
from metering.events.queries import QuarantinedEventUnknown, quarantined
from metering.events.replay import Replayed
from metering.events.views import ingest
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge

_DISMISSED_MOST = 100_000
STATES = (("open", "Open"), ("replayed", "Replayed"), ("dismissed", "Dismissed"), ("all", "All"))


def read_filter(source_id: int | None = None) -> Filter:
    """Return which refused events the address asks for."""
    source = request.args.get("service", "")
    if source_id is None and source.isascii() and source.isdigit():
        source_id = int(source)
    state = request.args.get("state", "open")
    known = {value for value, _ in STATES}
    return Filter(
        source_id=source_id,
        code=request.args.get("reason", "")[:100],
        status="" if state == "all" else state if state in known else "open",
    )


def read_refused_order() -> Asked:
    """Return the order and page of refused events that the address asks for."""
    return read_asked(request.args, keys=queries.SORT_KEYS, sort="received", direction="descending")


def refused_file(session: Session, wanted: Filter, asked: Asked) -> Response:
    """Return refused events as a file."""
    sources = source_names(session)
    rows = queries.every_refused(
        session, wanted=wanted, sort=asked.sort, descending=asked.direction == "descending"
    )
    return sheet_response(REFUSED, HEADER, (sheet_row(row, sources) for row in rows))


@blueprint.get("/quarantine")
def quarantine() -> Response | str:
    """List refused events, and the reasons of those that are open."""
    wanted = read_filter()
    asked = read_refused_order()
    with edge().database.snapshot() as session:
        if request.args.get("download") == REFUSED:
            return refused_file(session, wanted, asked)
        total = queries.count(session, wanted=wanted)
        asked = replace(asked, page=max(1, min(asked.page, -(-total // PAGE_SIZE))))
        rows = queries.refused(
            session,
            wanted=wanted,
            sort=asked.sort,
            descending=asked.direction == "descending",
            limit=PAGE_SIZE,
            offset=(asked.page - 1) * PAGE_SIZE,
        )
        sources = source_names(session)
        reasons = queries.reasons(session)
        codes = queries.codes(session)
    form = Form(
        {
            "service": "" if wanted.source_id is None else str(wanted.source_id),
            "reason": wanted.code,
            "state": wanted.status or "all",
        }
    )
    listing = refused_listing(
        rows,
        sources=sources,
        hrefs=[url_for("console.refused_event", event_id=row.id) for row in rows],
        total=total,
        asked=asked,
        path=url_for("console.quarantine"),
        query=dict(form.values),
        with_service=True,
    )
    return render_template(
        "console/quarantine.html",
        listing=listing,
        reasons=reasons_sheet(
            lambda one: url_for("console.quarantine", service=one.source_id, reason=one.code),
            with_service=True,
            may_act=current_principal().may(Permission.PREPARE),
        ).listing(reasons),
        form=form,
        services=[("", "All"), *((str(key), name) for key, name in sources.items())],
        codes=[("", "All"), *((code, reason_words(code)) for code in codes)],
        states=STATES,
        is_filtered=bool(wanted.source_id is not None or wanted.code or wanted.status != "open"),
    )


@blueprint.get("/quarantine/<uuid:event_id>")
def refused_event(event_id: UUID) -> str:
    """Show one refused event, whole."""
    return _event_page(event_id, Form())


def _event_page(event_id: UUID, form: Form) -> str:
    with edge().database.snapshot() as session:
        row = quarantined(session, event_id=event_id)
        sources = source_names(session)
        names = names_of(session, principals=[row.resolved_by])
    page = refused_page(row, source=sources[row.source_id], names=names)
    return render_template("console/refused_event.html", page=page, form=form, own=False)


def _said(done: Replayed) -> None:
    accepted = plural(done.accepted, "event")
    if done.refused or done.skipped:
        rest = done.refused + done.skipped
        flash(
            f"{accepted} {'was' if done.accepted == 1 else 'were'} accepted. "
            f"{plural(rest, 'event')} {'is' if rest == 1 else 'are'} still refused."
        )
    else:
        flash(f"{accepted} {'was' if done.accepted == 1 else 'were'} accepted.", "success")


@blueprint.post("/quarantine/<uuid:event_id>/replay")
@guarded(PREPARES)
def replay_event(event_id: UUID) -> Response | tuple[str, int]:
    """Judge one refused event again, as if it came now."""
    try:
        done = replay.replay(
            edge().database,
            ingest(),
            ids=[event_id],
            principal=current_principal().id,
            now=edge().clock(),
        )
    except Refusal as refusal:
        return _event_page(event_id, Form().with_error(refusal.detail)), 422
    _said(done)
    return go(url_for("console.refused_event", event_id=event_id))


@blueprint.post("/quarantine/replay")
@guarded(PREPARES)
def replay_reason() -> Response:
    """Judge all open events of a service and a reason again."""
    source = request.form.get("service", "")
    code = request.form.get("reason", "")
    if not code or not (source.isascii() and source.isdigit()):
        raise QuarantinedEventUnknown("Choose a service and a reason.")
    _said(
        replay.replay(
            edge().database,
            ingest(),
            source_id=int(source),
            code=code,
            principal=current_principal().id,
            now=edge().clock(),
        )
    )
    return go(url_for("console.quarantine"))


@blueprint.post("/quarantine/<uuid:event_id>/dismiss")
@guarded(PREPARES)
def dismiss_event(event_id: UUID) -> Response | tuple[str, int]:
    """Set one refused event aside for good, with the reason."""
    reason = read_text(request.form, "reason")
    form = Form({"reason": reason})
    if not reason:
        wrong = form.with_error("Enter why it is dismissed", name="reason")
        return _event_page(event_id, wrong), 422
    with edge().database.transaction() as session:
        operations.dismiss(
            session,
            ids=[quarantined(session, event_id=event_id).id],
            principal=current_principal().id,
            reason=reason,
            now=edge().clock(),
        )
    flash("The event is dismissed. It stays here, with who did it.", "success")
    return go(url_for("console.refused_event", event_id=event_id))


@blueprint.route("/quarantine/dismiss", methods=["GET", "POST"])
@guarded(PREPARES)
def dismiss_reason() -> Response | str | tuple[str, int]:
    """Dismiss all open events of a service and a reason, after asking once more."""
    source = request.values.get("service", "")
    code = request.values.get("reason", "")
    if not code or not (source.isascii() and source.isdigit()):
        raise QuarantinedEventUnknown("Choose a service and a reason.")
    wanted = Filter(source_id=int(source), code=code)
    form = Form({"why": read_text(request.form, "why")})
    if request.method == "POST":
        if form.value("why"):
            with edge().database.transaction() as session:
                rows = queries.refused(
                    session,
                    wanted=wanted,
                    limit=_DISMISSED_MOST,
                )
                count = operations.dismiss(
                    session,
                    ids=[row.id for row in rows],
                    principal=current_principal().id,
                    reason=form.value("why"),
                    now=edge().clock(),
                )
            flash(f"{plural(count, 'event')} dismissed. They stay in the list.", "success")
            return go(url_for("console.quarantine"))
        form = form.with_error("Enter why they are dismissed", name="why")
    with edge().database.snapshot() as session:
        count = queries.count(session, wanted=wanted)
        sources = source_names(session)
    shown = render_template(
        "console/dismiss.html",
        form=form,
        count=count,
        service=sources.get(int(source), ""),
        source=source,
        code=code,
        reason=reason_words(code),
    )
    return (shown, 422) if form.errors else shown
