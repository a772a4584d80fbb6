"""Forms about a service's meters: register one, change what may change."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.console.blueprint import blueprint
from billing.console.forms import FormPage, Input, optional_text, show, submit, text
from billing.console.service_forms import REGISTERS, crumbs, done, note, source_seen
from billing.console.service_pages import AGGREGATION_WORDS
from billing.forms import Form
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.meters import operations
from metering.meters.model import AGGREGATIONS
from metering.meters.queries import MeterUnknown, by_code
from metering.meters.tables import MeterRow

Answer = Response | str | tuple[str, int]


class MeterWordsForm(Schema):
    """What may change of a meter."""

    name = text("Enter the meter's name")
    unit = text("Enter the unit, in the singular", longest=30)
    dimensions = optional_text(longest=2000)


class MeterForm(MeterWordsForm):
    """A new meter."""

    code = text("Enter a code", longest=63)
    event_type = text("Enter the event type", longest=200)
    aggregation = fields.String(
        required=True,
        error_messages={"required": "Choose how it counts"},
        validate=validate.OneOf(AGGREGATIONS, error="Choose how it counts"),
    )
    quantity_field = optional_text(longest=63)
    resolution = fields.String(load_default="day", validate=validate.OneOf(("day", "hour")))


_NAME = Input("name", "Name", hint="As people read it, for example Studies archived")
_UNIT = Input("unit", "Unit, in the singular", width="10")
_SPLIT = Input(
    "dimensions",
    "Split by",
    "lines",
    hint="One dimension a line with its values, for example modality: CT, MR, US. "
    "Without values any text passes",
)


@blueprint.route("/services/<int:source_id>/meters/new", methods=["GET", "POST"])
@guarded(REGISTERS)
def new_meter(source_id: int) -> Answer:
    """Register a meter: what is counted of a service's events."""
    row = source_seen(source_id)

    def act(session: Session, sent: dict[str, Any]) -> MeterRow:
        made = operations.register(
            session,
            source_code=row.code,
            code=sent["code"],
            name=sent["name"],
            event_type=sent["event_type"],
            aggregation=sent["aggregation"],
            quantity_field=sent["quantity_field"] or None,
            unit=sent["unit"],
            dimensions=read_dimensions(sent["dimensions"]),
            resolution=sent["resolution"],
            now=edge().clock(),
        )
        note(session, "register meter", row.code, {"meter": sent["code"]})
        return made

    start = Form({"resolution": "day", "aggregation": "sum"})
    form, made = submit(MeterForm(), act, start=start, faults=_meter_faults)
    if made is not None:
        return done(source_id, "The meter is registered. It counts events from now on.")
    inputs = (
        _NAME,
        Input("code", "Code", hint="Lower-case words with hyphens, unique over all services"),
        Input("event_type", "Event type", hint="The type of the events that it reads"),
        Input(
            "aggregation",
            "How it counts",
            "choice",
            options=[(one, AGGREGATION_WORDS[one]) for one in AGGREGATIONS],
        ),
        Input(
            "quantity_field", "Field of data that it measures", hint="Empty for a count", width="20"
        ),
        _UNIT,
        _SPLIT,
        Input(
            "resolution",
            "Kept by",
            "choice",
            options=[("day", "Day"), ("hour", "Hour, for prices with time-of-day bands")],
        ),
    )
    return show(
        FormPage(
            "Register a meter",
            form,
            inputs,
            "Register it",
            crumbs(row),
            caption=row.name,
            words="What a meter counts cannot be changed later, and it counts only what arrives "
            "from now on. Its name, and what it is split by, can still grow.",
        )
    )


@blueprint.route("/services/<int:source_id>/meters/<code>", methods=["GET", "POST"])
@guarded(REGISTERS)
def edit_meter(source_id: int, code: str) -> Answer:
    """Change how a meter is called, and let it be split by more."""
    row = source_seen(source_id)
    with edge().database.snapshot() as session:
        meter = by_code(session, code=code)
    if meter.source_id != source_id:
        raise MeterUnknown(f"The service has no meter '{code}'.")

    def act(session: Session, sent: dict[str, Any]) -> MeterRow:
        before = {"name": meter.name, "unit": meter.unit, "split": sorted(meter.dimensions)}
        changed = operations.reword(
            session,
            code=code,
            name=sent["name"],
            unit=sent["unit"],
            dimensions=read_dimensions(sent["dimensions"], meter.dimensions),
        )
        after = {"name": changed.name, "unit": changed.unit, "split": sorted(changed.dimensions)}
        note(session, "change meter", row.code, {"meter": code, "before": before, "after": after})
        return changed

    start = Form(
        {"name": meter.name, "unit": meter.unit, "dimensions": write_dimensions(meter.dimensions)}
    )
    form, made = submit(MeterWordsForm(), act, start=start, faults=_meter_faults)
    if made is not None:
        return done(source_id, f"{made.name} is changed.")
    return show(
        FormPage(
            f"Change {meter.name}",
            form,
            (
                _NAME,
                Input("unit", _UNIT.label, width="10", hint="Only its word: one stays what it is"),
                _SPLIT,
            ),
            "Save",
            crumbs(row),
            caption=row.name,
            words="Usage already rests on what it counts, so that stays: register a meter with "
            "another code to count something else. Dimensions and values can be added, and none "
            "taken away. Issued invoices keep the words they were issued with.",
        )
    )


def _meter_faults(form: Form, refusal: Refusal) -> Form:
    found = {
        fault.pointer.strip("/").split("/")[0] or "code": fault.detail for fault in refusal.errors
    }
    fallback = "code" if "code" in form.values else "dimensions"
    return Form(form.values, {**form.errors, **(found or {fallback: refusal.detail})})


def read_dimensions(
    lines: str, known: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Read dimensions as people write them, one a line: `modality: CT, MR`.

    Args:
        known: those there are; they keep their labels.

    >>> read_dimensions("modality: CT, MR")
    {'modality': {'label': 'Modality', 'values': ['CT', 'MR']}}
    """
    found: dict[str, dict[str, Any]] = {}
    for line in lines.splitlines():
        name, _, values = line.partition(":")
        name = name.strip()
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if name:
            label = name.replace("_", " ").replace("-", " ").capitalize()
            label = (known or {}).get(name, {}).get("label") or label
            found[name] = {"label": label, "values": listed or None}
    return found


def write_dimensions(dimensions: Mapping[str, Mapping[str, Any]]) -> str:
    """Write dimensions as `read_dimensions` reads them.

    >>> write_dimensions({"modality": {"label": "Modality", "values": ["CT", "MR"]}, "site": {}})
    'modality: CT, MR\\nsite'
    """
    return "\n".join(
        f"{name}: {', '.join(about['values'])}" if about.get("values") else name
        for name, about in dimensions.items()
    )
