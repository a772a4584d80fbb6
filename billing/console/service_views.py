"""Hosted services: health, keys, meters, refused events, and how to post.

A service owner has these pages of the services they own, and no others.
"""

from dataclasses import replace
from uuid import UUID

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal, permitted
from billing.access.model import Grant, Permission, Principal, Role
from billing.console import quarantine_queries
from billing.console import service_queries as queries
from billing.console.blueprint import blueprint
from billing.console.context import console
from billing.console.overview_queries import source_names
from billing.console.people import names_of
from billing.console.quarantine_pages import (
    PAGE_SIZE,
    REFUSED,
    reason_words,
    reasons_sheet,
    refused_listing,
    refused_page,
)
from billing.console.quarantine_views import (
    STATES,
    read_filter,
    read_refused_order,
    refused_file,
)
from billing.console.service_examples import examples
from billing.console.service_pages import keys_sheet, meters_sheet, service_page, services_sheet
from billing.forms import Form
from metering.events import queries as events
from metering.events.queries import QuarantinedEventUnknown
from metering.kit.guards import guarded
from metering.kit.ids import uuid7
from metering.kit.web import edge
from metering.meters.queries import every as meters_of
from metering.meters.queries import meter_of
from metering.periods import london_day
from metering.sources.queries import SourceUnknown, keys_of
from metering.sources.tables import SourceRow

SEES_SERVICES = permitted(Permission.SEE_SOURCE)


def may_keep(principal: Principal, source_id: int) -> bool:
    """Return whether a principal issues and revokes the keys of a service."""
    return (
        principal.may(Permission.PREPARE)
        or principal.may(Permission.ADMINISTER)
        or Grant(Role.SERVICE_OWNER, source_id=source_id) in principal.grants
    )


def seen_source(session: Session, source_id: int) -> SourceRow:
    """Return a service that whoever is signed in may see.

    Raises:
        SourceUnknown: there is none, or it is another owner's.
    """
    if not current_principal().may(Permission.SEE_SOURCE, source_id=source_id):
        raise SourceUnknown("There is no such service.")
    return queries.source(session, source_id=source_id)


@blueprint.get("/services")
@guarded(SEES_SERVICES)
def services() -> Response | str:
    """List the hosted services: all, or those that one owns."""
    principal = current_principal()
    only = None if principal.may(Permission.SEE_EVERYTHING) else principal.source_ids
    with edge().database.snapshot() as session:
        found = queries.services(session, now=edge().clock(), source_ids=only)
    sheet = services_sheet()
    return render_template(
        "console/services.html",
        listing=sheet.listing(found),
        may_register=principal.may(Permission.PREPARE) or principal.may(Permission.ADMINISTER),
    )


@blueprint.get("/services/<int:source_id>")
@guarded(SEES_SERVICES)
def service(source_id: int) -> Response | str:
    """Show one service: whether it is heard, what is refused, its keys and meters."""
    now = edge().clock()
    with edge().database.snapshot() as session:
        row = seen_source(session, source_id)
        health = events.health(session, source_id=source_id, now=now)
        days = queries.received_by_day(session, source_id=source_id, now=now)
        reasons = quarantine_queries.reasons(session, source_id=source_id)
        keys = keys_of(session, source_id=source_id)
        meters = meters_of(session, source_id=source_id)
        names = names_of(session, principals=[key.created_by for key in keys])
        tariff = queries.tariff_code(session, source_id=source_id)
    principal = current_principal()
    registers = principal.may(Permission.PREPARE) or principal.may(Permission.ADMINISTER)
    sheet = meters_sheet(may_change=registers and row.closed_at is None)
    keeps = may_keep(principal, source_id) and row.closed_at is None
    page = service_page(
        row,
        health=health,
        days=days,
        reasons=reasons_sheet(
            lambda one: url_for("console.service_refused", source_id=source_id, reason=one.code),
            with_service=False,
        ).listing(reasons),
        keys=keys_sheet(names, now=now, may_keep=keeps).listing(keys),
        meters=sheet.listing(meters),
        tariff=tariff,
        now=now,
    )
    return render_template(
        "console/service.html",
        page=page,
        may_keep=keeps,
        may_register=registers,
    )


@blueprint.get("/services/<int:source_id>/refused")
@guarded(SEES_SERVICES)
def service_refused(source_id: int) -> Response | str:
    """List the refused events of one service, with the reasons."""
    wanted = read_filter(source_id)
    asked = read_refused_order()
    with edge().database.snapshot() as session:
        row = seen_source(session, source_id)
        if request.args.get("download") == REFUSED:
            return refused_file(session, wanted, asked)
        total = quarantine_queries.count(session, wanted=wanted)
        asked = replace(asked, page=max(1, min(asked.page, -(-total // PAGE_SIZE))))
        rows = quarantine_queries.refused(
            session,
            wanted=wanted,
            sort=asked.sort,
            descending=asked.direction == "descending",
            limit=PAGE_SIZE,
            offset=(asked.page - 1) * PAGE_SIZE,
        )
        sources = source_names(session)
        codes = quarantine_queries.codes(session, source_id=source_id)
    form = Form({"reason": wanted.code, "state": wanted.status or "all"})
    listing = refused_listing(
        rows,
        sources=sources,
        hrefs=[
            url_for("console.service_refused_event", source_id=source_id, event_id=row.id)
            for row in rows
        ],
        total=total,
        asked=asked,
        path=url_for("console.service_refused", source_id=source_id),
        query=dict(form.values),
        with_service=False,
    )
    return render_template(
        "console/service_refused.html",
        service=row,
        listing=listing,
        form=form,
        codes=[("", "All"), *((code, reason_words(code)) for code in codes)],
        states=STATES,
        is_filtered=bool(wanted.code or wanted.status != "open"),
    )


@blueprint.get("/services/<int:source_id>/refused/<uuid:event_id>")
@guarded(SEES_SERVICES)
def service_refused_event(source_id: int, event_id: UUID) -> str:
    """Show one refused event of a service."""
    with edge().database.snapshot() as session:
        source = seen_source(session, source_id)
        row = events.quarantined(session, event_id=event_id)
        if row.source_id != source_id:
            raise QuarantinedEventUnknown("No refused event is kept under that id.")
        names = names_of(session, principals=[row.resolved_by])
    page = refused_page(row, source=source.name, names=names)
    return render_template("console/refused_event.html", page=page, form=Form(), own=source)


@blueprint.get("/services/<int:source_id>/posting")
@guarded(SEES_SERVICES)
def posting(source_id: int) -> str:
    """Show how the service posts usage, with examples that work as they are."""
    now = edge().clock()
    with edge().database.snapshot() as session:
        row = seen_source(session, source_id)
        meters = tuple(meter_of(one) for one in meters_of(session, source_id=source_id))
        organisation = queries.example_organisation(session, today=london_day(now))
    address = (console().settings.public_url or request.host_url).rstrip("/")
    shown = None
    if meters:
        shown = examples(
            address=address,
            source=row.code,
            meters=meters,
            organisation=organisation,
            event_id=str(uuid7(now=now)),
            now=now,
        )
    return render_template("console/posting.html", service=row, examples=shown, address=address)
