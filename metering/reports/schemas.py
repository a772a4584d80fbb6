"""Events, manifests, health and quarantine on the wire."""

from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from metering.events.quantities import QuantityRefused, read_quantity
from metering.kit.paging import PAGE_DEFAULT, PAGE_MAX
from metering.readings.schemas import MonthField, PageSchema, SpanSchema


class QuantityField(fields.Field[Decimal]):
    """An exact decimal: a string, or a whole JSON number; never a float."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:  # noqa: ARG002 - marshmallow's signature
        try:
            return read_quantity(value)
        except QuantityRefused as refused:
            raise ValidationError(refused.detail) from None


class EventsQuerySchema(PageSchema):
    """Which stored events are asked for."""

    organisation = fields.List(fields.String(), metadata={"description": "ODS codes."})
    meter = fields.List(fields.String(), metadata={"description": "Meter codes."})


class StoredEventSchema(Schema):
    """One stored record; an event that feeds two meters has two."""

    id = fields.String()
    kind = fields.String(metadata={"description": "usage or withdrawal"})
    organisation = fields.String()
    meter = fields.String(allow_none=True)
    dimensions = fields.Dict(keys=fields.String(), values=fields.String())
    quantity = fields.String()
    occurred_at = fields.String()
    received_at = fields.String()
    detail = fields.Dict(allow_none=True)


class StoredEventsSchema(Schema):
    """A page of stored events."""

    events = fields.List(fields.Nested(StoredEventSchema))
    next = fields.String(allow_none=True)


EVENTS_EXAMPLE = {
    "events": [
        {
            "id": "018f5a2e-6b7c-7def-8123-456789abcdef",
            "kind": "usage",
            "organisation": "RRK",
            "meter": "studies-archived",
            "dimensions": {"modality": "CT"},
            "quantity": "1",
            "occurred_at": "2026-07-03T09:00:00+00:00",
            "received_at": "2026-07-03T09:00:02.513000+00:00",
            "detail": None,
        }
    ],
    "next": None,
}


class HealthSchema(Schema):
    """How a source is doing."""

    source = fields.String()
    last_received_at = fields.String(
        allow_none=True, metadata={"description": "Of its last request."}
    )
    last_accepted_at = fields.String(
        allow_none=True, metadata={"description": "Of its last request with an accepted event."}
    )
    last_24_hours = fields.Dict(keys=fields.String(), values=fields.Integer())
    waiting = fields.Integer(metadata={"description": "Accepted, not in the readings yet."})
    lag_seconds = fields.Integer(
        metadata={"description": "How long the oldest of those has waited; 0 where none does."}
    )
    quarantined = fields.Dict(keys=fields.String(), values=fields.Integer())


HEALTH_EXAMPLE = {
    "source": "imaging-archive",
    "last_received_at": "2026-07-03T09:00:02.513000+00:00",
    "last_accepted_at": "2026-07-03T09:00:02.513000+00:00",
    "last_24_hours": {
        "received": 12000,
        "accepted": 11990,
        "duplicate": 8,
        "conflict": 0,
        "rejected": 2,
    },
    "waiting": 0,
    "lag_seconds": 0,
    "quarantined": {"subject-unknown": 2},
}


class ManifestInSchema(SpanSchema):
    """A source's own count: `period` (a month), or `from` and `to`."""

    class Meta:
        unknown = RAISE

    source = fields.String(metadata={"description": "Its own code; optional."})
    month = MonthField(data_key="period", metadata={"example": "2026-07"})
    meter = fields.String(required=True)
    organisation = fields.String()
    count = fields.Integer(required=True, strict=True, validate=validate.Range(0, 10**15))
    quantity = QuantityField(required=True, data_key="sum", metadata={"type": "string"})


MANIFEST_IN_EXAMPLE = {
    "period": "2026-07",
    "meter": "studies-archived",
    "count": 640,
    "sum": "640",
}


class CountAndSumSchema(Schema):
    """A number of events and the sum of their quantities."""

    count = fields.Integer()
    sum = fields.String()


class ManifestOutSchema(Schema):
    """A source's count beside ours."""

    source = fields.String()
    meter = fields.String()
    organisation = fields.String(allow_none=True)
    first_on = fields.String(data_key="from")
    end_on = fields.String(data_key="to")
    declared = fields.Nested(CountAndSumSchema)
    received = fields.Nested(CountAndSumSchema)
    missing = fields.Nested(CountAndSumSchema)
    duplicated = fields.Integer()
    rejected = fields.Integer()
    agrees = fields.Boolean()


MANIFEST_OUT_EXAMPLE = {
    "source": "imaging-archive",
    "meter": "studies-archived",
    "organisation": None,
    "from": "2026-07-01",
    "to": "2026-08-01",
    "declared": {"count": 640, "sum": "640"},
    "received": {"count": 638, "sum": "638"},
    "missing": {"count": 2, "sum": "2"},
    "duplicated": 0,
    "rejected": 2,
    "agrees": False,
}


class ManifestsQuerySchema(Schema):
    """Which manifests are asked for."""

    class Meta:
        unknown = RAISE

    month = MonthField(required=True, metadata={"example": "2026-07"})


class ManifestsSchema(Schema):
    """Manifests that touch a month."""

    manifests = fields.List(fields.Nested(ManifestOutSchema))


class QuarantineQuerySchema(Schema):
    """Which refused events are asked for."""

    class Meta:
        unknown = RAISE

    status = fields.String(
        load_default="open", validate=validate.OneOf(("open", "replayed", "dismissed"))
    )
    code = fields.String()
    after = fields.String()
    limit = fields.Integer(load_default=PAGE_DEFAULT, validate=validate.Range(1, PAGE_MAX))


class QuarantinedSchema(Schema):
    """One refused event, patients' numbers masked."""

    key = fields.String(metadata={"description": "Under which it is kept."})
    id = fields.String(allow_none=True)
    fate = fields.String()
    code = fields.String()
    pointer = fields.String()
    detail = fields.String()
    received_at = fields.String()
    status = fields.String()
    event = fields.Dict()


class QuarantineSchema(Schema):
    """A page of refused events."""

    events = fields.List(fields.Nested(QuarantinedSchema))
    reasons = fields.Dict(keys=fields.String(), values=fields.Integer())
    next = fields.String(allow_none=True)


QUARANTINE_EXAMPLE = {
    "events": [
        {
            "key": "5f031c26-afcb-8180-a64b-b4200996fa83",
            "id": "018f5a2e-6b7c-7def-8123-456789abcdef",
            "fate": "rejected",
            "code": "subject-unknown",
            "pointer": "/3/subject",
            "detail": "No organisation is registered with the ODS code 'ZZZ'.",
            "received_at": "2026-07-03T09:00:02.513000+00:00",
            "status": "open",
            "event": {"specversion": "1.0", "subject": "ZZZ"},
        }
    ],
    "reasons": {"subject-unknown": 1},
    "next": None,
}
