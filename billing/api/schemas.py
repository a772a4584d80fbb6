"""Shapes of the JSON API of billing."""

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from metering.kit.paging import PAGE_DEFAULT, PAGE_MAX

TARIFF_EXAMPLE: dict[str, Any] = {
    "tariff": "imaging-archive",
    "version": "2026-04",
    "effective_from": "2026-04-01",
    "vat": "standard",
    "prices": [{"meter": "studies-archived", "model": "per-unit", "unit_price": "0.50"}],
}
ESTIMATE_EXAMPLE: dict[str, Any] = {
    "tariff": TARIFF_EXAMPLE,
    "month": "2026-04",
    "usage": [{"organisation": "RRK", "meter": "studies-archived", "quantity": "21"}],
}
ESTIMATED_EXAMPLE: dict[str, Any] = {
    "charges": [
        {
            "organisation": "RRK",
            "meter": "studies-archived",
            "price": "studies-archived/per-unit",
            "quantity": "21",
            "exact": "10.5",
            "amount": "10.50",
            "working": [],
        }
    ],
    "total": "10.50",
}
CHECKED_EXAMPLE: dict[str, Any] = {
    "tariff": "imaging-archive",
    "version": "2026-04",
    "effective_from": "2026-04-01",
    "meters": ["studies-archived"],
    "prices": 1,
}


class EstimateIn(Schema):
    """Supposed usage to price."""

    tariff = fields.Raw(
        required=True,
        metadata={"description": "A tariff as in a tariff file, or the code of one in force."},
    )
    usage = fields.Raw(
        required=True,
        metadata={"description": "A list of {organisation, meter, quantity, dimensions?, at?}."},
    )
    month = fields.String(
        metadata={"description": "London month, YYYY-MM; the present one where it is left out."}
    )


class EstimateOut(Schema):
    """Charges, their working and their total."""

    charges = fields.Raw(required=True)
    total = fields.String(required=True)
    parked = fields.Raw(metadata={"description": "Usage without a price, only where there is."})


class CheckIn(Schema):
    """A tariff to check: as an object, or as the text of a YAML or JSON file."""

    tariff = fields.Raw(required=True)


class CheckOut(Schema):
    """What a tariff that is in order holds."""

    tariff = fields.String(required=True)
    version = fields.String(required=True)
    effective_from = fields.Date(required=True)
    meters = fields.List(fields.String(), required=True)
    prices = fields.Integer(required=True)


class LineEventsQuery(Schema):
    """A place in the list of a line's events."""

    class Meta:
        unknown = RAISE

    after = fields.String(metadata={"description": "`next` of the answer before."})
    limit = fields.Integer(
        load_default=PAGE_DEFAULT, validate=validate.Range(1, PAGE_MAX), metadata={"example": 100}
    )
