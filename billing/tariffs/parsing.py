"""Reading a tariff document: every fault found at once, each with a JSON pointer."""

import re
from collections.abc import Mapping
from dataclasses import fields as fields_of
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from billing.money import plain
from billing.tariffs.bands import Band
from billing.tariffs.checks import price_faults, tie_faults
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

Choice = TypeVar("Choice", bound=str)

_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?", re.ASCII)
_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_PRICE_FIELDS = frozenset(field.name for field in fields_of(Price))
_TARIFF_FIELDS = frozenset(
    ["tariff", "version", "name", "effective_from", "vat", "cos_heading", "bands", "prices"]
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
WHOLE_DIGITS = 18


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


class _Reader:
    """Collects faults while it reads; a faulty value reads as None."""

    def __init__(self) -> None:
        self.faults: list[FieldError] = []

    def fault(self, pointer: str, code: str, detail: str) -> None:
        self.faults.append(FieldError(pointer, code, detail))

    # Whole documents

    def tariff(self, document: object) -> Tariff | None:
        fields = self.mapping(document, "", _TARIFF_FIELDS)
        if fields is None:
            return None
        code = self.text(fields, "tariff", "", pattern=_CODE)
        version = self.text(fields, "version", "", pattern=_NAME)
        effective_from = self.day(fields, "effective_from")
        vat = self.choice(fields, "vat", "", VAT_TREATMENTS)
        bands = self.bands(fields.get("bands"))
        prices = self.prices(fields.get("prices"), "/prices", bands)
        heading = self.text(fields, "cos_heading", "", required=False)
        name = self.text(fields, "name", "", required=False)
        if code is None or version is None or effective_from is None or vat is None:
            return None
        return Tariff(code, version, effective_from, vat, prices, bands, heading, name)

    def bands(self, found: object) -> tuple[Band, ...]:
        if found is None:
            return ()
        if not isinstance(found, Mapping):
            self.fault("/bands", "not-an-object", "Bands are names, each with hours.")
            return ()
        bands = []
        for name, text in found.items():
            pointer = f"/bands/{_escape(str(name))}"
            if not isinstance(name, str) or not _CODE.fullmatch(name):
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
        before = len(self.faults)
        fields = self.mapping(item, at, _PRICE_FIELDS)
        if fields is None:
            return None
        model = self.choice(fields, "model", at, MODELS)
        if model is not None:
            self.fits_model(fields, at, model)
        meter = self.text(fields, "meter", at, required=model != "flat", pattern=_NAME)
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
        wanted = _MODEL_FIELDS[model]
        for name in wanted:
            if fields.get(name) is None:
                self.fault(f"{at}/{name}", "required", f"A {model} price needs '{name}'.")
        for name in sorted(_OWN_FIELDS - set(wanted)):
            if fields.get(name) is not None:
                self.fault(f"{at}/{name}", "not-for-model", f"A {model} price has no '{name}'.")

    def where(self, found: object, pointer: str) -> tuple[tuple[str, str], ...]:
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
                    f"{pointer}/{_escape(str(name))}", "not-text", "A dimension's value is text."
                )
            else:
                pairs.append((name, value))
        return tuple(sorted(pairs))

    def tiers(self, found: object, pointer: str) -> tuple[Tier, ...]:
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

    # Single values

    def mapping(
        self, found: object, pointer: str, known: frozenset[str]
    ) -> Mapping[str, object] | None:
        if not isinstance(found, Mapping):
            self.fault(pointer, "not-an-object", "Here belongs an object with named fields.")
            return None
        for name in found:
            if name not in known:
                self.fault(
                    f"{pointer}/{_escape(str(name))}",
                    "unknown-field",
                    f"There is no field '{name}' here; known are {', '.join(sorted(known))}.",
                )
        return found

    def text(
        self,
        fields: Mapping[str, object],
        name: str,
        at: str,
        *,
        required: bool = True,
        pattern: re.Pattern[str] | None = None,
    ) -> str | None:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            if required:
                self.fault(f"{at}/{name}", "required", f"'{name}' is missing.")
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > 200:
            self.fault(f"{at}/{name}", "not-text", f"'{name}' is text of 1 to 200 characters.")
            return None
        if pattern is not None and not pattern.fullmatch(value):
            self.fault(
                f"{at}/{name}", "bad-name", f"'{value}' has characters that '{name}' may not have."
            )
            return None
        return value

    def choice(
        self,
        fields: Mapping[str, object],
        name: str,
        at: str,
        choices: tuple[Choice, ...],
        *,
        default: Choice | None = None,
    ) -> Choice | None:
        value = fields.get(name, default)
        for choice in choices:
            if value == choice:
                return choice
        code = "required" if value is None else "bad-choice"
        self.fault(f"{at}/{name}", code, f"'{name}' is one of {', '.join(choices)}.")
        return None

    def day(self, fields: Mapping[str, object], name: str) -> date | None:
        value = fields.get(name)
        try:
            if isinstance(value, str):
                return date.fromisoformat(value)
        except ValueError:
            pass
        code = "required" if value is None else "bad-date"
        self.fault(f"/{name}", code, f"'{name}' is a London date written YYYY-MM-DD.")
        return None

    def number(
        self,
        fields: Mapping[str, object],
        name: str,
        at: str,
        places: int,
        *,
        above: bool = False,
        at_most: Decimal | None = None,
    ) -> Decimal | None:
        value = fields.get(name)
        pointer = f"{at}/{name}"
        if value is None:
            return None
        if isinstance(value, Decimal | float):
            self.fault(
                pointer,
                "unquoted-number",
                f'Write the number in quotes, as "{value}", so that no digit of it is lost.',
            )
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        number: Decimal | None = None
        if isinstance(value, str) and _NUMBER.fullmatch(value) and len(value) <= 40:
            try:
                number = Decimal(value)
            except InvalidOperation:
                number = None
        if number is None:
            self.fault(pointer, "not-a-number", f"'{name}' is a plain number, such as \"0.25\".")
        elif number < 0 or (above and number == 0):
            floor = "above nought" if above else "nought or more"
            self.fault(pointer, "out-of-range", f"'{name}' is {floor}.")
        elif at_most is not None and number > at_most:
            self.fault(pointer, "out-of-range", f"'{name}' is at most {at_most}.")
        elif _places(number) > places:
            self.fault(pointer, "too-many-places", f"'{name}' has at most {places} places.")
        elif number >= Decimal(10) ** WHOLE_DIGITS:
            self.fault(pointer, "out-of-range", f"'{name}' has at most {WHOLE_DIGITS} digits.")
        else:
            return number
        return None


def _places(number: Decimal) -> int:
    _, dot, places = plain(number).partition(".")
    return len(places) if dot else 0


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
