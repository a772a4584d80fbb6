"""POST /api/v1/events in the map of routes; the gate before Flask answers it."""

from typing import TYPE_CHECKING

from flask import Blueprint, current_app, request

from metering.events.gate import PATH, Gate
from metering.events.ingest import Ingest
from metering.kit.auth import read_bearer
from metering.kit.guards import Guard, guarded
from metering.kit.web import edge
from metering.sources.model import EVENTS_WRITE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

INGEST = "paygo_ingest"
GATE = "paygo_gate"

blueprint = Blueprint("ingest", __name__)


def ingest() -> Ingest:
    """Return the way in for events of the application in hand."""
    found = current_app.extensions[INGEST]
    assert isinstance(found, Ingest)
    return found


def _check_key() -> None:
    """Let a valid key pass, by the remembered catalogue, as the gate does."""
    key = read_bearer(request.headers.get("Authorization"))
    ingest().catalogue.authenticate(key, now=edge().clock())


@blueprint.post(PATH)
@guarded(Guard(f"key({EVENTS_WRITE})", _check_key, csrf=False))
def post_events() -> "WSGIApplication":
    """Take usage events; see the OpenAPI document for the wire format.

    A spelling of the path that only Flask reads as this one comes here.
    """
    gate = current_app.extensions[GATE]
    assert isinstance(gate, Gate)
    return gate.answer
