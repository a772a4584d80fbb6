"""Short makers for rating tests."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.rating.engine import rate_month
from billing.rating.model import Agreement, Charge, DatedTariff, RatingResult, Usage
from billing.tariffs.model import Price, Tariff, parse_prices, parse_tariff
from metering.periods import Month

JUNE = Month(2026, 6)


def tariff(
    *prices: Mapping[str, Any], version: str = "2026-04", starts: str = "2026-04-01", **more: Any
) -> Tariff:
    """A tariff `t`; prices count meter `m` unless they say otherwise."""
    return parse_tariff(
        {
            "tariff": "t",
            "version": version,
            "effective_from": starts,
            "vat": "standard",
            "prices": [{"meter": "m"} | dict(price) for price in prices],
        }
        | more
    )


def prices(*found: Mapping[str, Any]) -> tuple[Price, ...]:
    return parse_prices([{"meter": "m"} | dict(price) for price in found])


def per_unit(unit_price: str, **more: Any) -> dict[str, Any]:
    return {"model": "per-unit", "unit_price": unit_price} | more


def tiers(*found: tuple[str | None, str], **more: Any) -> dict[str, Any]:
    """A graduated price from (up to, unit price) pairs."""
    steps = [{"up_to": up_to, "unit_price": unit_price} for up_to, unit_price in found]
    return {"model": "graduated", "tiers": steps} | more


def used(
    account: str, quantity: str | Decimal, *, day: int = 1, month: Month = JUNE, **more: Any
) -> Usage:
    dimensions = tuple(sorted(more.pop("where", {}).items()))
    return Usage(
        account=account,
        meter=more.pop("meter", "m"),
        quantity=Decimal(quantity),
        day=date(month.year, month.month, day),
        dimensions=dimensions,
        **more,
    )


def agreed(account: str, **more: Any) -> Agreement:
    starts_on = more.pop("starts_on", date(2026, 4, 1))
    return Agreement(account, more.pop("tariff", "t"), starts_on, **more)


def rate(
    tariffs: Tariff | Iterable[DatedTariff | Tariff],
    *usage: Usage,
    month: Month = JUNE,
    agreements: Iterable[Agreement] | None = None,
    **more: Any,
) -> RatingResult:
    """Rate with one whole agreement for each account that uses something."""
    if agreements is None:
        agreements = [agreed(account) for account in sorted({item.account for item in usage})]
    versions = [tariffs] if isinstance(tariffs, Tariff) else list(tariffs)
    return rate_month(month=month, tariffs=versions, agreements=agreements, usage=usage, **more)


def amounts(result: RatingResult) -> list[str]:
    return [str(charge.amount) for charge in result.charges]


def only(result: RatingResult) -> Charge:
    assert result.parked == ()
    (charge,) = result.charges
    return charge


def exact_sum(result: RatingResult) -> Fraction:
    return sum((Fraction(charge.exact) for charge in result.charges), Fraction())
