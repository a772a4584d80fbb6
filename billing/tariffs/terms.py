"""What a tariff version promises: frozen, exact, and free of any service.

Quantities are decimals of the meter's unit (of the converted unit where a price
converts); prices and amounts are pounds. DESIGN §5 is the source of the format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Literal

from billing.money import plain
from billing.tariffs.bands import Band

Model = Literal["per-unit", "graduated", "volume", "package", "flat", "percentage"]
Scope = Literal["own", "group", "pool"]
Span = Literal["month", "financial-year"]
VatTreatment = Literal["standard", "zero", "exempt", "outside-scope"]

MODELS: tuple[Model, ...] = ("per-unit", "graduated", "volume", "package", "flat", "percentage")
SCOPES: tuple[Scope, ...] = ("own", "group", "pool")
SPANS: tuple[Span, ...] = ("month", "financial-year")
VAT_TREATMENTS: tuple[VatTreatment, ...] = ("standard", "zero", "exempt", "outside-scope")


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a graduated or volume price.

    Attributes:
        up_to: the last quantity in the tier (inclusive); None for no end.
        unit_price: pounds for each unit in the tier.
        flat: pounds, once, when any quantity falls in the tier.
    """

    up_to: Decimal | None
    unit_price: Decimal
    flat: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Included:
    """A quantity that costs nothing, taken first; always the account's own, never pooled."""

    quantity: Decimal
    per: Span = "month"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A metered quantity is divided by `divide_by` before it is priced, and is then in `unit`."""

    divide_by: Decimal
    unit: str


@dataclass(frozen=True)
class Price:
    """One priced promise of a tariff version.

    Attributes:
        key: stable name within the tariff; the same key in the next version is the
            same promise, so tiers and included quantity continue over the change.
        label: how it is printed on an invoice.
        meter: what is counted; None only for a `flat` price that covers no meter.
        where: dimension values, sorted by name, that usage must have.
        band: name of a band in which usage must fall; None for any hour.
        unit_price: pounds a unit (`per-unit`).
        tiers: `graduated` and `volume`.
        package_size, package_price: units and pounds of a package; started ones count.
        amount: pounds a month (`flat`).
        percent: of the metered value (`percentage`).
        discount_percent: 0 to 100, off the priced amount.
        minimum, maximum: pounds a month; a minimum is for own scope only.
        resets: when tiers and packages begin again.
    """

    key: str
    label: str
    model: Model
    meter: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    band: str | None = None
    scope: Scope = "own"
    unit: str | None = None
    convert: Conversion | None = None
    unit_price: Decimal | None = None
    tiers: tuple[Tier, ...] = ()
    package_size: Decimal | None = None
    package_price: Decimal | None = None
    amount: Decimal | None = None
    percent: Decimal | None = None
    included: Included | None = None
    discount_percent: Decimal | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    resets: Span = "month"

    @property
    def shared(self) -> bool:
        """Whether tiers are walked on the joint quantity of several accounts."""
        return self.scope != "own"

    @property
    def conditions(self) -> int:
        """How specific the price is: one for each dimension, one for a band."""
        return len(self.where) + (self.band is not None)

    def matches(self, dimensions: Mapping[str, str]) -> bool:
        """Say whether usage with these dimensions falls under `where`."""
        return all(dimensions.get(name) == value for name, value in self.where)


@dataclass(frozen=True)
class Tariff:
    """One version of one service's tariff, in force from the London midnight of a day."""

    code: str
    version: str
    effective_from: date
    vat: VatTreatment
    prices: tuple[Price, ...]
    bands: tuple[Band, ...] = ()
    cos_heading: str | None = None
    name: str | None = None
    vat_reason: str | None = None

    @cached_property
    def band_slots(self) -> dict[str, frozenset[int]]:
        """Hours of the week of each band, by name."""
        return {band.name: band.slots for band in self.bands}

    @cached_property
    def meters(self) -> frozenset[str]:
        """Every meter that some price names."""
        return frozenset(price.meter for price in self.prices if price.meter is not None)

    @cached_property
    def banded_meters(self) -> frozenset[str]:
        """Meters whose readings must be kept by the hour."""
        return frozenset(
            price.meter
            for price in self.prices
            if price.meter is not None and price.band is not None
        )

    def price(self, key: str) -> Price:
        """Return the price with this key.

        Raises:
            KeyError: there is none.
        """
        for price in self.prices:
            if price.key == key:
                return price
        raise KeyError(key)


