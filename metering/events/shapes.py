"""What a combination of dimensions decides: which meters an event feeds. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from metering.events.catalogue import SHAPES_MAX, EventType, Feed, Shape, packed_int4
from metering.events.decoding import step
from metering.events.model import UNCOUNTED_METER
from metering.events.rules import No, allows, check_value
from metering.kit.nhs_number import holds_nhs_number
from metering.meters.model import UNIQUE
from metering.meters.operations import canonical

DimensionSets = Callable[[Mapping[str, str]], bytes]
UNCOUNTED = packed_int4(UNCOUNTED_METER)


def work_out(kind: EventType, members: Mapping[str, Any], dimension_sets: DimensionSets) -> Shape:
    """Work out a new combination of dimensions, and remember it.

    Raises:
        No: a dimension is unknown, no text, not allowed, or a patient's number.
    """
    for name, value in members.items():
        pointer = f"/data/{step(name)}"
        if holds_nhs_number(name):
            raise No(pointer, "nhs-number", "A member's name holds an NHS number.")
        if name not in kind.names:
            raise No(pointer, "dimension-unknown", f"No meter knows '{name[:100]}'.")
        check_value(pointer, name, value)
    allowed_by_none = {
        name
        for name, value in members.items()
        if not any(allows(meter.dimensions, name, value) for _, meter in kind.meters)
    }
    feeding = [(number, meter) for number, meter in kind.meters if meter.counts(members)]
    for name, value in members.items():
        refused = any(
            name in meter.dimensions and not allows(meter.dimensions, name, value)
            for _, meter in feeding
        )
        if refused or name in allowed_by_none:
            raise No(
                f"/data/{step(name)}",
                "dimension-value-unknown",
                f"'{value[:100]}' is not a value of '{name}'.",
            )
    feeds = tuple(
        Feed(
            meter=packed_int4(number),
            measured=(
                None if meter.quantity_field is None else kind.measured.index(meter.quantity_field)
            ),
            unique=meter.aggregation == UNIQUE,
            dimension_set=dimension_sets(
                {name: value for name, value in members.items() if name in meter.dimensions}
            ),
        )
        for number, meter in feeding
    )
    if not feeds:
        feeds = (Feed(UNCOUNTED, None, dimension_set=dimension_sets(members)),)
    shape = Shape(feeds, canonical(members))
    if len(kind.shapes) >= SHAPES_MAX:
        kind.shapes.clear()
    kind.shapes[tuple(members.items())] = shape
    return shape
