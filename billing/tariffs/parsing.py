"""Reading a tariff document: every fault found at once, each with a JSON pointer."""

from collections.abc import Mapping
from dataclasses import fields as fields_of
from decimal import Decimal
from typing import Any

from billing.tariffs.bands import Band
from billing.tariffs.checks import price_faults, tie_faults
from billing.tariffs.reading import CODE, NAME, Fields, escape
from billing.tariffs.terms import (
    MODELS,
    SCOPES,
    SPANS,
    VAT_TREATMENTS,
    Conversion,
    Included,
    Price,
    Tariff,
    Tier,
    derive_key,
    derive_label,
)
from metering.kit.errors import FieldError, Invalid
from metering.kit.nhs_number import holds_nhs_number

_PRICE_FIELDS = frozenset(field.name for field in fields_of(Price))
_TARIFF_FIELDS = frozenset(
    [
        "tariff",
        "version",
        "name",
        "effective_from",
        "vat",
        "vat_reason",
        "cos_heading",
        "bands",
        "prices",
    ]
)
_MODEL_FIELDS: dict[str, tuple[str, ...]] = {
    "per-unit": ("unit_price",),
    "graduated": ("tiers",),
    "volume": ("tiers",),
    "package": ("package_size", "package_price"),
    "flat": ("amount",),
    "percentage": ("percent",),
}
_OWN_FIELDS = frozenset(name for names in _MODEL_FIELDS.values() for name in names)
QUANTITY_PLACES = 9
PRICE_PLACES = 12


class TariffRefused(Invalid):
    """A tariff file breaks a rule; `errors` lists every fault by JSON pointer."""

    code = "tariff-invalid"
    title = "The tariff breaks a rule"


def parse_tariff(document: object) -> Tariff:
    """Read a tariff document (DESIGN §5) as loaded from YAML or JSON.

    Money, quantities and percentages are strings (whole numbers may be bare).
    Beyond the design's fields a price may give `key`, `label`, `unit` and
    `convert: {divide_by, unit}`, and a tariff `name`.

    Raises:
        TariffRefused: with every fault found, not only the first.
    """
    reader = _Reader()
    tariff = reader.tariff(document)
    if reader.faults or tariff is None:
        raise _refusal(reader.faults)
    return tariff


def parse_prices(items: object, *, bands: tuple[Band, ...] = ()) -> tuple[Price, ...]:
    """Read a bare list of prices, as a local agreement gives them.

    Raises:
        TariffRefused: with every fault found.
    """
    reader = _Reader()
    prices = reader.prices(items, "", bands)
    if reader.faults:
        raise _refusal(reader.faults)
    return prices


def _refusal(faults: list[FieldError]) -> TariffRefused:
    count = len(faults)
    things = "thing needs" if count == 1 else "things need"
    return TariffRefused(f"{count} {things} putting right in the tariff", errors=tuple(faults))


