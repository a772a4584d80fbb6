"""POST /api/v1/events: the hot path. Parse, hand over, answer."""

import msgspec
from flask import Blueprint, Response, current_app, g, request

from metering.events.decoding import BODY_BYTES_MAX, decode, decompress
from metering.events.ingest import Ingest
from metering.kit.auth import read_bearer
from metering.kit.guards import Guard, guarded
from metering.kit.idempotency import HEADER, Answer, once
from metering.kit.web import edge
from metering.sources.guards import count_request
from metering.sources.model import EVENTS_WRITE

INGEST = "paygo_ingest"

blueprint = Blueprint("ingest", __name__)


def ingest() -> Ingest:
    """Return the way in for events of the application in hand."""
    found = current_app.extensions[INGEST]
    assert isinstance(found, Ingest)
    return found


def _check_key() -> None:
    """Let a valid key pass, by the remembered catalogue; storing the events checks it again."""
    key = read_bearer(request.headers.get("Authorization"))
    principal = ingest().catalogue.authenticate(key, now=edge().clock())
    g.source_principal = principal
    count_request(principal.prefix)


@blueprint.post("/api/v1/events")
@guarded(Guard(f"key({EVENTS_WRITE})", _check_key, csrf=False))
def post_events() -> Response:
    """Take usage events; see the OpenAPI document for the wire format."""
    request.max_content_length = BODY_BYTES_MAX
    sent = request.get_data(cache=False)
    now = edge().clock()
    key = read_bearer(request.headers.get("Authorization"))

    def accept() -> Answer:
        body = decompress(sent, request.headers.get("Content-Encoding"))
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name[:3].lower() == "ce-"
        }
        decoded = decode(body, media_type=request.mimetype, headers=headers)
        receipt = ingest().accept(decoded, key=key, now=now)
        ingest().note_use(g.source_principal.key_id, now=now)
        minimal = "return=minimal" in request.headers.get("Prefer", "").replace(" ", "").lower()
        if minimal and not receipt.fates:
            return Answer(204, None)
        return Answer(200, receipt.to_json())

    answer = once(
        edge().database,
        scope=f"events:{key.prefix if key else ''}",
        key=request.headers.get(HEADER),
        request=(request.content_type or "").encode() + b"\n" + sent,
        now=now,
        work=accept,
    )
    if answer.body is None:
        return Response(status=answer.status, headers={"Preference-Applied": "return=minimal"})
    return Response(
        msgspec.json.encode(answer.body), status=answer.status, content_type="application/json"
    )
