"""What a source may ask about its own events: the stored, the refused, the declared."""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import request
from flask_smorest import Blueprint

from metering.events import queries
from metering.events.model import USAGE
from metering.kit.api import answers, get, json_arguments, post, query_arguments
from metering.kit.errors import Forbidden
from metering.kit.guards import guard_blueprint, guarded
from metering.kit.idempotency import HEADER, Answer, once
from metering.kit.paging import read_cursor, write_cursor
from metering.kit.web import edge
from metering.meters.queries import MeterUnknown
from metering.meters.queries import every as every_meter
from metering.organisations.queries import by_ods_code
from metering.periods import Month
from metering.readings.schemas import span_of
from metering.readings.stored import StoredEvent, events_of
from metering.readings.views import plain
from metering.reports import manifests
from metering.reports.manifests import ManifestReport
from metering.reports.schemas import (
    EVENTS_EXAMPLE,
    HEALTH_EXAMPLE,
    MANIFEST_IN_EXAMPLE,
    MANIFEST_OUT_EXAMPLE,
    QUARANTINE_EXAMPLE,
    EventsQuerySchema,
    HealthSchema,
    ManifestInSchema,
    ManifestOutSchema,
    ManifestsQuerySchema,
    ManifestsSchema,
    QuarantineQuerySchema,
    QuarantineSchema,
    StoredEventsSchema,
)
from metering.sources.guards import current_source, key_guard
from metering.sources.model import EVENTS_WRITE, MANIFESTS_WRITE

blueprint = Blueprint(
    "source", __name__, url_prefix="/api/v1", description="A source's own events and counts."
)
guard_blueprint(blueprint, key_guard(EVENTS_WRITE))


class NotYourSource(Forbidden):
    """A key speaks for one source only."""

    code = "not-your-source"
    title = "The key belongs to another source"


@get(blueprint, "/events")
@query_arguments(blueprint, EventsQuerySchema())
@answers(blueprint, StoredEventsSchema(), example=EVENTS_EXAMPLE)
def get_events(arguments: dict[str, Any]) -> Any:
    """Stored events of this key's source, by the time at which they happened"""
    first_on, end_on = span_of(arguments)
    source_id = current_source().source_id
    with edge().database.snapshot() as session:
        mine = {row.code: row.id for row in every_meter(session, source_id=source_id)}
        unknown = [code for code in arguments.get("meter", ()) if code not in mine]
        if unknown:
            raise MeterUnknown(f"No meter of yours has the code '{unknown[0]}'.")
        subjects = [
            by_ods_code(session, ods_code=code).id for code in arguments.get("organisation", ())
        ]
        rows = events_of(
            session,
            first_on=first_on,
            end_on=end_on,
            source_id=source_id,
            subject_ids=subjects or None,
            meter_ids=[mine[code] for code in arguments.get("meter", ())] or None,
            after=read_cursor(arguments.get("after"), datetime.fromisoformat, UUID, int, int),
            limit=arguments["limit"] + 1,
        )
    page = rows[: arguments["limit"]]
    return {
        "events": [event_shown(row) for row in page],
        "next": write_cursor(page[-1].cursor) if len(rows) > len(page) else None,
    }


def event_shown(event: StoredEvent) -> dict[str, Any]:
    """Return a stored event as the API shows it."""
    return {
        "id": event.event_id,
        "kind": "usage" if event.kind == USAGE else "withdrawal",
        "organisation": event.ods_code,
        "meter": event.meter,
        "dimensions": dict(event.dimensions),
        "quantity": plain(event.quantity),
        "occurred_at": event.occurred_at.isoformat(),
        "received_at": event.received_at.isoformat(),
        "detail": event.detail,
    }


@get(blueprint, "/sources/me/health")
@answers(blueprint, HealthSchema(), example=HEALTH_EXAMPLE)
def get_health() -> Any:
    """How this key's source is doing"""
    source = current_source()
    with edge().database.snapshot() as session:
        found = queries.health(session, source_id=source.source_id, now=edge().clock())
    last, accepted = found.last_received_at, found.last_accepted_at
    return {
        "source": source.source_code,
        "last_received_at": None if last is None else last.isoformat(),
        "last_accepted_at": None if accepted is None else accepted.isoformat(),
        "last_24_hours": {
            "received": found.received,
            "accepted": found.accepted,
            "duplicate": found.duplicate,
            "conflict": found.conflict,
            "rejected": found.rejected,
        },
        "waiting": found.waiting,
        "lag_seconds": round(found.lag.total_seconds()),
        "quarantined": found.quarantined,
    }


