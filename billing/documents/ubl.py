"""The e-invoice: UBL 2.1 as Peppol BIS Billing 3.0 (EN 16931) has it.

Choices that the standards leave open:

- Electronic address: the GLN (scheme 0088), which is how NHS bodies are found on
  Peppol; else the VAT number (9932); else the e-mail address (EM). ODS codes have
  no scheme in the list, so they go in `PartyIdentification`.
- Tiers and packages have no single unit price, and EN 16931 knows no tiers: the
  price is then the line's net with the line's quantity as its base quantity, so
  that quantity × price ÷ base is the net to the penny.
- Price is never negative (BR-27): a negative line has a negative quantity.
- The period of the document spans all its lines, for corrections reach back (BR-29, -30).
"""

from decimal import Decimal
from typing import cast

from lxml import etree

from billing.documents.words import one_line, show_number
from billing.invoices.model import Invoice, InvoiceKind, Line, Treatment, VatSummary
from billing.invoices.parties import Party
from billing.money import PENNY, plain, to_pennies
from metering.periods import london_day, show_date

CUSTOMISATION = "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
PROFILE = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"

_CAC = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
_CBC = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"

# UNCL 5305, the subset of EN 16931.
_CATEGORIES = {
    Treatment.STANDARD: "S",
    Treatment.ZERO: "Z",
    Treatment.EXEMPT: "E",
    Treatment.OUTSIDE_SCOPE: "O",
}
# UN/ECE Recommendation 20; whatever is not here is counted in ones.
_UNITS = {
    "day": "DAY",
    "days": "DAY",
    "gb": "E34",
    "hour": "HUR",
    "hours": "HUR",
    "mb": "4L",
    "minute": "MIN",
    "minutes": "MIN",
    "month": "MON",
    "months": "MON",
    "tb": "E35",
}
_ONE = "C62"
_CREDIT_TRANSFER = "30"


def ubl_xml(invoice: Invoice) -> bytes:
    """Return the UBL invoice or credit note.

    Raises:
        ValueError: it has no number or instant of issue yet, or is exempt from VAT while its
            supplier has no VAT number (BR-E-2).
    """
    if invoice.number is None or invoice.issued_at is None:
        raise ValueError("an e-invoice is made of an issued document")
    if invoice.is_vat_invoice and invoice.supplier.vat_number is None:
        raise ValueError("an e-invoice about VAT names the supplier's VAT number")
    credit = invoice.kind is InvoiceKind.CREDIT_NOTE
    root_name = "CreditNote" if credit else "Invoice"
    root_space = f"urn:oasis:names:specification:ubl:schema:xsd:{root_name}-2"
    # The default namespace is under None, which the type stubs of lxml leave out.
    spaces = cast("dict[str, str]", {None: root_space, "cac": _CAC, "cbc": _CBC})
    root = etree.Element(f"{{{root_space}}}{root_name}", nsmap=spaces)
    issued = london_day(invoice.issued_at).isoformat()
    _add(root, "CustomizationID", CUSTOMISATION)
    _add(root, "ProfileID", PROFILE)
    _add(root, "ID", invoice.number)
    _add(root, "IssueDate", issued)
    if credit:
        _add(root, "TaxPointDate", invoice.tax_point.isoformat())
        _add(root, "CreditNoteTypeCode", "381")
        _add(root, "Note", _note(invoice))
    else:
        _add(root, "DueDate", invoice.due_on.isoformat())
        _add(root, "InvoiceTypeCode", "380")
        _add(root, "Note", _note(invoice))
        _add(root, "TaxPointDate", invoice.tax_point.isoformat())
    _add(root, "DocumentCurrencyCode", invoice.currency)
    _add(root, "BuyerReference", invoice.account_id)
    period = _group(root, "InvoicePeriod")
    _add(period, "StartDate", min(line.first_day for line in invoice.lines).isoformat())
    _add(period, "EndDate", max(line.last_day for line in invoice.lines).isoformat())
    if invoice.purchase_order is not None:
        _add(_group(root, "OrderReference"), "ID", invoice.purchase_order.number)
    if invoice.credits_number is not None:
        credited = _group(_group(root, "BillingReference"), "InvoiceDocumentReference")
        _add(credited, "ID", invoice.credits_number)
        if invoice.credits_issued_on is not None:
            _add(credited, "IssueDate", invoice.credits_issued_on.isoformat())
    _party(_group(root, "AccountingSupplierParty"), invoice.supplier, vat=invoice.is_vat_invoice)
    _party(_group(root, "AccountingCustomerParty"), invoice.buyer, vat=invoice.is_vat_invoice)
    if not credit:
        _payment(root, invoice)
    _tax_total(root, invoice)
    totals = _group(root, "LegalMonetaryTotal")
    _amount(totals, "LineExtensionAmount", invoice.net)
    _amount(totals, "TaxExclusiveAmount", invoice.net)
    _amount(totals, "TaxInclusiveAmount", invoice.total)
    _amount(totals, "PayableAmount", invoice.total)
    for line in invoice.lines:
        _line(root, line, credit=credit)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _add(parent: etree._Element, name: str, text: str, /, **attributes: str) -> None:
    """Append a basic component; one without text is left out (Peppol allows no empty element)."""
    words = one_line(text)
    if words:
        etree.SubElement(parent, f"{{{_CBC}}}{name}", attributes).text = words


