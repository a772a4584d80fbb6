"""All documents of an invoice, by name."""

import io

import pytest
from pypdf import PdfReader

from billing.documents.render import DOCUMENTS, available, file_name, render, render_all
from tests.billing.documents import samples


def test_one_by_one_they_are_the_same_as_all_together() -> None:
    invoice = samples.standard_invoice()

    together = render_all(invoice, iter(samples.usage()))

    assert list(together) == list(DOCUMENTS) == list(available(invoice))
    for name, content in together.items():
        assert render(invoice, name, samples.usage()) == content


def test_the_pdf_holds_the_e_invoice_and_the_usage() -> None:
    documents = render_all(samples.standard_invoice(), samples.usage())

    inside = PdfReader(io.BytesIO(documents["pdf"])).attachments

    assert inside == {
        "PG-2627-000123.xml": [documents["ubl"]],
        "PG-2627-000123-usage.csv": [documents["usage"]],
    }


def test_a_draft_has_all_but_the_e_invoice() -> None:
    draft = samples.compose(samples.line())

    assert list(render_all(draft, ())) == ["pdf", "lines", "usage", "focus", "journal"]
    assert file_name(draft, "pdf") == "draft-inv_example.pdf"


def test_an_unknown_document_is_refused() -> None:
    with pytest.raises(KeyError):
        render(samples.standard_invoice(), "docx", ())
