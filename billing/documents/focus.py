"""Cost and usage in the columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification).

One row a line and one a VAT rate, so that `BilledCost` adds up to the total of
the document. On a credit note costs are negative, as FOCUS has corrections.

- `ListCost` is what the line would have cost alone, `ContractedCost` and
  `EffectiveCost` what it cost in the pool; for lines outside the pool all are equal.
- A unit price that tiers blend is the cost divided by the quantity, at 12 places:
  a ratio for comparison, from which nothing is computed.
- What FOCUS has no column for stands in columns that begin with `x_`.
"""

import json
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from billing.documents.sheet import Cell, write_sheet
from billing.invoices.model import Invoice, InvoiceKind, Line, LineKind, VatSummary
from billing.money import NOUGHT, PRECISION
from metering.periods import london_midnight

HEADER = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_ChargeId",
    "x_CosHeading",
    "x_CostCentre",
    "x_Dimensions",
    "x_LineNumber",
    "x_PoolSaving",
    "x_SubjectiveCode",
    "x_VatRatePercent",
    "x_VatTreatment",
)

_CATEGORIES: Mapping[LineKind, str] = {
    LineKind.USAGE: "Usage",
    LineKind.CORRECTION: "Usage",
    LineKind.FLAT: "Purchase",
    LineKind.MINIMUM: "Adjustment",
    LineKind.SHORTFALL: "Adjustment",
}
_PRICING: Mapping[LineKind, str | None] = {
    LineKind.USAGE: "Standard",
    LineKind.CORRECTION: "Standard",
    LineKind.FLAT: "Standard",
    LineKind.MINIMUM: None,
    LineKind.SHORTFALL: None,
}
_RATIO_PLACES = Decimal(1).scaleb(-12)
_OTHER = "Other"
_OTHER_SUBCATEGORY = "Other (Other)"


def focus_csv(invoice: Invoice) -> bytes:
    """Return the FOCUS rows of an invoice or credit note; of a draft without `InvoiceId`."""
    rows = [
        *(_line_row(invoice, line) for line in invoice.lines),
        *(_tax_row(invoice, summary) for summary in invoice.vat_summaries if summary.vat),
    ]
    return write_sheet(HEADER, ([row[name] for name in HEADER] for row in rows), for_people=False)


def _sign(invoice: Invoice) -> int:
    return -1 if invoice.kind is InvoiceKind.CREDIT_NOTE else 1


def _instant(day: date) -> str:
    """The UTC instant at which a London date begins, as FOCUS writes date and time."""
    return london_midnight(day).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shared(invoice: Invoice) -> dict[str, Cell]:
    """What all rows of a document have in common; every column is present."""
    return dict.fromkeys(HEADER) | {
        "BillingAccountId": invoice.account_id,
        "BillingAccountName": invoice.buyer.name,
        "BillingAccountType": "NHS organisation",
        "BillingCurrency": invoice.currency,
        "BillingPeriodEnd": _instant(invoice.month.end_day),
        "BillingPeriodStart": _instant(invoice.month.first_day),
        "InvoiceId": invoice.number,
        "InvoiceIssuerName": invoice.supplier.name,
        "PricingCurrency": invoice.currency,
        "ProviderName": invoice.supplier.name,
        "PublisherName": invoice.supplier.name,
        "ServiceCategory": _OTHER,
        "ServiceSubcategory": _OTHER_SUBCATEGORY,
        "SubAccountId": invoice.buyer.ods_code,
        "SubAccountName": invoice.buyer.name,
        "SubAccountType": "ODS code",
    }


def _line_row(invoice: Invoice, line: Line) -> dict[str, Cell]:
    sign = _sign(invoice)
    cost = sign * line.net
    listed = cost + sign * (line.pool_saving or NOUGHT)
    usage = _CATEGORIES[line.kind] == "Usage"
    quantity = sign * line.quantity if line.quantity else Decimal(sign)
    unit = line.unit if line.quantity else "charge"
    corrects = line.kind is LineKind.CORRECTION or invoice.kind is InvoiceKind.CREDIT_NOTE
    tags = {"cost_centre": line.cost_centre, "subjective_code": line.subjective_code}
    return _shared(invoice) | {
        "BilledCost": cost,
        "ChargeCategory": _CATEGORIES[line.kind],
        "ChargeClass": "Correction" if corrects else None,
        "ChargeDescription": line.description,
        "ChargeFrequency": "Usage-Based" if usage else "Recurring",
        "ChargePeriodEnd": _instant(line.end_day),
        "ChargePeriodStart": _instant(line.first_day),
        "ConsumedQuantity": quantity if usage and line.quantity else None,
        "ConsumedUnit": line.unit if usage and line.quantity else None,
        "ContractedCost": cost,
        "ContractedUnitPrice": _ratio(cost, quantity),
        "EffectiveCost": cost,
        "ListCost": listed,
        "ListUnitPrice": _ratio(listed, quantity),
        "PricingCategory": _PRICING[line.kind],
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ServiceName": line.service,
        "SkuId": f"{line.service} / {line.meter}",
        "SkuMeter": line.meter,
        "Tags": json.dumps({name: code for name, code in tags.items() if code}, sort_keys=True),
        "x_ChargeId": line.charge_id,
        "x_CosHeading": line.cos_heading,
        "x_CostCentre": line.cost_centre,
        "x_Dimensions": line.dimensions,
        "x_LineNumber": line.number,
        "x_PoolSaving": None if line.pool_saving is None else sign * line.pool_saving,
        "x_SubjectiveCode": line.subjective_code,
        "x_VatRatePercent": line.vat_rate_percent,
        "x_VatTreatment": line.treatment.value,
    }


def _tax_row(invoice: Invoice, summary: VatSummary) -> dict[str, Cell]:
    vat = _sign(invoice) * summary.vat
    return _shared(invoice) | {
        "BilledCost": vat,
        "ChargeCategory": "Tax",
        "ChargeDescription": "Value added tax",
        "ChargeFrequency": "One-Time",
        "ChargePeriodEnd": _instant(invoice.month.end_day),
        "ChargePeriodStart": _instant(invoice.month.first_day),
        "ContractedCost": vat,
        "EffectiveCost": vat,
        "ListCost": vat,
        "ServiceName": "Value added tax",
        "Tags": "{}",
        "x_VatRatePercent": summary.rate_percent,
        "x_VatTreatment": summary.treatment.value,
    }


def _ratio(cost: Decimal, quantity: Decimal) -> Decimal:
    """Cost by unit at 12 places; for comparison alone."""
    with localcontext() as context:
        context.prec = PRECISION
        return (cost / quantity).quantize(_RATIO_PLACES, rounding=ROUND_HALF_EVEN)
