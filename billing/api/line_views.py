"""GET /api/v1/invoices/{number}/lines/{line}/events: what a line charges, event by event."""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import g, request
from flask_smorest import Blueprint

from billing.access.guards import SIGNED_IN, current_principal, scope_of
from billing.access.model import Permission
from billing.api.schemas import LineEventsQuery
from billing.invoices.line_events import line_events
from billing.invoices.queries import InvoiceUnknown, by_number
from metering.kit.api import answers, get, query_arguments
from metering.kit.guards import Guard, guard_blueprint
from metering.kit.paging import read_cursor, write_cursor
from metering.kit.web import edge
from metering.reports.schemas import EVENTS_EXAMPLE, StoredEventsSchema
from metering.reports.views import event_shown
from metering.sources.guards import current_source, key_guard
from metering.sources.model import USAGE_READ

_KEY = key_guard(USAGE_READ)


def _check() -> None:
    g.asked_by_key = "Authorization" in request.headers
    if g.asked_by_key:
        _KEY.check()
    else:
        SIGNED_IN.check()


blueprint = Blueprint(
    "invoice_lines", __name__, url_prefix="/api/v1", description="What an invoice charges."
)
guard_blueprint(blueprint, Guard("signed_in, or key(usage:read)", _check, csrf=False))


@get(blueprint, "/invoices/<number>/lines/<int:line>/events")
@query_arguments(blueprint, LineEventsQuery())
@answers(blueprint, StoredEventsSchema(), example=EVENTS_EXAMPLE)
def get_line_events(arguments: dict[str, Any], number: str, line: int) -> Any:
    """The usage events that one line of an issued invoice charges

    In order of time, as far as they had come when the invoice was drafted. For whoever may see
    the account; a key sees what its own source sent. `GET /api/v1/events?invoice=…&line=…`
    asks the same.
    """
    source_id = current_source().source_id if g.asked_by_key else None
    scope = None if g.asked_by_key else scope_of(current_principal())
    with edge().database.snapshot(scope=scope) as session:
        invoice = by_number(session, number=number)
        if not g.asked_by_key and not current_principal().may(
            Permission.SEE_ACCOUNT, account_id=invoice.account_id
        ):
            raise InvoiceUnknown(f"There is no invoice {number}.")
        rows = line_events(
            session,
            invoice=invoice,
            number=line,
            source_id=source_id,
            after=read_cursor(arguments.get("after"), datetime.fromisoformat, UUID, int, int),
            limit=arguments["limit"] + 1,
        )
    page = rows[: arguments["limit"]]
    return {
        "events": [event_shown(row) for row in page],
        "next": write_cursor(page[-1].cursor) if len(rows) > len(page) else None,
    }
