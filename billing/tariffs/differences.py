"""What changes between two versions of a tariff, in words."""

from decimal import Decimal

from billing.money import plain
from billing.tariffs.terms import Price, Tariff, Tier
from metering.periods import show_date

_NUMBERS = (
    ("unit_price", "unit price", "£{}"),
    ("package_size", "package size", "{}"),
    ("package_price", "package price", "£{}"),
    ("amount", "monthly amount", "£{}"),
    ("percent", "percentage", "{}%"),
    ("discount_percent", "discount", "{}%"),
    ("minimum", "monthly minimum", "£{}"),
    ("maximum", "monthly maximum", "£{}"),
)
_WORDS = (
    ("label", "printed name"),
    ("model", "price model"),
    ("scope", "scope"),
    ("resets", "reset"),
    ("unit", "unit"),
    ("band", "band"),
    ("meter", "meter"),
)


def diff_tariffs(old: Tariff, new: Tariff) -> tuple[str, ...]:
    """Return one plain sentence for each change from `old` to `new`; none when equal in effect."""
    said: list[str] = []
    if old.effective_from != new.effective_from:
        said.append(
            f"In force from {show_date(new.effective_from)} (was {show_date(old.effective_from)})."
        )
    if old.vat != new.vat:
        said.append(f"VAT: {old.vat} becomes {new.vat}.")
    if old.vat_reason != new.vat_reason:
        said.append(
            f"Reason why no VAT is charged: {old.vat_reason or 'none given'} becomes "
            f"{new.vat_reason or 'none given'}."
        )
    if old.cos_heading != new.cos_heading:
        said.append(
            f"Contracted-out-services heading: {old.cos_heading or 'none'} becomes "
            f"{new.cos_heading or 'none'}."
        )
    if old.name != new.name:
        said.append(f"Name: {old.name or 'none'} becomes {new.name or 'none'}.")
    said.extend(_band_changes(old, new))
    before = {price.key: price for price in old.prices}
    after = {price.key: price for price in new.prices}
    for key, price in after.items():
        if key not in before:
            said.append(f"{price.label}: a new price, {describe_price(price)}.")
        else:
            said.extend(_price_changes(before[key], price))
    said.extend(
        f"{price.label}: withdrawn (was {describe_price(price)})."
        for key, price in before.items()
        if key not in after
    )
    return tuple(said)


def describe_price(price: Price) -> str:
    """Return the heart of a price in a few words, for example `£0.50 a unit, pooled nationally`."""
    words = {
        "per-unit": lambda: f"£{_show(price.unit_price)} a unit",
        "graduated": lambda: "graduated: " + "; ".join(_tier_words(price.tiers)),
        "volume": lambda: "all units at the tier reached: " + "; ".join(_tier_words(price.tiers)),
        "package": lambda: (
            f"£{_show(price.package_price)} for each started {_show(price.package_size)}"
        ),
        "flat": lambda: f"£{_show(price.amount)} a month",
        "percentage": lambda: f"{_show(price.percent)}% of the value",
    }[price.model]()
    scope = {"own": "", "group": ", shared in the group", "pool": ", pooled nationally"}
    return words + scope[price.scope]


def _show(number: Decimal | None) -> str:
    return "none" if number is None else plain(number)


def _tier_words(tiers: tuple[Tier, ...]) -> list[str]:
    words = []
    for tier in tiers:
        reach = "with no end" if tier.up_to is None else f"up to {plain(tier.up_to)}"
        flat = f" and £{plain(tier.flat)} once" if tier.flat else ""
        words.append(f"{reach} £{plain(tier.unit_price)}{flat}")
    return words


def _band_changes(old: Tariff, new: Tariff) -> list[str]:
    before = {band.name: band for band in old.bands}
    after = {band.name: band for band in new.bands}
    said = [f"Band {name}: new, {band.text}." for name, band in after.items() if name not in before]
    said += [
        f"Band {name}: {before[name].text} becomes {band.text}."
        for name, band in after.items()
        if name in before and before[name].slots != band.slots
    ]
    said += [f"Band {name}: withdrawn." for name in before if name not in after]
    return said


def _price_changes(old: Price, new: Price) -> list[str]:
    said = []
    for field, words in _WORDS:
        was, becomes = getattr(old, field), getattr(new, field)
        if was != becomes:
            said.append(f"{new.label}: {words} {was or 'none'} becomes {becomes or 'none'}.")
    if old.where != new.where:
        said.append(f"{new.label}: applies where {_where(new)} (was where {_where(old)}).")
    for field, words, form in _NUMBERS:
        was, becomes = getattr(old, field), getattr(new, field)
        if was != becomes:
            before = "none" if was is None else form.format(plain(was))
            after = "none" if becomes is None else form.format(plain(becomes))
            said.append(f"{new.label}: {words} {before} becomes {after}.")
    if old.tiers != new.tiers:
        said.append(
            f"{new.label}: tiers {'; '.join(_tier_words(old.tiers)) or 'none'} become "
            f"{'; '.join(_tier_words(new.tiers)) or 'none'}."
        )
    if old.included != new.included:
        said.append(f"{new.label}: included quantity {_included(old)} becomes {_included(new)}.")
    if old.convert != new.convert:
        said.append(f"{new.label}: conversion {_convert(old)} becomes {_convert(new)}.")
    return said


def _where(price: Price) -> str:
    return " and ".join(f"{name} is {value}" for name, value in price.where) or "anything is"


def _included(price: Price) -> str:
    if price.included is None:
        return "none"
    per = "month" if price.included.per == "month" else "financial year"
    return f"{plain(price.included.quantity)} a {per}"


def _convert(price: Price) -> str:
    if price.convert is None:
        return "none"
    return f"divide by {plain(price.convert.divide_by)} to {price.convert.unit}"
