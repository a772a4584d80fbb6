"""POST /api/v1/events in the OpenAPI document, written by hand: the hot path has no schema."""

import json
from typing import Any

from metering.events.decoding import BATCH_TYPE, EVENT_TYPE, JSON_TYPE, NDJSON_TYPE
from metering.kit.api import ProblemSchema
from metering.kit.problems import MEDIA_TYPE

EVENT_EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "018f5a2e-6b7c-7def-8123-456789abcdef",
    "source": "imaging-archive",
    "type": "study.archived",
    "subject": "RRK",
    "time": "2026-07-03T10:00:00+01:00",
    "data": {"studies": "1", "modality": "CT"},
}
WITHDRAWAL_EXAMPLE: dict[str, Any] = {
    **EVENT_EXAMPLE,
    "id": "018f5a2e-7000-7def-8123-456789abcdef",
    "type": "uk.paygo.withdrawal",
    "data": {"event": "018f5a2e-6b7c-7def-8123-456789abcdef", "reason": "sent by mistake"},
}
RECEIPT_EXAMPLE: dict[str, Any] = {
    "received": 3,
    "accepted": 1,
    "duplicate": 1,
    "conflict": 0,
    "rejected": 1,
    "events": [
        {
            "index": 1,
            "id": "018f5a2e-6b7c-7def-8123-456789abcdef",
            "fate": "duplicate",
            "pointer": "/1",
            "code": "duplicate",
            "detail": "This event was accepted before; it counts once.",
        },
        {
            "index": 2,
            "id": "018f5a2e-8000-7def-8123-456789abcdef",
            "fate": "rejected",
            "pointer": "/2/subject",
            "code": "subject-closed",
            "detail": "RVJ no longer existed at that time; its successor is RA7.",
        },
    ],
}
LINES_EXAMPLE = "".join(f"{json.dumps(each)}\n" for each in (EVENT_EXAMPLE, WITHDRAWAL_EXAMPLE))
_TEXT = {"type": "string"}
_ALLOWANCE = {
    name: {"schema": {"type": "integer"}, "description": description}
    for name, description in (
        ("RateLimit-Limit", "Requests a minute that this key may send."),
        ("RateLimit-Remaining", "Of those, how many it may send at once."),
        ("RateLimit-Reset", "Seconds until it may send all of them."),
    )
}
_LATER = {
    "Retry-After": {
        "schema": {"type": "integer"},
        "description": "Seconds to wait before the same is sent again.",
    }
}
_EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
    "additionalProperties": False,
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**_TEXT, "maxLength": 256, "description": "With the source, its identity for ever."},
        "source": {**_TEXT, "description": "The source's code; the key's own."},
        "type": {**_TEXT, "description": "An event type that a meter reads."},
        "subject": {**_TEXT, "description": "ODS code of the organisation that used it."},
        "time": {**_TEXT, "format": "date-time", "description": "When, with its offset."},
        "datacontenttype": _TEXT,
        "dataschema": _TEXT,
        "replaces": {**_TEXT, "description": "Id of an event that this one stands in for."},
        "withdraws": {**_TEXT, "description": "In a withdrawal: the same id as in its data."},
        "traceparent": _TEXT,
        "tracestate": _TEXT,
        "data": {
            "type": "object",
            "description": "Measured fields (decimal string or number) and dimensions (strings).",
            "additionalProperties": {"type": ["string", "number"]},
        },
    },
}
_FATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "id": {"type": ["string", "null"]},
        "fate": {"enum": ["duplicate", "conflict", "rejected"]},
        "pointer": {**_TEXT, "description": "JSON pointer within the body."},
        "code": _TEXT,
        "detail": _TEXT,
    },
}
_RECEIPT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{
            name: {"type": "integer"}
            for name in ("received", "accepted", "duplicate", "conflict", "rejected")
        },
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Fate"}},
    },
}
_DESCRIPTION = """\
Up to 10,000 events or 8 MiB a request (decompressed), with `Content-Encoding` gzip or zstd.
NDJSON is decoded while it comes, at most 1 MiB a line; a line that cannot be read costs no
other. Also CloudEvents' binary mode: the attributes in `ce-…` headers, percent-encoded, and the
data as JSON in the body. What is accepted is committed before the
answer. Sending again is always safe: a repeat is a `duplicate`, for ever; an id with other
content is a `conflict`. A refused event costs no other event; it is kept with its reason and
may be sent again, mended, with the same id.

To withdraw an event send one of the type `uk.paygo.withdrawal`; to replace one, name it in
`replaces`. `Prefer: return=minimal` gives 204 when all were accepted."""


def describe_ingest(spec: Any, *, rule: Any) -> None:
    """Add the endpoint, whose URL rule is `rule`, to an apispec."""
    spec.components.schema("Event", _EVENT_SCHEMA)
    spec.components.schema("Fate", _FATE_SCHEMA)
    spec.components.schema("Receipt", _RECEIPT_SCHEMA)
    one = {"$ref": "#/components/schemas/Event"}
    many = {"type": "array", "items": one, "maxItems": 10_000}
    examples = {
        "usage": {"value": [EVENT_EXAMPLE]},
        "withdrawal": {"value": [WITHDRAWAL_EXAMPLE]},
    }
    problem = {
        "description": "A problem document (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": ProblemSchema}},
    }
    spec.path(
        rule=rule,
        operations={
            "post": {
                "tags": ["source"],
                "summary": "Take usage events, exactly once",
                "description": _DESCRIPTION,
                "parameters": [
                    {
                        "name": "Prefer",
                        "in": "header",
                        "schema": _TEXT,
                        "example": "return=minimal",
                    },
                    {
                        "name": "Idempotency-Key",
                        "in": "header",
                        "description": "Gives a repeat the same receipt for some days; not needed,"
                        " since an event counts once however often it comes.",
                        "schema": _TEXT,
                        "example": "batch-2026-07-03-0001",
                    },
                    {
                        "name": "Content-Encoding",
                        "in": "header",
                        "schema": {"enum": ["gzip", "zstd", "identity"]},
                    },
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        BATCH_TYPE: {"schema": many, "examples": examples},
                        EVENT_TYPE: {"schema": one, "example": EVENT_EXAMPLE},
                        JSON_TYPE: {"schema": {"oneOf": [one, many]}, "examples": examples},
                        NDJSON_TYPE: {"schema": _TEXT, "example": LINES_EXAMPLE},
                    },
                },
                "responses": {
                    "200": {
                        "description": "The fate of every event that was not simply accepted.",
                        "headers": _ALLOWANCE,
                        "content": {
                            JSON_TYPE: {
                                "schema": {"$ref": "#/components/schemas/Receipt"},
                                "example": RECEIPT_EXAMPLE,
                            }
                        },
                    },
                    "204": {
                        "description": "All accepted, and `Prefer: return=minimal`.",
                        "headers": _ALLOWANCE,
                    },
                    "400": problem,
                    "401": problem,
                    "403": problem,
                    "413": problem,
                    "415": problem,
                    "422": problem,
                    "429": problem | {"headers": _ALLOWANCE | _LATER},
                    "503": problem | {"headers": _LATER},
                },
            }
        },
    )
