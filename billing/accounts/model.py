"""Rules of a payer that need no database: which VAT treatment, which purchase order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

TREATMENTS = ("standard", "zero", "exempt", "outside-scope")


@dataclass(frozen=True, kw_only=True)
class VatTreatment:
    """How supplies to one account are taxed on London dates `[starts_on, ends_on)`.

    Attributes:
        tariff_code: the service it is for, None for every service.
        reason: why no VAT is charged, as printed; may be empty for standard.
    """

    treatment: str
    reason: str
    starts_on: date
    ends_on: date | None = None
    tariff_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """A purchase order to quote on London dates `[starts_on, ends_on)`.

    Attributes:
        value: pounds without VAT that it covers, None for no stated end.
        hold_when_spent: an invoice that goes beyond the value waits for a person.
    """

    number: str
    starts_on: date
    ends_on: date | None = None
    tariff_code: str | None = None
    value: Decimal | None = None
    hold_when_spent: bool = False
    id: str = ""


# What is printed when the tariff itself says that no VAT is charged, and gives no reason.
TARIFF_REASONS = {
    "standard": "",
    "zero": "VAT Act 1994, Schedule 8",
    "exempt": "VAT Act 1994, Schedule 9",
    "outside-scope": "not a taxable supply",
}


def treatment_for(
    treatments: Iterable[VatTreatment],
    *,
    tariff_code: str,
    tariff_vat: str,
    day: date,
    tariff_reason: str | None = None,
) -> VatTreatment:
    """Return what applies to a supply made on `day`.

    The account's treatment for that service comes first, then the account's for every
    service, then the tariff's own.
    """
    found = [
        item
        for item in treatments
        if covers(item.starts_on, item.ends_on, day) and item.tariff_code in (tariff_code, None)
    ]
    found.sort(key=lambda item: item.tariff_code is None)
    if found:
        return found[0]
    return VatTreatment(
        treatment=tariff_vat,
        reason=tariff_reason or TARIFF_REASONS[tariff_vat],
        starts_on=day,
        tariff_code=None,
    )


def order_for(orders: Iterable[Order], *, tariff_codes: Iterable[str], day: date) -> Order | None:
    """Return the purchase order that an invoice for these services quotes on `day`.

    An order for one service is quoted only when the invoice is for that service alone;
    otherwise the order for every service is. Of several the one that began last.
    """
    codes = set(tariff_codes)
    only = next(iter(codes)) if len(codes) == 1 else None
    found = [
        order
        for order in orders
        if covers(order.starts_on, order.ends_on, day)
        and (order.tariff_code is None or order.tariff_code == only)
    ]
    if not found:
        return None
    return max(found, key=lambda order: (order.tariff_code is not None, order.starts_on))


def covers(starts_on: date, ends_on: date | None, day: date) -> bool:
    """Say whether the half-open span of London dates holds `day`."""
    return starts_on <= day and (ends_on is None or day < ends_on)
