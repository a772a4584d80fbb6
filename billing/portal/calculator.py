"""The calculator: supposed usage through the same rating as invoices. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from billing.forms import Form
from billing.money import plain
from billing.rating.estimate import UsageRefused, estimate
from billing.tariffs.model import slot_of
from billing.tariffs.terms import Price, Tariff
from metering.periods import LONDON, Month

OTHERS = "OTHERS"
"""Stands for all other members of the national pool together."""


@dataclass(frozen=True)
class Estimate:
    """What supposed usage comes to.

    Attributes:
        document: see `rating.estimate.estimate`; charges of the account alone.
        others: what the other members of the pool were taken to use, by price key.
    """

    document: Mapping[str, Any]
    total: Decimal
    others: Mapping[str, Decimal]


def asked_prices(tariff: Tariff) -> tuple[tuple[str, Price], ...]:
    """Return the prices for which a quantity is asked, each with its field's name."""
    return tuple(
        (f"q{number}", price)
        for number, price in enumerate(tariff.prices)
        if price.meter is not None and price.model != "flat"
    )


def work_out(
    tariff: Tariff,
    *,
    code: str,
    typed: Mapping[str, str],
    month: Month,
    others: Mapping[str, Decimal],
) -> tuple[Form, Estimate | None]:
    """Read quantities and rate them; the form keeps what was typed.

    Args:
        code: ODS code of the account.
        typed: quantities by field of `asked_prices`; thousands may be marked by commas.
        others: what the other members of the pool use, by price key, as metered.

    Returns:
        The form, with a message for each quantity that cannot be read, and the estimate.
    """
    asked = asked_prices(tariff)
    values = {name: typed.get(name, "").strip() for name, _ in asked}
    if not any(name in typed for name, _ in asked):
        return Form(values), None
    rows: list[dict[str, Any]] = []
    fields: list[str] = []
    for name, price in asked:
        text = values[name].replace(",", "").replace(" ", "")
        if text:
            rows.append(_row(code, tariff, price, text, month))
            fields.append(name)
    if not rows:
        return Form(values).with_error("Enter at least one quantity.", name=asked[0][0]), None
    used = {key: quantity for key, quantity in others.items() if quantity > 0}
    for _, price in asked:
        if price.scope == "pool" and price.key in used:
            rows.append(_row(OTHERS, tariff, price, plain(used[price.key]), month))
    try:
        document = estimate(tariff, rows, month=month)
    except UsageRefused as refusal:
        form = Form(values)
        for fault in refusal.errors:
            number = int(fault.pointer.split("/")[1])
            if number < len(fields):
                words = f"Enter a number, for example 1200. {fault.detail}"
                form = form.with_error(words, name=fields[number])
        return form, None
    own = [charge for charge in document["charges"] if charge["organisation"] == code]
    total = sum((Decimal(charge["amount"]) for charge in own), Decimal("0.00"))
    return Form(values), Estimate({**document, "charges": own}, total, used)


def _row(code: str, tariff: Tariff, price: Price, quantity: str, month: Month) -> dict[str, Any]:
    row: dict[str, Any] = {
        "organisation": code,
        "meter": price.meter,
        "quantity": quantity,
        "dimensions": dict(price.where),
    }
    if price.band is not None:
        row["at"] = _hour_in_band(tariff, price.band, month).isoformat()
    return row


def _hour_in_band(tariff: Tariff, band: str, month: Month) -> datetime:
    """Return the first hour of the month that falls in a band."""
    slots = tariff.band_slots[band]
    for day in month.days():
        for hour in range(24):
            if slot_of(day, hour) in slots:
                return datetime.combine(day, time(hour), tzinfo=LONDON)
    raise ValueError(f"the band {band} has no hour in {month}")
