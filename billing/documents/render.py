"""All documents of an invoice by name, for jobs and downloads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from billing.documents.focus import focus_csv
from billing.documents.journal import journal_csv
from billing.documents.lines_csv import lines_csv
from billing.documents.pdf import Attachment, invoice_pdf
from billing.documents.ubl import ubl_xml
from billing.documents.usage_csv import usage_csv
from billing.documents.words import file_stem
from billing.invoices.backing import UsageRow
from billing.invoices.model import Invoice


@dataclass(frozen=True, kw_only=True)
class Document:
    """A kind of document: what it is called, its media type and the end of its file name."""

    title: str
    media_type: str
    suffix: str


DOCUMENTS: Mapping[str, Document] = {
    "pdf": Document(title="Invoice (PDF)", media_type="application/pdf", suffix=".pdf"),
    "lines": Document(title="Lines (CSV)", media_type="text/csv", suffix="-lines.csv"),
    "usage": Document(title="Usage (CSV)", media_type="text/csv", suffix="-usage.csv"),
    "ubl": Document(title="E-invoice (UBL)", media_type="application/xml", suffix=".xml"),
    "focus": Document(title="Cost and usage (FOCUS)", media_type="text/csv", suffix="-focus.csv"),
    "journal": Document(title="Journal (CSV)", media_type="text/csv", suffix="-journal.csv"),
}


def file_name(invoice: Invoice, name: str) -> str:
    """Return the file name of the document `name`, for example `PG-2627-000123-lines.csv`."""
    return f"{file_stem(invoice)}{DOCUMENTS[name].suffix}"


def available(invoice: Invoice) -> tuple[str, ...]:
    """Return the names of the documents there are: all, but no e-invoice without a number."""
    return tuple(name for name in DOCUMENTS if name != "ubl" or invoice.number is not None)


def render(invoice: Invoice, name: str, usage_rows: Iterable[UsageRow]) -> bytes:
    """Return one document; `usage_rows` is read for `usage` and `pdf` alone.

    Raises:
        KeyError: there is no document of that name.
        ValueError: an e-invoice is asked of a document without a number.
    """
    makers = {"lines": lines_csv, "ubl": ubl_xml, "focus": focus_csv, "journal": journal_csv}
    if name in makers:
        return makers[name](invoice)
    usage = usage_csv(usage_rows)
    if name == "usage":
        return usage
    if name != "pdf":
        raise KeyError(name)
    e_invoice = ubl_xml(invoice) if "ubl" in available(invoice) else None
    return _pdf(invoice, usage=usage, e_invoice=e_invoice)


def render_all(invoice: Invoice, usage_rows: Iterable[UsageRow]) -> dict[str, bytes]:
    """Return every available document by its name in `DOCUMENTS`; reads `usage_rows` once."""
    documents = {
        "lines": lines_csv(invoice),
        "usage": usage_csv(usage_rows),
        "focus": focus_csv(invoice),
        "journal": journal_csv(invoice),
    }
    if "ubl" in available(invoice):
        documents["ubl"] = ubl_xml(invoice)
    documents["pdf"] = _pdf(invoice, usage=documents["usage"], e_invoice=documents.get("ubl"))
    return {name: documents[name] for name in available(invoice)}


def _pdf(invoice: Invoice, *, usage: bytes, e_invoice: bytes | None) -> bytes:
    """Return the PDF with its e-invoice and usage inside."""
    attachments: Sequence[Attachment] = [
        Attachment(
            name=file_name(invoice, "usage"),
            content=usage,
            media_type="text/csv",
            description="The usage behind the lines, one row a reading",
        )
    ]
    if e_invoice is not None:
        attachments = [
            Attachment(
                name=file_name(invoice, "ubl"),
                content=e_invoice,
                media_type="application/xml",
                description="The same document as a UBL e-invoice (Peppol BIS Billing 3.0)",
                relationship="alternative",
            ),
            *attachments,
        ]
    return invoice_pdf(invoice, attachments=attachments)
