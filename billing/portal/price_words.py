"""Prices in words that a finance officer can follow. Pure."""

from decimal import Decimal

from billing.portal.words import show_number, show_unit_price
from billing.tariffs.terms import Price, Tariff, Tier


def price_words(price: Price) -> tuple[str, ...]:
    """Return what a price charges, one sentence a tier."""
    if price.tiers:
        return tuple(
            _tier_words(price, tier, price.tiers[number - 1] if number else None)
            for number, tier in enumerate(price.tiers)
        )
    words = {
        "per-unit": lambda: f"{_pounds(price.unit_price)} each",
        "package": lambda: (
            f"{_pounds(price.package_price)} for each started {_number(price.package_size)}"
        ),
        "flat": lambda: f"{_pounds(price.amount)} a month",
        "percentage": lambda: f"{_number(price.percent)}% of the value",
    }
    return (words[price.model](),)


def _tier_words(price: Price, tier: Tier, before: Tier | None) -> str:
    above = before.up_to if before is not None else None
    if tier.up_to is None:
        reach = "Any quantity" if above is None else f"Above {_number(above)}"
    elif above is None:
        reach = f"Up to {_number(tier.up_to)}"
    else:
        reach = f"Above {_number(above)}, up to {_number(tier.up_to)}"
    flat = f" and {_pounds(tier.flat)} once" if tier.flat else ""
    every = " for every one of them" if price.model == "volume" else " each"
    return f"{reach}: {_pounds(tier.unit_price)}{every}{flat}"


def price_notes(price: Price, tariff: Tariff) -> tuple[str, ...]:
    """Return the conditions of a price, a sentence each."""
    notes = []
    if price.scope == "pool":
        notes.append("Tiers are reached by the national pool together, so everyone pays less.")
    elif price.scope == "group":
        notes.append("Tiers are reached by your group together.")
    if price.convert is not None:
        notes.append(
            f"Counted in {price.convert.unit}: what is metered, divided by "
            f"{_number(price.convert.divide_by)}."
        )
    if price.band is not None:
        text = next((band.text for band in tariff.bands if band.name == price.band), "")
        notes.append(f"For use in the band {price.band}: {text}.")
    if price.included is not None:
        span = "month" if price.included.per == "month" else "financial year"
        notes.append(f"The first {_number(price.included.quantity)} each {span} cost nothing.")
    if price.discount_percent:
        notes.append(f"Less {_number(price.discount_percent)}%.")
    if price.minimum is not None:
        notes.append(f"At least {_pounds(price.minimum)} a month.")
    if price.maximum is not None:
        notes.append(f"At most {_pounds(price.maximum)} a month.")
    if price.resets == "financial-year":
        notes.append("Tiers continue through the financial year, from April.")
    return tuple(notes)


def _pounds(amount: Decimal | None) -> str:
    return show_unit_price(amount or Decimal(0))


def _number(number: Decimal | None) -> str:
    return show_number(number or Decimal(0))
