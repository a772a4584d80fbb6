"""The invoice as PDF: tagged (PDF/UA-1), archivable (PDF/A-3a), the same bytes every time.

`invoice.typ` lays out; every word and number is written here and reaches it as
JSON, so nothing that a person typed is ever read as markup. The page carries
what regulation 14 of the VAT Regulations 1995 asks of a VAT invoice and, for a
credit note, regulation 15C.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from billing.documents.glyphs import printable
from billing.documents.typesetting import typeset
from billing.documents.words import (
    document_name,
    show_days,
    show_number,
    show_percent,
    show_unit_price,
    show_vat_number,
)
from billing.invoices.model import (
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    Treatment,
    VatSummary,
    cost_centre_totals,
)
from billing.invoices.parties import Party
from billing.money import show_pounds, sum_pounds
from metering.periods import (
    financial_year_label,
    london_day,
    london_midnight,
    show_date,
    to_utc,
)

_TREATMENTS: Mapping[Treatment, str] = {
    Treatment.STANDARD: "Standard rate",
    Treatment.ZERO: "Zero rate",
    Treatment.EXEMPT: "Exempt",
    Treatment.OUTSIDE_SCOPE: "Outside the scope of VAT",
}
_COS = "Contracted-out services (COS) heading"
_KINDS: Mapping[LineKind, str] = {
    LineKind.USAGE: "",
    LineKind.FLAT: "Monthly charge",
    LineKind.MINIMUM: "Minimum charge",
    LineKind.SHORTFALL: "Commitment shortfall",
    LineKind.CORRECTION: "Correction",
}


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A text file that travels inside the PDF.

    Attributes:
        relationship: `alternative` (says the same as the page) or `supplement`.
    """

    name: str
    content: bytes
    media_type: str
    description: str
    relationship: str = "supplement"


def invoice_pdf(invoice: Invoice, *, attachments: Sequence[Attachment] = ()) -> bytes:
    """Return the PDF of an invoice or credit note, drafts clearly marked.

    Args:
        invoice: what to print.
        attachments: UTF-8 text files to embed.

    Raises:
        typst.TypstError: the template is broken; no invoice of the model causes it.
    """
    page = page_model(invoice)
    page["attachments"] = [
        {
            "name": attachment.name,
            "text": attachment.content.decode(),
            "media_type": attachment.media_type,
            "description": attachment.description,
            "relationship": attachment.relationship,
        }
        for attachment in attachments
    ]
    return typeset("invoice.typ", page, timestamp=_timestamp(invoice))


def page_model(invoice: Invoice) -> dict[str, Any]:
    """Return every word the template prints, as JSON-ready strings."""
    credit = invoice.kind is InvoiceKind.CREDIT_NOTE
    return {
        "name": document_name(invoice),
        "credit": credit,
        "number": invoice.number or "Not yet numbered",
        "reference": f"{document_name(invoice)} {invoice.number or 'draft'}",
        "title": f"{document_name(invoice)} {invoice.number or 'draft'}, {invoice.month.name}, "
        f"{printable(invoice.buyer.name)}",
        "warning": _warning(invoice),
        "supplier": party_words(invoice.supplier, vat=invoice.is_vat_invoice),
        "buyer": party_words(invoice.buyer, vat=invoice.is_vat_invoice),
        "facts": _facts(invoice),
        "purchase_order": _purchase_order(invoice),
        "total": show_pounds(invoice.total),
        "total_words": "Total credited" if credit else "Total to pay",
        "due": "" if _payment_note(invoice) else f"by {show_date(invoice.due_on)}",
        "pay": _payment(invoice),
        "pay_note": _payment_note(invoice),
        "vat": [_vat_row(summary) for summary in invoice.vat_summaries],
        "is_vat_invoice": invoice.is_vat_invoice,
        "vat_reasons": _vat_reasons(invoice),
        "net_total": show_pounds(invoice.net),
        "vat_total": show_pounds(invoice.vat),
        "saving": _saving(invoice),
        "services": _services(invoice),
        "cost_centres": _cost_centres(invoice),
        "notes": [printable(note) for note in invoice.notes],
        "lines_note": _lines_note(invoice),
        "groups": _groups(invoice),
        "seal": invoice.seal or "",
        "previous_seal": invoice.previous_seal or "",
    }


def _timestamp(invoice: Invoice) -> datetime:
    """The instant the file says it was made: of issue, for a draft the tax point."""
    instant = invoice.issued_at or london_midnight(invoice.tax_point)
    return to_utc(instant).astimezone(UTC).replace(microsecond=0)


