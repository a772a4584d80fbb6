"""Usage on the wire."""

from datetime import date
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from metering.kit.paging import PAGE_DEFAULT, PAGE_MAX
from metering.periods import Month
from metering.readings.queries import GRANULARITIES

DAYS_MAX = 732
# Beyond these a month has no beginning or no end that can be said in UTC.
_FIRST, _LAST_END = date(2, 1, 1), date(9998, 12, 31)


class MonthField(fields.String):
    """A London month, `YYYY-MM`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            Month.parse(text)
        except ValueError as error:
            raise ValidationError(f"{error}.") from None
        return text


class SpanSchema(Schema):
    """A span of London days: `month`, or `from` and `to` (not included)."""

    class Meta:
        unknown = RAISE

    month = MonthField(metadata={"description": "A London month.", "example": "2026-07"})
    first_on = fields.Date(
        data_key="from", metadata={"description": "First London day.", "example": "2026-07-01"}
    )
    end_on = fields.Date(
        data_key="to",
        metadata={"description": "First London day after the span.", "example": "2026-08-01"},
    )

    @validates_schema
    def check_span(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """One way to say a span, and not an endless one."""
        if ("month" in data) == ("first_on" in data or "end_on" in data):
            raise ValidationError("Give a month, or from and to.")
        if "month" not in data:
            if "first_on" not in data or "end_on" not in data:
                raise ValidationError("Give both from and to.")
            if data["end_on"] > _LAST_END or data["first_on"] < _FIRST:
                raise ValidationError(f"Days are from {_FIRST} to {_LAST_END}.", field_name="to")
            if not 0 < (data["end_on"] - data["first_on"]).days <= DAYS_MAX:
                raise ValidationError(f"to is 1 to {DAYS_MAX} days after from.", field_name="to")


def span_of(arguments: dict[str, Any]) -> tuple[date, date]:
    """Return the London days [first, end) that checked arguments name."""
    if "month" in arguments:
        month = Month.parse(arguments["month"])
        return month.first_day, month.end_day
    return arguments["first_on"], arguments["end_on"]


class PageSchema(SpanSchema):
    """A span, and a place in the list."""

    after = fields.String(metadata={"description": "`next` of the answer before."})
    limit = fields.Integer(
        load_default=PAGE_DEFAULT, validate=validate.Range(1, PAGE_MAX), metadata={"example": 100}
    )


class UsageQuerySchema(PageSchema):
    """What usage is asked for."""

    by = fields.String(
        load_default="day",
        validate=validate.OneOf(GRANULARITIES),
        metadata={
            "description": "hour (7 days at most, sums and counts only), day or month,"
            " on the London clock."
        },
    )
    organisation = fields.List(
        fields.String(), metadata={"description": "ODS codes; all where none is given."}
    )
    meter = fields.List(fields.String(), metadata={"description": "Meter codes."})
    dimension = fields.List(
        fields.String(validate=validate.Regexp(r"^[^:]+:.+$", error="Write NAME:VALUE.")),
        metadata={"description": "Only usage with these dimensions.", "example": "modality:CT"},
    )
    format = fields.String(
        validate=validate.OneOf(("json", "csv")),
        metadata={"description": "csv gives all rows at once; also by `Accept: text/csv`."},
    )

    @validates_schema
    def check_dimensions(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """A usage has one value of a dimension."""
        names = [pair.partition(":")[0] for pair in data.get("dimension", ())]
        if len(set(names)) < len(names):
            raise ValidationError("Name each dimension once.", field_name="dimension")


class UsageRowSchema(Schema):
    """One line of usage."""

    start = fields.String(metadata={"description": "First instant, on the London clock."})
    organisation = fields.String()
    name = fields.String()
    meter = fields.String()
    unit = fields.String()
    dimensions = fields.Dict(keys=fields.String(), values=fields.String())
    quantity = fields.String(metadata={"description": "Exact decimal."})
    events = fields.Integer()


class MeterTotalSchema(Schema):
    """All of what was asked for, of one meter."""

    meter = fields.String()
    unit = fields.String()
    quantity = fields.String(metadata={"description": "Exact decimal."})
    events = fields.Integer()


class UsageSchema(Schema):
    """A page of usage."""

    usage = fields.List(fields.Nested(UsageRowSchema))
    totals = fields.List(fields.Nested(MeterTotalSchema))
    next = fields.String(allow_none=True)


USAGE_EXAMPLE = {
    "usage": [
        {
            "start": "2026-07-03T00:00:00+01:00",
            "organisation": "RRK",
            "name": "University Hospitals Birmingham NHS Foundation Trust",
            "meter": "studies-archived",
            "unit": "study",
            "dimensions": {"modality": "CT"},
            "quantity": "21",
            "events": 21,
        }
    ],
    "totals": [{"meter": "studies-archived", "unit": "study", "quantity": "640", "events": 640}],
    "next": None,
}
