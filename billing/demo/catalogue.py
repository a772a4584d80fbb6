"""The hosted services of the demonstration, read from `catalogue/*.yaml`.

`catalogue/README.md` documents the format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any

from billing.tariffs.files import load_document
from metering.kit.errors import Invalid


class CatalogueUnreadable(Invalid):
    """A file of the catalogue lacks something or has something that nobody reads."""

    code = "catalogue-unreadable"
    title = "The catalogue cannot be read"


@dataclass(frozen=True)
class MeterEntry:
    """What is counted: the fields of a meter, as the metering operations take them."""

    code: str
    name: str
    event_type: str
    aggregation: str
    unit: str
    quantity_field: str | None
    resolution: str
    dimensions: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Stream:
    """One kind of usage that the demonstration posts.

    Attributes:
        clock: how it is spread over the week: hospital, office or always.
        weight: this stream's part of all events.
        national: units a month over all trusts, shared out by size.
        volume: else, the name of each trust's own monthly figure.
        quantity: member of `data` that carries the units; None for one unit an event.
        megabytes: about how much data a unit has, or None.
    """

    event_type: str
    dimensions: Mapping[str, str]
    clock: str
    weight: int
    national: int | None = None
    volume: str | None = None
    quantity: str | None = None
    megabytes: int | None = None


@dataclass(frozen=True)
class Service:
    """One hosted service: who reports, what is counted, what it costs, who uses it.

    `least_size`: the smallest trust on its tariff, an average acute trust being 100.
    """

    code: str
    name: str
    email: str
    used_by: frozenset[str]
    least_size: Decimal
    meters: tuple[MeterEntry, ...]
    streams: tuple[Stream, ...]
    tariff: Mapping[str, Any]


def services() -> tuple[Service, ...]:
    """Return the packaged services by code.

    Raises:
        CatalogueUnreadable: a file does not have the documented form.
    """
    folder = files("billing.demo") / "catalogue"
    texts = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    return tuple(parse_service(text, name=name) for name, text in sorted(texts.items()))


def parse_service(text: str, *, name: str) -> Service:
    """Read one file of the catalogue; `name` is used in refusals.

    Raises:
        CatalogueUnreadable: it does not have the documented form.
    """
    try:
        written: Any = load_document(text)
        source = written["source"]
        return Service(
            code=source["code"],
            name=source["name"],
            email=source["email"],
            used_by=frozenset(written["used_by"]),
            least_size=Decimal(written.get("least_size", 0)),
            meters=tuple(_meter(entry) for entry in written["meters"]),
            streams=tuple(Stream(**entry) for entry in written["streams"]),
            tariff=written["tariff"],
        )
    except KeyError as error:
        raise CatalogueUnreadable(f"{name} lacks {error}.") from None
    except (TypeError, AttributeError) as error:
        raise CatalogueUnreadable(f"{name} cannot be read: {error}.") from None


def _meter(entry: Mapping[str, Any]) -> MeterEntry:
    defaults: dict[str, Any] = {"quantity_field": None, "resolution": "day", "dimensions": {}}
    return MeterEntry(**{**defaults, **entry})