def _warning(invoice: Invoice) -> str:
    if invoice.status is InvoiceStatus.DRAFT:
        return "Draft for review. This is not a request for payment."
    if invoice.status is InvoiceStatus.DISCARDED:
        return "Discarded draft. It was never issued and asks for no payment."
    return ""


def party_words(party: Party, *, vat: bool) -> dict[str, Any]:
    """Return what is printed of a party; its VAT number only where `vat` is on the page."""
    return {
        "name": printable(party.name),
        "address": [printable(part) for part in (*party.address, party.postcode) if part.strip()],
        "ods_code": printable(party.ods_code),
        "vat_number": show_vat_number(party.vat_number) if vat and party.vat_number else "",
        "email": printable(party.email or ""),
    }


def _facts(invoice: Invoice) -> list[list[str]]:
    """The particulars in the order a finance officer keys them."""
    month = invoice.month
    year = financial_year_label(month.financial_year)
    issued = "Not issued" if invoice.issued_at is None else show_date(london_day(invoice.issued_at))
    facts = [
        [f"{document_name(invoice)} number", invoice.number or "Not yet numbered"],
        ["Date of issue", issued],
        ["Tax point (time of supply)", show_date(invoice.tax_point)],
        ["Month", f"{month.name} (M{month.financial_month} of {year})"],
    ]
    if invoice.kind is InvoiceKind.CREDIT_NOTE:
        dated = invoice.credits_issued_on
        facts += [
            [
                "Credits invoice",
                printable(invoice.credits_number or "")
                + (f" of {show_date(dated)}" if dated else ""),
            ],
            ["Reason", printable(invoice.credit_reason or "")],
        ]
    else:
        facts.append(["Payment due", show_date(invoice.due_on)])
    facts.append(["Customer (ODS code)", printable(invoice.buyer.ods_code)])
    return facts


def _purchase_order(invoice: Invoice) -> dict[str, str]:
    order = invoice.purchase_order
    if order is None:
        return {"number": "", "remaining": ""}
    remaining = "" if order.remaining is None else show_pounds(order.remaining)
    return {"number": printable(order.number), "remaining": remaining}


def _payment(invoice: Invoice) -> list[list[str]]:
    account = invoice.pay_to
    if account is None or _payment_note(invoice):
        return []
    rows = [
        ["Account name", account.account_name],
        ["Bank", account.bank_name or ""],
        ["Sort code", account.sort_code],
        ["Account number", account.account_number],
        ["IBAN", account.iban or ""],
        ["BIC", account.bic or ""],
        ["Payment reference", invoice.number or ""],
    ]
    return [[name, printable(value)] for name, value in rows if value]


def _payment_note(invoice: Invoice) -> str:
    """Why there is nothing to pay; empty where there is."""
    if invoice.status in {InvoiceStatus.DRAFT, InvoiceStatus.DISCARDED}:
        return "This is a draft: wait for the issued invoice."
    if invoice.owed < 0:
        return "This amount is taken off what you owe."
    if invoice.owed == 0:
        return "The lines come to nothing."
    return ""


def _vat_row(summary: VatSummary) -> dict[str, str]:
    outside = summary.treatment is Treatment.OUTSIDE_SCOPE
    exempt = summary.treatment is Treatment.EXEMPT
    return {
        "name": _TREATMENTS[summary.treatment],
        "rate": "None" if outside or exempt else show_percent(summary.rate_percent),
        "net": show_pounds(summary.net),
        "vat": show_pounds(summary.vat),
    }


def _vat_reasons(invoice: Invoice) -> list[str]:
    return [
        f"{_TREATMENTS[summary.treatment]}: {printable(summary.reason)}"
        for summary in invoice.vat_summaries
        if summary.reason
    ]


def _saving(invoice: Invoice) -> dict[str, str]:
    if invoice.pool_saving <= 0:
        return {}
    return {
        "amount": show_pounds(invoice.pool_saving),
        "alone": show_pounds(invoice.net + invoice.pool_saving),
        "net": show_pounds(invoice.net),
    }


def _by_service(lines: Sequence[Line]) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.service, []).append(line)
    return groups


