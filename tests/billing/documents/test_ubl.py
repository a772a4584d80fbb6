"""The e-invoice keeps the UBL 2.1 schema and every rule of EN 16931."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from billing.documents.ubl import electronic_address, priced, ubl_xml
from billing.invoices.model import (
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    Treatment,
)
from tests.billing.documents import samples, schematron

SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}
NAMES = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
Check = Callable[[bytes], list[str]]

ISSUED = {
    "standard": samples.standard_invoice,
    "several rates": samples.mixed_invoice,
    "outside the scope": samples.outside_scope_invoice,
    "credit note": samples.credit_note,
}


@pytest.fixture(scope="module")
def broken_rules() -> Iterator[Check]:
    """Give a function that returns every rule a document breaks, schema first."""
    schemas = {
        name: etree.XMLSchema(
            etree.parse(str(schematron.RULES / "maindoc" / f"UBL-{name}-2.1.xsd"))
        )
        for name in ("Invoice", "CreditNote")
    }
    with schematron.checker() as process:

        def check(document: bytes) -> list[str]:
            root = etree.fromstring(document)
            schema = schemas[etree.QName(root).localname]
            schema.validate(root)
            faults = [str(entry.message) for entry in schema.error_log]
            told = process.submit(schematron.svrl, document.decode()).result()
            report = etree.fromstring(told.encode())
            assert report.findall(".//svrl:fired-rule", SVRL), "no rule was tried"
            broken = report.findall(".//svrl:failed-assert", SVRL)
            return faults + [str(each.get("id")) for each in broken]

        yield check
    assert "saxonche" not in sys.modules, "it would end this process one day; see schematron.py"


def texts(document: bytes, path: str) -> list[str]:
    return [str(each.text) for each in etree.fromstring(document).findall(path, NAMES)]


@pytest.mark.parametrize("sort", ISSUED)
def test_every_sort_of_document_is_valid(sort: str, broken_rules: Check) -> None:
    assert broken_rules(ubl_xml(ISSUED[sort]())) == []


def test_the_check_finds_a_broken_document(broken_rules: Check) -> None:
    document = ubl_xml(samples.standard_invoice())

    assert "BR-CO-15" in broken_rules(document.replace(b">4744.74<", b">4744.75<"))
    assert broken_rules(document.replace(b"cbc:DueDate", b"cbc:DueDay"))[0].startswith("Element")


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": Decimal("0.000000001"), "unit_price": None},
        {"quantity": None, "unit_price": None, "kind": LineKind.SHORTFALL, "unit": ""},
        {"quantity": Decimal("-35")},
        {"net": Decimal("-2475.79")},
        {"net": Decimal("0.00")},
        {"quantity": Decimal(0), "net": Decimal("50.00"), "kind": LineKind.MINIMUM},
        {"unit_price": Decimal("0.000000000001"), "net": Decimal("0.00"), "unit": "GB"},
        {"description": "<evil/> & \x07 \ufffe ]]> 漢"},
    ],
)
def test_awkward_lines_are_valid(changes: dict[str, object], broken_rules: Check) -> None:
    line = samples.line()
    invoice = samples.issue(samples.compose(replace(line, **changes), samples.line("99999.99")))  # type: ignore[arg-type] # names are checked by replace

    assert broken_rules(ubl_xml(invoice)) == []


signed = st.integers(-(10**9), 10**9)
any_line = st.builds(
    lambda kind, net, quantity, price, rate, heading: samples.line(
        str(Decimal(net).scaleb(-2)),
        kind=kind,
        quantity=quantity,
        unit_price=price,
        treatment=Treatment.STANDARD if rate else Treatment.ZERO,
        vat_rate_percent=Decimal(rate),
        vat_reason=None if rate else "Zero-rated",
        cos_heading=heading,
        cost_centre=heading,
    ),
    st.sampled_from(LineKind),
    signed,
    st.none() | signed.map(lambda whole: Decimal(whole).scaleb(-9)),
    st.none() | st.integers(0, 10**12).map(lambda whole: Decimal(whole).scaleb(-12)),
    st.sampled_from([0, 5, 20]),
    st.none() | st.text(max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(any_line, min_size=1, max_size=8), credit=st.booleans())
def test_whatever_is_invoiced_the_document_is_valid(
    lines: list[Line], credit: bool, broken_rules: Check
) -> None:
    credited = {
        "kind": InvoiceKind.CREDIT_NOTE,
        "credits_number": "PG-2627-000099",
        "credit_reason": "Withdrawn",
    }
    invoice = samples.issue(samples.compose(*lines, **(credited if credit else {})))

    assert broken_rules(ubl_xml(invoice)) == []


def test_a_party_with_little_to_it_is_valid(broken_rules: Check) -> None:
    buyer = replace(samples.BUYER, vat_number=None, email=None, address=("One line",))
    invoice = samples.issue(
        samples.compose(samples.line(), buyer=buyer, purchase_order=None, pay_to=None)
    )

    document = ubl_xml(invoice)

    assert broken_rules(document) == []
    assert texts(document, "cac:AccountingCustomerParty/cac:Party/cbc:EndpointID") == []
    assert texts(document, "cbc:BuyerReference") == ["acc_example"]


def test_quantity_times_price_is_the_net_of_every_line() -> None:
    for invoice in (make() for make in ISSUED.values()):
        for line in invoice.lines:
            quantity, price, base, _ = priced(line)
            assert price >= 0
            assert base > 0
            assert quantity * price == line.net * base


def test_the_order_the_credited_invoice_and_the_codes_are_named() -> None:
    invoice, credit = ubl_xml(samples.standard_invoice()), ubl_xml(samples.credit_note())

    assert texts(invoice, "cac:OrderReference/cbc:ID") == ["PO-774120"]
    assert texts(invoice, "cac:InvoicePeriod/cbc:StartDate") == ["2026-03-01"]
    assert texts(credit, "cac:BillingReference//cbc:ID") == ["PG-2627-000099"]
    assert texts(credit, "cbc:CreditNoteTypeCode") == ["381"]
    assert "A10234/52160" in texts(invoice, "cac:InvoiceLine/cbc:AccountingCost")


def test_vat_categories_carry_their_reasons() -> None:
    mixed, outside = ubl_xml(samples.mixed_invoice()), ubl_xml(samples.outside_scope_invoice())
    category = "cac:TaxTotal/cac:TaxSubtotal/cac:TaxCategory"

    assert texts(mixed, f"{category}/cbc:ID") == ["S", "S", "Z", "E"]
    assert texts(mixed, f"{category}/cbc:TaxExemptionReason") == [
        "health care, VAT Act 1994, Schedule 9, group 7"
    ]
    assert texts(outside, f"{category}/cbc:ID") == ["O"]
    assert texts(outside, ".//cac:PartyTaxScheme/cbc:CompanyID") == []


def test_a_party_is_reached_by_gln_then_vat_number_then_email() -> None:
    buyer = replace(samples.BUYER, gln="5013987000012")

    assert electronic_address(buyer) == ("0088", "5013987000012")
    assert electronic_address(samples.BUYER) == ("9932", "GB654970629")
    unregistered = replace(samples.BUYER, vat_number=None)
    assert electronic_address(unregistered) == ("EM", "payables@example.nhs.uk")
    assert electronic_address(replace(unregistered, email=None)) is None


def test_a_draft_has_no_e_invoice() -> None:
    with pytest.raises(ValueError, match="issued document"):
        ubl_xml(samples.compose(samples.line()))


def test_the_same_invoice_gives_the_same_bytes() -> None:
    once: Invoice = samples.standard_invoice()
    settled = replace(once, status=InvoiceStatus.SETTLED)

    assert ubl_xml(once) == ubl_xml(settled)
    assert date(2026, 5, 5).isoformat().encode() in ubl_xml(once)