def _group(parent: etree._Element, name: str) -> etree._Element:
    """Append and return an aggregate component."""
    return etree.SubElement(parent, f"{{{_CAC}}}{name}")


def _amount(parent: etree._Element, name: str, amount: Decimal) -> None:
    _add(parent, name, str(amount.quantize(PENNY)), currencyID="GBP")


def _note(invoice: Invoice) -> str:
    """Peppol allows one note."""
    reason = invoice.credit_reason or ""
    return " ".join(part for part in (reason, *invoice.notes) if part)


def electronic_address(party: Party) -> tuple[str, str] | None:
    """Return (scheme, address) by which a party is reached, or None where it has none."""
    if party.gln is not None:
        return "0088", party.gln
    if party.vat_number is not None and party.vat_number.startswith("GB"):
        return "9932", party.vat_number
    if party.email is not None:
        return "EM", party.email
    return None


def _party(role: etree._Element, party: Party, *, vat: bool) -> None:
    element = _group(role, "Party")
    address = electronic_address(party)
    if address is not None:
        scheme, identifier = address
        _add(element, "EndpointID", identifier, schemeID=scheme)
    _add(_group(element, "PartyIdentification"), "ID", party.ods_code)
    _add(_group(element, "PartyName"), "Name", party.name)
    place = _group(element, "PostalAddress")
    street, *others = [part for part in party.address if part.strip()]
    _add(place, "StreetName", street)
    if len(others) > 1:
        _add(place, "AdditionalStreetName", ", ".join(others[:-1]))
    if others:
        _add(place, "CityName", others[-1])
    _add(place, "PostalZone", party.postcode)
    _add(_group(place, "Country"), "IdentificationCode", party.country)
    # Outside the scope of VAT neither VAT number may be named (BR-O-2).
    if vat and party.vat_number is not None:
        scheme_of_tax = _group(element, "PartyTaxScheme")
        _add(scheme_of_tax, "CompanyID", party.vat_number)
        _add(_group(scheme_of_tax, "TaxScheme"), "ID", "VAT")
    _add(_group(element, "PartyLegalEntity"), "RegistrationName", party.name)
    if party.email is not None:
        _add(_group(element, "Contact"), "ElectronicMail", party.email)


def _payment(root: etree._Element, invoice: Invoice) -> None:
    account = invoice.pay_to
    if account is not None:
        means = _group(root, "PaymentMeans")
        _add(means, "PaymentMeansCode", _CREDIT_TRANSFER, name="Credit transfer")
        _add(means, "PaymentID", invoice.number or "")
        payee = _group(means, "PayeeFinancialAccount")
        sort_code = account.sort_code.replace("-", "")
        _add(payee, "ID", account.iban or f"{sort_code}{account.account_number}")
        _add(payee, "Name", account.account_name)
        _add(_group(payee, "FinancialInstitutionBranch"), "ID", account.bic or sort_code)
    _add(_group(root, "PaymentTerms"), "Note", f"Payment due by {show_date(invoice.due_on)}")


