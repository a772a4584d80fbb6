"""Invoices to print: one of each sort that differs on paper."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from billing.invoices.backing import UsageRow
from billing.invoices.model import (
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    PurchaseOrder,
    Treatment,
    compose_invoice,
)
from billing.invoices.parties import BankAccount, Party
from billing.invoices.sealing import canonical_content, seal
from metering.periods import Month

SUPPLIER = Party(
    name="NHS England",
    address=("7 and 8 Wellington Place", "Leeds"),
    postcode="LS1 4AP",
    ods_code="X26",
    vat_number="GB654965435",
    email="paygo-finance@example.nhs.uk",
    gln="5013987000012",
)
BUYER = Party(
    name="University Hospitals of Leicester NHS Trust",
    address=("Leicester Royal Infirmary", "Infirmary Square", "Leicester"),
    postcode="LE1 5WW",
    ods_code="RWE",
    vat_number="GB654970629",
    email="payables@example.nhs.uk",
)
BANK = BankAccount(
    account_name="NHS England",
    bank_name="Example Bank",
    sort_code="60-70-80",
    account_number="10014069",
)
APRIL = (date(2026, 4, 1), date(2026, 5, 1))


def line(net: str = "2475.79", **changes: object) -> Line:
    usual = Line(
        number=1,
        kind=LineKind.USAGE,
        service="Imaging archive",
        meter="Storage held",
        description="Imaging storage held",
        dimensions="Tier hot",
        quantity=Decimal("35"),
        unit="TB months",
        price_words="£70.74 blended: £100.00 for the first TB, £80.00 for the next 49, then £60.00",
        pool_saving=Decimal("344.21"),
        net=Decimal(net),
        treatment=Treatment.STANDARD,
        vat_rate_percent=Decimal(20),
        first_day=APRIL[0],
        end_day=APRIL[1],
        cos_heading="14",
        cost_centre="A10234",
        subjective_code="52160",
        charge_id="chg_example",
        working=(
            {
                "step": "share",
                "text": "Together 3 accounts of the national pool used 95, which come to "
                "£6,720.00: £70.736842… a unit. Your 35 are £6,720.00 × 35 ÷ 95 = £2,475.789473….",
                "joint_working": {
                    "text": "The first 1 at £100.00 = £100.00; the next 49 at £80.00 = £3,920.00; "
                    "the next 45 at £60.00 = £2,700.00; together £6,720.00."
                },
            },
            {"step": "round", "text": "Rounded half up to the penny: £2,475.79."},
        ),
    )
    return replace(usual, **changes)  # type: ignore[arg-type] # names are checked by replace


def compose(*lines: Line, **changes: object) -> Invoice:
    facts: dict[str, object] = {
        "id": "inv_example",
        "kind": InvoiceKind.INVOICE,
        "series": "PG",
        "status": InvoiceStatus.DRAFT,
        "account_id": "acc_example",
        "supplier": SUPPLIER,
        "buyer": BUYER,
        "month": Month(2026, 4),
        "tax_point": date(2026, 4, 30),
        "due_on": date(2026, 6, 4),
        "purchase_order": PurchaseOrder(number="PO-774120", remaining=Decimal("48000.00")),
        "pay_to": BANK,
    } | changes
    numbered = [replace(each, number=number) for number, each in enumerate(lines, start=1)]
    return compose_invoice(lines=numbered, **facts)


def issue(invoice: Invoice, *, number: str = "PG-2627-000123") -> Invoice:
    named = replace(invoice, number=number, issued_at=datetime(2026, 5, 5, 8, 30, tzinfo=UTC))
    return replace(named, status=InvoiceStatus.ISSUED, seal=seal(canonical_content(named), None))


def plain_line(net: str, quantity: str, price: str, **changes: object) -> Line:
    """A line at one unit price, outside any pool."""
    return line(
        net,
        **{
            "quantity": Decimal(quantity),
            "unit_price": Decimal(price),
            "price_words": None,
            "pool_saving": None,
            "unit": "studies",
            "meter": "Studies archived",
            "description": "Studies archived",
            "dimensions": "Modality CT",
            "working": ({"step": "price", "text": f"{quantity} × £{price} = £{net}."},),
        }
        | changes,
    )


def standard_invoice() -> Invoice:
    return issue(
        compose(
            line(),
            plain_line("1240.50", "2481", "0.50"),
            plain_line(
                "250.00",
                "1",
                "250",
                kind=LineKind.FLAT,
                service="Patient index",
                description="Connection to the patient index",
                unit="month",
                meter="Connection",
                dimensions="",
                cos_heading=None,
            ),
            plain_line(
                "-12.34",
                "-1234",
                "0.01",
                kind=LineKind.CORRECTION,
                service="Patient index",
                description="Searches withdrawn by the service",
                unit="searches",
                meter="Searches",
                dimensions="",
                first_day=date(2026, 3, 1),
                end_day=date(2026, 4, 1),
            ),
            notes=("Usage for March was corrected by the service on 2 May 2026.",),
        )
    )


def mixed_invoice() -> Invoice:
    """Standard, reduced, zero-rated and exempt lines on one invoice."""
    return issue(
        compose(
            plain_line("10.03", "1003", "0.01"),
            plain_line("10.03", "1003", "0.01"),
            plain_line("99.99", "9999", "0.01", vat_rate_percent=Decimal(5)),
            line(
                "7.00",
                treatment=Treatment.ZERO,
                vat_rate_percent=Decimal(0),
                vat_reason="printed matter, VAT Act 1994, Schedule 8, group 3",
            ),
            line(
                "55.55",
                treatment=Treatment.EXEMPT,
                vat_rate_percent=Decimal(0),
                vat_reason="health care, VAT Act 1994, Schedule 9, group 7",
            ),
            line(
                "3.33",
                kind=LineKind.MINIMUM,
                quantity=None,
                unit="",
                pool_saving=None,
                price_words="Up to the monthly minimum of £50.00",
                dimensions="",
            ),
            purchase_order=None,
        )
    )


def outside_scope_invoice() -> Invoice:
    outside = {
        "treatment": Treatment.OUTSIDE_SCOPE,
        "vat_rate_percent": Decimal(0),
        "vat_reason": "Supply within the NHS divisional VAT registration",
    }
    return issue(
        compose(
            line(**outside), plain_line("1240.50", "2481", "0.50", **outside), purchase_order=None
        )
    )


def credit_note() -> Invoice:
    return issue(
        compose(
            plain_line("120.00", "240", "0.50"),
            kind=InvoiceKind.CREDIT_NOTE,
            series="PC",
            credits_number="PG-2627-000099",
            credits_issued_on=date(2026, 4, 7),
            credit_reason="240 studies were reported twice",
            pay_to=None,
        ),
        number="PC-2627-000004",
    )


def usage() -> tuple[UsageRow, ...]:
    return tuple(
        UsageRow(
            day=date(2026, 4, day),
            service="Imaging archive",
            meter="Studies archived",
            dimensions="Modality CT",
            quantity=Decimal(day) / 2,
            unit="studies",
            events=day,
            line_number=2,
            charge_id="chg_example",
        )
        for day in range(1, 31)
    )
