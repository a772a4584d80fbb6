"""The lines of an invoice as a spreadsheet."""

from decimal import ROUND_DOWN, Decimal

from billing.documents.sheet import write_sheet
from billing.invoices.composing import blended_price
from billing.invoices.model import Invoice
from billing.money import PENNY

# As many as a tariff's own unit prices may have; the exact one is in the working.
_BLENDED_PLACES = Decimal("1E-12")

HEADER = (
    "Document",
    "Month",
    "Line",
    "Kind",
    "Service",
    "Meter",
    "Description",
    "Dimensions",
    "First day",
    "Last day",
    "Quantity",
    "Unit",
    "Unit price (GBP)",
    "Price in words",
    "Blended price (GBP)",
    "Pool saving (GBP)",
    "Net (GBP)",
    "VAT treatment",
    "VAT rate (%)",
    "Contracted-out services heading",
    "Cost centre",
    "Subjective code",
    "Charge",
)


def lines_csv(invoice: Invoice) -> bytes:
    """Return one row a line, in printing order; VAT is worked out per rate, so not per line."""
    rows = (
        (
            invoice.number or "Draft",
            str(invoice.month),
            line.number,
            line.kind.value,
            line.service,
            line.meter,
            line.description,
            line.dimensions,
            line.first_day,
            line.last_day,
            line.quantity,
            line.unit,
            line.unit_price,
            line.price_words,
            None if blended is None else blended.quantize(_BLENDED_PLACES, rounding=ROUND_DOWN),
            # Pounds and pence are written with both places, as text that reads as a number.
            None if line.pool_saving is None else str(line.pool_saving.quantize(PENNY)),
            str(line.net.quantize(PENNY)),
            line.treatment.value,
            line.vat_rate_percent,
            line.cos_heading,
            line.cost_centre,
            line.subjective_code,
            line.charge_id,
        )
        for line in invoice.lines
        for blended in [blended_price(line.working)]
    )
    return write_sheet(HEADER, rows, for_people=True)