def _services(invoice: Invoice) -> list[dict[str, str]]:
    rows = []
    for service, lines in _by_service(invoice.lines).items():
        savings = [line.pool_saving for line in lines if line.pool_saving is not None]
        rows.append(
            {
                "name": printable(service),
                "lines": f"{len(lines):,}",
                "saving": show_pounds(sum_pounds(savings)) if savings else "",
                "net": show_pounds(sum_pounds([line.net for line in lines])),
            }
        )
    return rows


def _cost_centres(invoice: Invoice) -> list[dict[str, str]]:
    return [
        {
            "centre": printable(centre or "None given"),
            "code": printable(code or ""),
            "net": show_pounds(net),
        }
        for centre, code, net in cost_centre_totals(invoice.lines)
    ]


def _is_of_the_month(invoice: Invoice, line: Line) -> bool:
    month = invoice.month
    return (line.first_day, line.end_day) == (month.first_day, month.end_day)


def _lines_note(invoice: Invoice) -> str:
    """What holds for most lines, said once: the whole month that is billed."""
    whole = [line for line in invoice.lines if _is_of_the_month(invoice, line)]
    return f"Unless a line says otherwise, it is for {show_days(whole[0])}." if whole else ""


def _groups(invoice: Invoice) -> list[dict[str, Any]]:
    """The lines under headings: cost centres where the buyer has them, else services.

    Corrections of earlier months stand apart. What all lines of a group share, the service or
    a contracted-out-services heading, is said once under its heading.
    """
    coded = any(line.cost_centre for line in invoice.lines)
    groups: dict[str, list[Line]] = {}
    for line in invoice.lines:
        groups.setdefault(_heading(line, coded=coded), []).append(line)
    found = []
    for heading, lines in groups.items():
        services, cos = {line.service for line in lines}, {line.cos_heading for line in lines}
        shared_cos = next(iter(cos)) if len(cos) == 1 else None
        shared_service = next(iter(services)) if len(services) == 1 else None
        found.append(
            {
                "heading": heading,
                "note": _joined(
                    printable(shared_service)
                    if shared_service and shared_service != heading
                    else "",
                    _labelled(_COS, shared_cos),
                ),
                "lines": [
                    _line(
                        line,
                        cos=shared_cos is None,
                        days=not _is_of_the_month(invoice, line),
                        service=shared_service is None,
                        centre=not coded or line.kind is LineKind.CORRECTION,
                    )
                    for line in lines
                ],
            }
        )
    return found


def _heading(line: Line, *, coded: bool) -> str:
    if line.kind is LineKind.CORRECTION:
        return "Corrections of earlier months"
    if not coded:
        return printable(line.service)
    if line.cost_centre is None:
        return "No cost centre"
    return _joined(
        _labelled("Cost centre", line.cost_centre),
        _labelled("subjective code", line.subjective_code),
    )


def _line(line: Line, *, cos: bool, days: bool, service: bool, centre: bool) -> dict[str, Any]:
    quantity = "" if line.quantity is None else show_number(line.quantity)
    rate = show_percent(line.vat_rate_percent)
    saving = line.pool_saving
    notes = [
        printable(line.service) if service else "",
        _joined(_KINDS[line.kind], printable(line.dimensions), show_days(line) if days else ""),
        _joined(
            _labelled("Cost centre", line.cost_centre),
            _labelled("subjective code", line.subjective_code),
        )
        if centre
        else "",
        _labelled(_COS, line.cos_heading if cos else None),
        _labelled("Price:", line.price_words if line.unit_price is None else None),
        _labelled("Pool saving", show_pounds(saving) if saving and saving > 0 else None),
    ]
    return {
        "number": str(line.number),
        "description": printable(line.description),
        "notes": [note for note in notes if note],
        "quantity": quantity,
        "unit": printable(line.unit),
        "price": "" if line.unit_price is None else show_unit_price(line.unit_price),
        "net": show_pounds(line.net),
        "rate": rate if line.treatment in {Treatment.STANDARD, Treatment.ZERO} else "None",
        "working": _working(line),
    }


def _working(line: Line) -> list[str]:
    """The sentences of the working; a pool's joint walk follows the share taken of it."""
    sentences = []
    for step in line.working:
        sentences.append(printable(str(step.get("text", ""))))
        joint = step.get("joint_working")
        if isinstance(joint, Mapping) and joint.get("text"):
            sentences.append(f"The joint amount: {printable(str(joint['text']))}")
    return [sentence for sentence in sentences if sentence]


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _labelled(label: str, words: str | None) -> str:
    return f"{label} {printable(words)}" if words else ""