@get(blueprint, "/quarantine")
@query_arguments(blueprint, QuarantineQuerySchema())
@answers(blueprint, QuarantineSchema(), example=QUARANTINE_EXAMPLE)
def get_quarantine(arguments: dict[str, Any]) -> Any:
    """Refused and conflicting events of this key's source, with the reasons"""
    source_id = current_source().source_id
    with edge().database.snapshot() as session:
        rows = queries.quarantine(
            session,
            source_id=source_id,
            status=arguments["status"],
            code=arguments.get("code"),
            after=read_cursor(arguments.get("after"), datetime.fromisoformat, UUID),
            limit=arguments["limit"] + 1,
        )
        reasons = queries.quarantine_reasons(session, source_id=source_id)
    page = rows[: arguments["limit"]]
    return {
        "events": [
            {
                "key": str(row.id),
                "id": row.event_id,
                "fate": row.fate,
                "code": row.code,
                "pointer": row.pointer,
                "detail": row.detail,
                "received_at": row.received_at.isoformat(),
                "status": row.status,
                "event": row.body,
            }
            for row in page
        ],
        "reasons": reasons,
        "next": (
            write_cursor((page[-1].received_at, page[-1].id)) if len(rows) > len(page) else None
        ),
    }


@post(blueprint, "/manifests")
@guarded(key_guard(MANIFESTS_WRITE))
@json_arguments(blueprint, ManifestInSchema(), example=MANIFEST_IN_EXAMPLE)
@answers(blueprint, ManifestOutSchema(), example=MANIFEST_OUT_EXAMPLE)
def post_manifest(arguments: dict[str, Any]) -> Any:
    """Declare a span's own count and sum, and see what was received

    The latest declaration of the same span, meter and organisation counts.
    """
    source = current_source()
    if arguments.get("source", source.source_code) != source.source_code:
        raise NotYourSource(f"This key speaks for {source.source_code} only.")
    first_on, end_on = span_of(arguments)
    now = edge().clock()

    def declare() -> Answer:
        with edge().database.transaction() as session:
            report = manifests.declare(
                session,
                source_id=source.source_id,
                meter_code=arguments["meter"],
                first_on=first_on,
                end_on=end_on,
                count=arguments["count"],
                quantity=arguments["quantity"],
                organisation=arguments.get("organisation"),
                now=now,
            )
        return Answer(200, manifest_json(report))

    return once(
        edge().database,
        scope=f"manifests:{source.prefix}",
        key=request.headers.get(HEADER),
        request=request.get_data(),
        now=now,
        work=declare,
    ).body


@get(blueprint, "/manifests")
@guarded(key_guard(MANIFESTS_WRITE))
@query_arguments(blueprint, ManifestsQuerySchema())
@answers(blueprint, ManifestsSchema(), example={"manifests": [MANIFEST_OUT_EXAMPLE]})
def get_manifests(arguments: dict[str, Any]) -> Any:
    """This source's declarations of a month beside what was received"""
    month = Month.parse(arguments["month"])
    with edge().database.snapshot() as session:
        rows = manifests.latest(session, source_id=current_source().source_id, month=month)
        reports = manifests.report(session, rows=rows)
    return {"manifests": [manifest_json(report) for report in reports]}


def manifest_json(report: ManifestReport) -> dict[str, Any]:
    """Return a report as the schema dumps it."""
    return {
        "source": report.source,
        "meter": report.meter,
        "organisation": report.organisation,
        "first_on": report.first_on.isoformat(),
        "end_on": report.end_on.isoformat(),
        "declared": {"count": report.declared_count, "sum": plain(report.declared_quantity)},
        "received": {"count": report.received_count, "sum": plain(report.received_quantity)},
        "missing": {"count": report.missing_count, "sum": plain(report.missing_quantity)},
        "duplicated": report.duplicate,
        "rejected": report.rejected,
        "agrees": report.agrees,
    }
