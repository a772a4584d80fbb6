"""What the price list and the calculator show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from billing.accounts.terms import terms_words
from billing.forms import Form
from billing.money import show_pounds
from billing.portal.account import OpenAccount
from billing.portal.calculator import Estimate, asked_prices
from billing.portal.parts import Figure
from billing.portal.price_queries import PricedService
from billing.portal.price_words import price_notes, price_words
from billing.portal.words import show_dimensions, show_number, show_treatment
from billing.tariffs.model import parse_prices
from billing.tariffs.terms import Price, Tariff
from metering.meters.model import plural_of
from metering.periods import Month, show_date


@dataclass(frozen=True)
class PriceView:
    """One price in words."""

    label: str
    what: str
    charges: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ServiceView:
    """The prices of one service."""

    anchor: str
    name: str
    is_own: bool
    facts: tuple[tuple[str, str], ...]
    prices: tuple[PriceView, ...]
    calculator_href: str


@dataclass(frozen=True)
class PricesPage:
    """Every price in force."""

    account: OpenAccount
    day: str
    services: tuple[ServiceView, ...]


@dataclass(frozen=True)
class QuantityField:
    """One quantity that the calculator asks for."""

    name: str
    label: str
    unit: str
    hint: str


@dataclass(frozen=True)
class EstimatedCharge:
    """What one price comes to, with its working in words."""

    label: str
    amount: str
    working: tuple[str, ...]


@dataclass(frozen=True)
class CalculatorPage:
    """The calculator of one service."""

    account: OpenAccount
    service: str
    month: str
    form: Form
    fields: tuple[QuantityField, ...]
    figures: tuple[Figure, ...]
    charges: tuple[EstimatedCharge, ...]
    assumptions: tuple[str, ...]
    path: str
    prices_path: str


def prices_page(
    *,
    account: OpenAccount,
    path: str,
    day: str,
    found: Sequence[PricedService],
    units: Mapping[str, tuple[str, str]],
) -> PricesPage:
    """Return the price list in force."""
    return PricesPage(account, day, tuple(_service(each, path, units) for each in found))


def _with_local(tariff: Tariff, terms: Mapping[str, Any]) -> tuple[Price, ...]:
    """Return the prices that an account pays: local ones stand in for those of the same key."""
    if not terms.get("prices"):
        return tariff.prices
    local = {price.key: price for price in parse_prices(terms["prices"], bands=tariff.bands)}
    standing = tuple(local.pop(price.key, price) for price in tariff.prices)
    return (*standing, *local.values())


def _service(found: PricedService, path: str, units: Mapping[str, tuple[str, str]]) -> ServiceView:
    tariff = found.version.tariff
    facts = [
        ("In force", f"From {show_date(tariff.effective_from)}, version {tariff.version}"),
        ("VAT", show_treatment(tariff.vat, None)),
    ]
    if found.next_from is not None:
        facts.append(("New prices", f"Approved, from {show_date(found.next_from)}"))
    if found.agreement is None:
        facts.append(("Your agreement", "You are not on these prices"))
    else:
        words = f"Since {show_date(found.agreement.starts_on)}"
        if not found.agreement.pooled:
            words += ", outside the national pool"
        facts.append(("Your agreement", words))
    prices = tariff.prices
    if found.local is not None:
        row = found.local
        until = (
            "" if row.ends_on is None else f" until {show_date(row.ends_on - timedelta(days=1))}"
        )
        whose = "" if row.group_code is None else f", with every member of {row.group_code}"
        words = f"{terms_words(row.terms)}, from {show_date(row.starts_on)}{until}{whose}"
        facts.append(("Your local terms", words))
        prices = _with_local(tariff, row.terms)
    return ServiceView(
        anchor=tariff.code,
        name=found.name,
        is_own=found.agreement is not None,
        facts=tuple(facts),
        prices=tuple(
            PriceView(
                price.label, _what(price, units), price_words(price), price_notes(price, tariff)
            )
            for price in prices
        ),
        calculator_href=f"{path}/{quote(tariff.code)}" if asked_prices(tariff) else "",
    )


def _what(price: Price, units: Mapping[str, tuple[str, str]]) -> str:
    if price.meter is None:
        return ""
    unit = (
        price.convert.unit if price.convert else price.unit or units.get(price.meter, ("", ""))[1]
    )
    return f"Counted in {plural_of(unit)}" if unit else ""


def calculator_page(
    *,
    account: OpenAccount,
    prices_path: str,
    found: PricedService,
    form: Form,
    worked_out: Estimate | None,
    units: Mapping[str, tuple[str, str]],
    month: Month,
    pool_month: Month,
) -> CalculatorPage:
    """Return the calculator, with what was worked out where something was asked."""
    tariff = found.version.tariff
    labels = {price.key: price.label for price in tariff.prices}
    assumptions = [f"At the prices in force in {month.name}, without VAT."]
    if worked_out is not None:
        assumptions += [
            f"{labels[key]}: the other members of the national pool use {show_number(quantity)}, "
            f"as they did in {pool_month.name}."
            for key, quantity in worked_out.others.items()
        ]
    if any(price.scope == "pool" for price in tariff.prices) and not (
        worked_out is not None and worked_out.others
    ):
        assumptions.append(
            "Nobody else uses the national pool; with others in it you would pay less."
        )
    if found.local is not None:
        assumptions.append("Your local terms are left out.")
    charges = worked_out.document["charges"] if worked_out is not None else ()
    return CalculatorPage(
        account=account,
        service=found.name,
        month=month.name,
        form=form,
        fields=tuple(
            QuantityField(
                name,
                price.label,
                units.get(price.meter or "", ("", ""))[1],
                show_dimensions(dict(price.where)),
            )
            for name, price in asked_prices(tariff)
        ),
        figures=(
            Figure("A month would cost", show_pounds(worked_out.total), "Without VAT", "success"),
        )
        if worked_out is not None
        else (),
        charges=tuple(
            EstimatedCharge(
                labels.get(charge["price"], charge["price"]),
                show_pounds(Decimal(charge["amount"])),
                tuple(step["text"] for step in charge["working"] if step.get("text")),
            )
            for charge in charges
        ),
        assumptions=tuple(assumptions),
        path=f"{prices_path}/{quote(tariff.code)}",
        prices_path=prices_path,
    )
