"""FOCUS rows add up to the document and keep the rules of the columns."""

import csv
import io
import json
from decimal import Decimal

import pytest

from billing.documents.focus import focus_csv
from billing.invoices.model import Invoice
from tests.billing.documents import samples


def rows_of(invoice: Invoice) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus_csv(invoice).decode(), newline="")))


@pytest.mark.parametrize(
    "make",
    [
        samples.standard_invoice,
        samples.mixed_invoice,
        samples.outside_scope_invoice,
        samples.credit_note,
    ],
)
def test_billed_cost_adds_up_to_what_is_owed(make: object) -> None:
    assert callable(make)
    invoice = make()

    assert sum(Decimal(row["BilledCost"]) for row in rows_of(invoice)) == invoice.owed


def test_list_cost_shows_what_the_pool_saved() -> None:
    invoice = samples.standard_invoice()

    listed = sum(Decimal(row["ListCost"]) for row in rows_of(invoice))
    billed = sum(Decimal(row["BilledCost"]) for row in rows_of(invoice))

    assert listed - billed == invoice.pool_saving


def test_periods_are_half_open_instants_of_london_midnights() -> None:
    row = rows_of(samples.standard_invoice())[0]

    assert row["BillingPeriodStart"] == "2026-03-31T23:00:00Z"
    assert row["BillingPeriodEnd"] == "2026-04-30T23:00:00Z"
    assert row["ChargePeriodStart"] == "2026-03-31T23:00:00Z"


def test_unit_price_times_quantity_is_the_cost() -> None:
    for row in rows_of(samples.standard_invoice()):
        if row["ChargeCategory"] == "Tax":
            continue
        product = Decimal(row["ContractedUnitPrice"]) * Decimal(row["PricingQuantity"])
        assert abs(product - Decimal(row["ContractedCost"])) < Decimal("0.00000001")


def test_sorts_of_charge_are_told_apart() -> None:
    rows = rows_of(samples.standard_invoice())

    assert [row["ChargeCategory"] for row in rows] == [
        "Usage",
        "Usage",
        "Purchase",
        "Usage",
        "Tax",
    ]
    assert [row["ChargeClass"] for row in rows] == ["", "", "", "Correction", ""]
    assert json.loads(rows[0]["Tags"]) == {"cost_centre": "A10234", "subjective_code": "52160"}


def test_a_credit_note_is_a_correction_with_negative_cost() -> None:
    row = rows_of(samples.credit_note())[0]

    assert row["BilledCost"] == "-120"
    assert row["ChargeClass"] == "Correction"
    assert Decimal(row["ContractedUnitPrice"]) == Decimal("0.5")
    assert row["InvoiceId"] == "PC-2627-000004"


def test_columns_of_our_own_are_marked_as_the_specification_asks() -> None:
    header = focus_csv(samples.credit_note()).decode().splitlines()[0].split(",")

    assert not header[0].startswith("\ufeff")
    assert all(name[0].isupper() or name.startswith("x_") for name in header)
