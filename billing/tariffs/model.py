"""The tariff's public face: its frozen terms, how they are read, checked and compared.

Pure. `parse_tariff` reads a document, `to_document` writes it back, and
`diff_tariffs` says in words what changes from one version to the next.
"""

from billing.tariffs.bands import Band, slot_of
from billing.tariffs.checks import meter_faults
from billing.tariffs.differences import diff_tariffs
from billing.tariffs.parsing import TariffRefused, parse_prices, parse_tariff
from billing.tariffs.terms import (
    Conversion,
    Included,
    Model,
    Price,
    Scope,
    Span,
    Tariff,
    Tier,
    VatTreatment,
    price_document,
    to_document,
)

__all__ = [
    "Band",
    "Conversion",
    "Included",
    "Model",
    "Price",
    "Scope",
    "Span",
    "Tariff",
    "TariffRefused",
    "Tier",
    "VatTreatment",
    "diff_tariffs",
    "meter_faults",
    "parse_prices",
    "parse_tariff",
    "price_document",
    "slot_of",
    "to_document",
]