def _tax_total(root: etree._Element, invoice: Invoice) -> None:
    total = _group(root, "TaxTotal")
    _amount(total, "TaxAmount", invoice.vat)
    for summary in invoice.vat_summaries:
        subtotal = _group(total, "TaxSubtotal")
        _amount(subtotal, "TaxableAmount", summary.net)
        _amount(subtotal, "TaxAmount", summary.vat)
        category = _group(subtotal, "TaxCategory")
        _tax_category(category, summary)
        # Standard and zero rates must give no reason (BR-S-10, BR-Z-10); the others must.
        if summary.treatment in {Treatment.EXEMPT, Treatment.OUTSIDE_SCOPE}:
            _add(category, "TaxExemptionReason", summary.reason or "")
        _add(_group(category, "TaxScheme"), "ID", "VAT")


def _tax_category(category: etree._Element, taxed: VatSummary | Line) -> None:
    _add(category, "ID", _CATEGORIES[taxed.treatment])
    if taxed.treatment is not Treatment.OUTSIDE_SCOPE:  # which has no rate (BR-O-5)
        rate = taxed.rate_percent if isinstance(taxed, VatSummary) else taxed.vat_rate_percent
        _add(category, "Percent", plain(rate))


def priced(line: Line) -> tuple[Decimal, Decimal, Decimal, str]:
    """Return (quantity, price, base quantity, unit code): quantity × price ÷ base is the net.

    Exact but for the one rounding of the line to the penny.
    """
    unit = _UNITS.get(line.unit.strip().casefold(), _ONE)
    quantity, price = line.quantity, line.unit_price
    if quantity and price is not None and price >= 0 and to_pennies(quantity * price) == line.net:
        return quantity, price, Decimal(1), unit
    if quantity and (line.net == 0 or (quantity > 0) == (line.net > 0)):
        return quantity, abs(line.net), abs(quantity), unit
    return Decimal(1 if line.net >= 0 else -1), abs(line.net), Decimal(1), _ONE


def _line(root: etree._Element, line: Line, *, credit: bool) -> None:
    quantity, price, base, unit = priced(line)
    element = _group(root, "CreditNoteLine" if credit else "InvoiceLine")
    _add(element, "ID", str(line.number))
    _add(
        element,
        "CreditedQuantity" if credit else "InvoicedQuantity",
        plain(quantity),
        unitCode=unit,
    )
    _amount(element, "LineExtensionAmount", line.net)
    codes = (line.cost_centre, line.subjective_code)
    _add(element, "AccountingCost", "/".join(code for code in codes if code))
    period = _group(element, "InvoicePeriod")
    _add(period, "StartDate", line.first_day.isoformat())
    _add(period, "EndDate", line.last_day.isoformat())
    item = _group(element, "Item")
    parts = (line.service, line.dimensions, line.price_words)
    _add(item, "Description", "; ".join(part for part in parts if part))
    _add(item, "Name", line.description)
    category = _group(item, "ClassifiedTaxCategory")
    _tax_category(category, line)
    _add(_group(category, "TaxScheme"), "ID", "VAT")
    for name, value in _properties(line).items():
        extra = _group(item, "AdditionalItemProperty")
        _add(extra, "Name", name)
        _add(extra, "Value", value)
    cost = _group(element, "Price")
    _add(cost, "PriceAmount", plain(price), currencyID="GBP")
    if base != 1:
        _add(cost, "BaseQuantity", plain(base), unitCode=unit)


def _properties(line: Line) -> dict[str, str]:
    """What EN 16931 has no field for; both name and value must have text (BR-54)."""
    quantity = "" if line.quantity is None else show_number(line.quantity)
    facts = {
        "Line kind": line.kind.value,
        "Meter": one_line(line.meter),
        "Metered quantity": one_line(f"{quantity} {line.unit}") if quantity else "",
        "Pool saving (GBP)": plain(line.pool_saving) if line.pool_saving else "",
        "COS heading": one_line(line.cos_heading or ""),
        "Charge": one_line(line.charge_id or ""),
    }
    return {name: value for name, value in facts.items() if value}