class _Reader(Fields):
    """Reads tariffs and prices; a faulty one reads as None."""

    # Whole documents

    def tariff(self, document: object) -> Tariff | None:
        """Read a whole tariff."""
        fields = self.mapping(document, "", _TARIFF_FIELDS)
        if fields is None:
            return None
        code = self.text(fields, "tariff", "", pattern=CODE)
        version = self.text(fields, "version", "", pattern=NAME)
        effective_from = self.day(fields, "effective_from")
        vat = self.choice(fields, "vat", "", VAT_TREATMENTS)
        bands = self.bands(fields.get("bands"))
        prices = self.prices(fields.get("prices"), "/prices", bands)
        heading = self.text(fields, "cos_heading", "", required=False)
        name = self.text(fields, "name", "", required=False)
        if code is None or version is None or effective_from is None or vat is None:
            return None
        reason = self.text(fields, "vat_reason", "", required=False)
        if reason is not None and vat == "standard":
            self.fault("/vat_reason", "not-for-vat", "A reason says why no VAT is charged.")
        return Tariff(code, version, effective_from, vat, prices, bands, heading, name, reason)

    def bands(self, found: object) -> tuple[Band, ...]:
        """Read the bands by name."""
        if found is None:
            return ()
        if not isinstance(found, Mapping):
            self.fault("/bands", "not-an-object", "Bands are names, each with hours.")
            return ()
        bands = []
        for name, text in found.items():
            pointer = f"/bands/{escape(str(name))}"
            if not isinstance(name, str) or not CODE.fullmatch(name):
                self.fault(pointer, "bad-name", "A band's name is lower-case words and hyphens.")
            elif not isinstance(text, str):
                self.fault(pointer, "not-text", 'Write a band as "Mon-Fri 08:00-18:00".')
            else:
                try:
                    bands.append(Band.parse(name, text))
                except ValueError as error:
                    self.fault(pointer, "bad-band", f"{error}.")
        return tuple(bands)

    def prices(self, items: object, pointer: str, bands: tuple[Band, ...]) -> tuple[Price, ...]:
        """Read a list of prices, and check them together."""
        if not isinstance(items, list) or not items:
            self.fault(pointer, "required", "A tariff needs a list of at least one price.")
            return ()
        found = [
            (f"{pointer}/{index}", self.price(item, f"{pointer}/{index}", bands))
            for index, item in enumerate(items)
        ]
        prices = [(place, price) for place, price in found if price is not None]
        self.faults.extend(tie_faults(prices, bands))
        return tuple(price for _, price in prices)

    def price(self, item: object, at: str, bands: tuple[Band, ...]) -> Price | None:
        """Read one price, and check it."""
        before = len(self.faults)
        fields = self.mapping(item, at, _PRICE_FIELDS)
        if fields is None:
            return None
        model = self.choice(fields, "model", at, MODELS)
        if model is not None:
            self.fits_model(fields, at, model)
        meter = self.text(fields, "meter", at, required=model != "flat", pattern=NAME)
        where = self.where(fields.get("where"), f"{at}/where")
        band = self.text(fields, "band", at, required=False)
        if band is not None and band not in {known.name for known in bands}:
            self.fault(f"{at}/band", "unknown-band", f"The tariff has no band '{band}'.")
        scope = self.choice(fields, "scope", at, SCOPES, default="own")
        resets = self.choice(fields, "resets", at, SPANS, default="month")
        key = self.text(fields, "key", at, required=False)
        label = self.text(fields, "label", at, required=False)
        unit = self.text(fields, "unit", at, required=False)
        numbers: dict[str, Any] = {
            "unit_price": self.number(fields, "unit_price", at, PRICE_PLACES),
            "package_size": self.number(fields, "package_size", at, QUANTITY_PLACES, above=True),
            "package_price": self.number(fields, "package_price", at, PRICE_PLACES),
            "amount": self.number(fields, "amount", at, PRICE_PLACES),
            "percent": self.number(fields, "percent", at, PRICE_PLACES),
            "discount_percent": self.number(
                fields, "discount_percent", at, 6, at_most=Decimal(100)
            ),
            "minimum": self.number(fields, "minimum", at, 2),
            "maximum": self.number(fields, "maximum", at, 2),
        }
        tiers = self.tiers(fields.get("tiers"), f"{at}/tiers")
        included = self.included(fields.get("included"), f"{at}/included")
        convert = self.convert(fields.get("convert"), f"{at}/convert")
        if len(self.faults) > before or model is None or scope is None or resets is None:
            return None
        names: dict[str, Any] = {"meter": meter, "where": where, "band": band, "model": model}
        price = Price(
            key=key or derive_key(**names),
            label=label or derive_label(**names),
            scope=scope,
            resets=resets,
            unit=unit,
            convert=convert,
            tiers=tiers,
            included=included,
            **names,
            **numbers,
        )
        self.faults.extend(price_faults(price, at))
        return price

    # Parts of a price

    def fits_model(self, fields: Mapping[str, object], at: str, model: str) -> None:
        """Check that the fields are those of the price's model."""
        wanted = _MODEL_FIELDS[model]
        for name in wanted:
            if fields.get(name) is None:
                self.fault(f"{at}/{name}", "required", f"A {model} price needs '{name}'.")
        for name in sorted(_OWN_FIELDS - set(wanted)):
            if fields.get(name) is not None:
                self.fault(f"{at}/{name}", "not-for-model", f"A {model} price has no '{name}'.")

    def where(self, found: object, pointer: str) -> tuple[tuple[str, str], ...]:
        """Read dimension values, sorted by name."""
        if found is None:
            return ()
        if not isinstance(found, Mapping):
            self.fault(pointer, "not-an-object", "'where' is dimensions, each with one value.")
            return ()
        pairs = []
        for name, value in found.items():
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if not isinstance(name, str) or not isinstance(value, str) or not name or not value:
                self.fault(
                    f"{pointer}/{escape(str(name))}", "not-text", "A dimension's value is text."
                )
            elif holds_nhs_number(name) or holds_nhs_number(value):
                self.fault(pointer, "nhs-number", "'where' holds an NHS number. Take it out.")
            else:
                pairs.append((name, value))
        return tuple(sorted(pairs))

    def tiers(self, found: object, pointer: str) -> tuple[Tier, ...]:
        """Read tiers; bounds rise, and only the last may have no end."""
        if found is None:
            return ()
        if not isinstance(found, list) or not found:
            self.fault(pointer, "not-a-list", "Tiers are a list of at least one tier.")
            return ()
        tiers = []
        last = Decimal(0)
        for index, item in enumerate(found):
            at = f"{pointer}/{index}"
            fields = self.mapping(item, at, frozenset({"up_to", "unit_price", "flat"}))
            if fields is None:
                continue
            if "up_to" not in fields:
                self.fault(f"{at}/up_to", "required", "Say where the tier ends; null means no end.")
            up_to = self.number(fields, "up_to", at, QUANTITY_PLACES, above=True)
            if fields.get("unit_price") is None:
                self.fault(f"{at}/unit_price", "required", "A tier needs a unit price.")
            unit_price = self.number(fields, "unit_price", at, PRICE_PLACES)
            flat = self.number(fields, "flat", at, PRICE_PLACES)
            if fields.get("up_to", "") is None and index < len(found) - 1:
                self.fault(f"{at}/up_to", "not-last", "Only the last tier may have no end.")
            if up_to is not None:
                if up_to <= last:
                    self.fault(
                        f"{at}/up_to", "not-rising", "Each tier ends above the one before it."
                    )
                last = up_to
            if unit_price is not None:
                tiers.append(Tier(up_to, unit_price, flat or Decimal(0)))
        return tuple(tiers)

    def included(self, found: object, pointer: str) -> Included | None:
        """Read an included quantity."""
        if found is None:
            return None
        fields = self.mapping(found, pointer, frozenset({"quantity", "per"}))
        if fields is None:
            return None
        if fields.get("quantity") is None:
            self.fault(f"{pointer}/quantity", "required", "Say how much is included.")
        quantity = self.number(fields, "quantity", pointer, QUANTITY_PLACES)
        per = self.choice(fields, "per", pointer, SPANS, default="month")
        return None if quantity is None or per is None else Included(quantity, per)

    def convert(self, found: object, pointer: str) -> Conversion | None:
        """Read a conversion."""
        if found is None:
            return None
        fields = self.mapping(found, pointer, frozenset({"divide_by", "unit"}))
        if fields is None:
            return None
        if fields.get("divide_by") is None:
            self.fault(f"{pointer}/divide_by", "required", "Say by what to divide.")
        divide_by = self.number(fields, "divide_by", pointer, QUANTITY_PLACES, above=True)
        unit = self.text(fields, "unit", pointer)
        return None if divide_by is None or unit is None else Conversion(divide_by, unit)
