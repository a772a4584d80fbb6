"""What is counted, and how: the rules of a meter. Pure.

A meter reads the events of one type from one source. Its dimensions are the
labels that usage is split by; its filter keeps only events whose dimensions
have one of the named values.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metering.kit.errors import FieldError, Invalid

WITHDRAWAL_TYPE = "uk.paygo.withdrawal"
"""Event type that cancels an earlier event; no meter may read it."""

SUM, COUNT, MAX, MIN = "sum", "count", "max", "min"
UNIQUE, LATEST, TIME_WEIGHTED = "unique", "latest", "time-weighted"
AGGREGATIONS = (SUM, COUNT, MAX, MIN, UNIQUE, LATEST, TIME_WEIGHTED)
ADDITIVE = frozenset({SUM, COUNT})
"""Aggregations whose readings grow by adding; the others are worked out anew."""
LEVELS = frozenset({LATEST, TIME_WEIGHTED})
"""Aggregations of a level that lasts until the next event says another."""

_CODE = re.compile(r"[a-z][a-z0-9-]{1,62}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}")


class MeterInvalid(Invalid):
    """A meter's definition breaks a rule."""

    code = "meter-invalid"
    title = "The meter's definition is not right"


@dataclass(frozen=True)
class Meter:
    """The definition of a meter.

    Attributes:
        code: stable kebab-case name, unique over all sources.
        event_type: the `type` of the events it reads.
        aggregation: one of `AGGREGATIONS`.
        quantity_field: member of `data` that is measured; for `unique` the one whose
            distinct values are counted; None for `count`.
        unit: what one is, in the singular, for example `study`.
        dimensions: name to `{"label": …, "values": [...] or None}`; None lets any text pass.
        filter: dimension to the values that count; empty counts everything.
        resolution: `day`, or `hour` where prices have time-of-day bands.
    """

    code: str
    name: str
    event_type: str
    aggregation: str
    quantity_field: str | None
    unit: str
    dimensions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    filter: Mapping[str, list[str]] = field(default_factory=dict)
    resolution: str = "day"

    def __post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise MeterInvalid(f"Meter {self.code}: {faults[0].detail}", errors=faults)

    def _faults(self) -> list[FieldError]:
        found: list[FieldError] = []

        def fault(pointer: str, detail: str) -> None:
            found.append(FieldError(pointer, "invalid", detail))

        if not _CODE.fullmatch(self.code):
            fault("/code", "a code is lower-case letters, digits and hyphens.")
        if not self.name.strip():
            fault("/name", "a meter needs a name.")
        if not self.unit.strip():
            fault("/unit", "a meter needs a unit.")
        if not _TYPE.fullmatch(self.event_type) or self.event_type == WITHDRAWAL_TYPE:
            fault("/event_type", f"'{self.event_type}' cannot be the type of usage events.")
        if self.aggregation not in AGGREGATIONS:
            fault("/aggregation", f"an aggregation is one of {', '.join(AGGREGATIONS)}.")
        if (self.aggregation == COUNT) != (self.quantity_field is None):
            fault("/quantity_field", "every meter but a count names the field that it measures.")
        if self.quantity_field is not None and not _NAME.fullmatch(self.quantity_field):
            fault("/quantity_field", f"'{self.quantity_field}' cannot be a field's name.")
        if self.resolution not in {"day", "hour"}:
            fault("/resolution", "a resolution is day or hour.")
        elif self.resolution == "hour" and self.aggregation not in ADDITIVE:
            fault("/resolution", "only a sum or a count can be kept by the hour.")
        found.extend(self._dimension_faults())
        return found

    def _dimension_faults(self) -> list[FieldError]:
        found: list[FieldError] = []
        for name, about in self.dimensions.items():
            pointer = f"/dimensions/{name}"
            if not _NAME.fullmatch(name) or name == self.quantity_field:
                found.append(
                    FieldError(pointer, "invalid", f"'{name}' cannot be a dimension's name.")
                )
            values = about.get("values")
            if set(about) - {"label", "values"} or not _are_texts(values, none=True):
                found.append(
                    FieldError(
                        pointer, "invalid", "a dimension has a label and, where bounded, values."
                    )
                )
        for name, values in self.filter.items():
            if name not in self.dimensions or not _are_texts(values, none=False):
                found.append(
                    FieldError(
                        f"/filter/{name}", "invalid", "a filter names values of a dimension."
                    )
                )
        return found

    @property
    def is_additive(self) -> bool:
        """Whether readings grow by adding."""
        return self.aggregation in ADDITIVE

    def counts(self, dimensions: Mapping[str, str]) -> bool:
        """Return whether an event with these dimensions passes the filter."""
        return all(dimensions.get(name) in values for name, values in self.filter.items())


_SIBILANTS = ("ss", "x", "z", "ch", "sh")


def plural_of(unit: str) -> str:
    """Return a unit as it reads with any number but one.

    A symbol (`GB`, `kWh`, `%`) and what is a plural already stay as they are.

    >>> [plural_of(unit) for unit in ("study", "GB", "case", "batch", "GB month", "studies")]
    ['studies', 'GB', 'cases', 'batches', 'GB months', 'studies']
    """
    word = unit.split()[-1] if unit.split() else ""
    if not word.isalpha() or not word.islower() or len(word) < 3:
        return unit
    if word.endswith("s") and not word.endswith("ss"):
        return unit
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{unit[:-1]}ies"
    return f"{unit}es" if word.endswith(_SIBILANTS) else f"{unit}s"


def _are_texts(values: Any, *, none: bool) -> bool:
    if values is None:
        return none
    return (
        isinstance(values, list | tuple)
        and bool(values)
        and all(isinstance(value, str) and value for value in values)
    )