def derive_key(
    *, meter: str | None, where: tuple[tuple[str, str], ...], band: str | None, model: str
) -> str:
    """Return the key of a price that gives none.

    >>> derive_key(meter="studies", where=(("modality", "CT"),), band="peak", model="graduated")
    'studies/modality=CT/peak/graduated'
    """
    parts = [meter or "monthly"]
    parts.extend(f"{name}={value}" for name, value in where)
    if band is not None:
        parts.append(band)
    return "/".join([*parts, model])


def derive_label(
    *, meter: str | None, where: tuple[tuple[str, str], ...], band: str | None, model: str
) -> str:
    """Return the printed name of a price that gives none.

    >>> derive_label(meter="studies-archived", where=(("modality", "CT"),), band="peak", model="x")
    'Studies archived, modality CT, peak'
    """
    if meter is None:
        return "Monthly charge"
    parts = [(meter[:1].upper() + meter[1:]).replace("-", " ").replace("_", " ")]
    parts.extend(f"{name} {value}" for name, value in where)
    if band is not None:
        parts.append(band)
    if model == "flat":
        parts.append("monthly charge")
    return ", ".join(parts)


def to_document(tariff: Tariff) -> dict[str, object]:
    """Return the tariff in the file format of DESIGN §5; `parse_tariff` reads it back equal.

    Fields at their default are left out, and so are derived keys and labels.
    """
    document: dict[str, object] = {"tariff": tariff.code, "version": tariff.version}
    if tariff.name is not None:
        document["name"] = tariff.name
    document["effective_from"] = tariff.effective_from.isoformat()
    document["vat"] = tariff.vat
    if tariff.vat_reason is not None:
        document["vat_reason"] = tariff.vat_reason
    if tariff.cos_heading is not None:
        document["cos_heading"] = tariff.cos_heading
    if tariff.bands:
        document["bands"] = {band.name: band.text for band in tariff.bands}
    document["prices"] = [price_document(price) for price in tariff.prices]
    return document


def price_document(price: Price) -> dict[str, object]:
    """Return one price in the file format."""
    written: dict[str, object] = {}
    meter, where, band, model = price.meter, price.where, price.band, price.model
    if price.key != derive_key(meter=meter, where=where, band=band, model=model):
        written["key"] = price.key
    if price.label != derive_label(meter=meter, where=where, band=band, model=model):
        written["label"] = price.label
    if price.meter is not None:
        written["meter"] = price.meter
    if price.where:
        written["where"] = dict(price.where)
    if price.band is not None:
        written["band"] = price.band
    written["model"] = price.model
    if price.scope != "own":
        written["scope"] = price.scope
    if price.unit is not None:
        written["unit"] = price.unit
    if price.convert is not None:
        written["convert"] = {
            "divide_by": plain(price.convert.divide_by),
            "unit": price.convert.unit,
        }
    if price.tiers:
        written["tiers"] = [_tier_document(tier) for tier in price.tiers]
    if price.included is not None:
        written["included"] = {
            "quantity": plain(price.included.quantity),
            "per": price.included.per,
        }
    for field in (
        "unit_price",
        "package_size",
        "package_price",
        "amount",
        "percent",
        "discount_percent",
        "minimum",
        "maximum",
    ):
        number = getattr(price, field)
        if number is not None:
            written[field] = plain(number)
    if price.resets != "month":
        written["resets"] = price.resets
    return written


def _tier_document(tier: Tier) -> dict[str, object]:
    written: dict[str, object] = {
        "up_to": None if tier.up_to is None else plain(tier.up_to),
        "unit_price": plain(tier.unit_price),
    }
    if tier.flat != 0:
        written["flat"] = plain(tier.flat)
    return written
