"""Which VAT rate belongs to a tax point. The sum itself is `billing.money.vat_on`.

Source: HM Revenue and Customs, VAT Notice 700 and its history of the standard rate.
"""

from datetime import date
from decimal import Decimal

from billing.tariffs.terms import VatTreatment

_STANDARD = (
    (date(1991, 4, 1), Decimal("17.5")),
    (date(2008, 12, 1), Decimal(15)),
    (date(2010, 1, 1), Decimal("17.5")),
    (date(2011, 1, 4), Decimal(20)),
)


def vat_rate_percent(treatment: VatTreatment, *, tax_point: date) -> Decimal:
    """Return the VAT rate in percent; nought unless the supply is standard rated.

    Raises:
        ValueError: the tax point lies before the rates that paygo knows.
    """
    if treatment != "standard":
        return Decimal(0)
    rates = [rate for start, rate in _STANDARD if start <= tax_point]
    if not rates:
        raise ValueError(f"paygo knows no VAT rate for {tax_point}")
    return rates[-1]
