"""The fields of a price: what a form of one offers, reads and says is wrong.

A draft's price has a page of its own; a local agreement's is a part of its proposal, whose
fields have other names besides, so a prefix keeps them apart.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.console.tariff_pages import MODEL_WORDS, SCOPE_WORDS
from billing.forms import Form
from billing.tariffs.bands import Band
from billing.tariffs.terms import MODELS, SCOPES, Price, price_document
from metering.kit.errors import Refusal
from metering.meters.tables import MeterRow

TIER_ROWS_LEAST, TIER_ROWS_MOST = 4, 20
_PLAIN = ("label", "meter", "model", "scope", "band", "unit", "resets")
_NUMBERS = (
    "unit_price",
    "package_size",
    "package_price",
    "amount",
    "percent",
    "discount_percent",
    "minimum",
    "maximum",
)
_TIER_PARTS = ("up_to", "unit_price", "flat")
_TIDY = re.compile(r"[£,\s]")


def pairs(lines: str) -> dict[str, str]:
    """Return `name: value` lines as pairs."""
    found = {}
    for line in lines.splitlines():
        name, _, value = line.partition(":")
        if name.strip():
            found[name.strip()] = value.strip()
    return found


def price_values(price: Price) -> dict[str, str]:
    """Return a price as the fields of its form."""
    written: dict[str, Any] = price_document(price)
    values = {name: str(written[name]) for name in (*_PLAIN, *_NUMBERS) if name in written}
    values["label"] = price.label
    values["where"] = "\n".join(f"{name}: {value}" for name, value in price.where)
    if "included" in written:
        values["included_quantity"] = written["included"]["quantity"]
        values["included_per"] = written["included"]["per"]
    if "convert" in written:
        values["divide_by"] = written["convert"]["divide_by"]
        values["divided_unit"] = written["convert"]["unit"]
    for index, tier in enumerate(written.get("tiers", ())):
        for part in _TIER_PARTS:
            if tier.get(part) is not None:
                values[f"tier-{index}-{part}"] = tier[part]
    return values


@dataclass(frozen=True)
class PriceChoices:
    """What the fields of a price offer, each as value and words; `dimensions` is their hint."""

    meters: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, str], ...]
    scopes: tuple[tuple[str, str], ...]
    bands: tuple[tuple[str, str], ...]
    dimensions: str
    tier_rows: range


def price_choices(
    form: Form,
    *,
    meters: Sequence[MeterRow],
    bands: Iterable[Band],
    scopes: Iterable[str] = SCOPES,
    prefix: str = "",
) -> PriceChoices:
    """Return what the fields offer; there are always two empty rows of tiers more."""
    filled = sum(
        f"{prefix}tier-{place}-unit_price" in form.values for place in range(TIER_ROWS_MOST)
    )
    return PriceChoices(
        meters=(
            ("", "None: a fixed amount"),
            *((one.code, f"{one.name} ({one.code})") for one in meters),
        ),
        models=tuple((one, MODEL_WORDS[one]) for one in MODELS),
        scopes=tuple((one, SCOPE_WORDS[one]) for one in scopes),
        bands=(("", "Any hour"), *((band.name, f"{band.name}: {band.text}") for band in bands)),
        dimensions="; ".join(_dimension_words(one) for one in meters if one.dimensions),
        tier_rows=range(min(TIER_ROWS_MOST, max(TIER_ROWS_LEAST, filled + 2))),
    )


def is_typed(typed: Mapping[str, str]) -> bool:
    """Say whether anything of a price was typed; what is chosen from a list alone is not."""
    chosen = {"model", "scope", "resets", "included_per", "meter", "band"}
    return any(value.strip() for name, value in typed.items() if name not in chosen)


@dataclass(frozen=True)
class TypedPrice:
    """A price as typed, and the form's tier rows that are not empty."""

    document: dict[str, Any]
    rows: tuple[int, ...]


def read_price(typed: Mapping[str, str], *, key: str | None) -> TypedPrice:
    """Return what was typed as a price of a tariff file; nothing is judged here.

    Fields that belong to another model than the one chosen are left out.
    """
    given = {name: value.strip() for name, value in typed.items() if value.strip()}
    document: dict[str, Any] = {name: given[name] for name in _PLAIN if name in given}
    model = document.get("model", "")
    own = {
        "unit_price": {"per-unit"},
        "package_size": {"package"},
        "package_price": {"package"},
        "amount": {"flat"},
        "percent": {"percentage"},
    }
    for name in _NUMBERS:
        if name in given and model in own.get(name, {model}):
            document[name] = _TIDY.sub("", given[name])
    if key is not None:
        document["key"] = key
    if "where" in given:
        document["where"] = pairs(given["where"])
    if "included_quantity" in given:
        document["included"] = {
            "quantity": _TIDY.sub("", given["included_quantity"]),
            "per": given.get("included_per", "month"),
        }
    if "divide_by" in given or "divided_unit" in given:
        document["convert"] = {
            "divide_by": _TIDY.sub("", given.get("divide_by", "")) or None,
            "unit": given.get("divided_unit"),
        }
    rows = [
        number
        for number in range(TIER_ROWS_MOST)
        if any(f"tier-{number}-{part}" in given for part in _TIER_PARTS)
    ]
    if model in {"graduated", "volume"}:
        document["tiers"] = [_tier(given, number) for number in rows]
    return TypedPrice(document, tuple(rows))


def _tier(given: Mapping[str, str], number: int) -> dict[str, Any]:
    tier: dict[str, Any] = {"up_to": None}
    for part in _TIER_PARTS:
        if f"tier-{number}-{part}" in given:
            tier[part] = _TIDY.sub("", given[f"tier-{number}-{part}"])
    return tier


_FIELD_OF = {
    "included/quantity": "included_quantity",
    "included/per": "included_per",
    "convert/divide_by": "divide_by",
    "convert/unit": "divided_unit",
    "tiers": "tier-0-unit_price",
    "": "model",
}


def at_fields(
    form: Form,
    refusal: Refusal,
    *,
    at: str,
    whole: str,
    rows: tuple[int, ...] = (),
    prefix: str = "",
) -> Form:
    """Put each fault of a tariff to its field; what is elsewhere is told on the whole."""
    found: dict[str, str] = {}
    for fault in refusal.errors:
        inside = fault.pointer.removeprefix(at).lstrip("/")
        name = _FIELD_OF.get(inside, inside.partition("/")[0])
        tier = re.fullmatch(r"tiers/(\d+)/(\w+)", inside)
        if tier is not None and int(tier[1]) < len(rows):
            name = f"tier-{rows[int(tier[1])]}-{tier[2]}"
        name = prefix + name if fault.pointer.startswith(at) else ""
        found.setdefault(name, fault.detail)
    return Form(form.values, {**form.errors, **(found or {whole: refusal.detail})})


def _dimension_words(meter: MeterRow) -> str:
    parts = [
        f"{name} ({', '.join(about['values'])})" if about.get("values") else name
        for name, about in sorted(meter.dimensions.items())
    ]
    return f"{meter.code}: {', '.join(parts)}"
