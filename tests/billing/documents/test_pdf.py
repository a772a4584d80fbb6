"""The PDF carries what the law and finance ask, is accessible, and is the same every time."""

import io
import re
from dataclasses import replace
from datetime import date

import pytest
from pypdf import PdfReader

from billing.documents.glyphs import printable
from billing.documents.pdf import Attachment, invoice_pdf, page_model
from billing.invoices.model import Invoice, InvoiceStatus, LineKind
from tests.billing.documents import samples


def read(invoice: Invoice) -> PdfReader:
    return PdfReader(io.BytesIO(invoice_pdf(invoice)))


def text_of(invoice: Invoice) -> str:
    pages = " ".join(page.extract_text() for page in read(invoice).pages)
    return re.sub(r"\s+", " ", pages)


def first_page_of(invoice: Invoice) -> str:
    return re.sub(r"\s+", " ", read(invoice).pages[0].extract_text())


@pytest.mark.parametrize(
    "particular",
    [
        "PG-2627-000123",  # (a) sequential number
        "Tax point (time of supply) 30 April 2026",  # (b) time of supply
        "Date of issue 5 May 2026",  # (c) date of issue
        "NHS England 7 and 8 Wellington Place Leeds LS1 4AP",  # (d) supplier
        "VAT number GB 654 9654 35",  # (d) registration number
        "University Hospitals of Leicester NHS Trust Leicester Royal Infirmary",  # (e) customer
        "Studies archived",  # (g) description
        "2,481 studies £0.50 20% £1,240.50",  # (h) quantity, unit price (n), rate, net
        "Total £3,953.95 £790.79",  # (i) total net, (l) total VAT
        "No cash discount is offered",  # (j) rate of cash discount
        "Standard rate 20% £3,953.95 £790.79",  # rate and amount of each
    ],
)
def test_a_vat_invoice_carries_what_regulation_14_asks(particular: str) -> None:
    assert particular in text_of(samples.standard_invoice())


def test_lines_are_summed_by_cost_centre() -> None:
    assert "By cost centre" in text_of(samples.standard_invoice())
    assert "A10234" in first_page_of(samples.standard_invoice())
    uncoded = replace(
        samples.standard_invoice(),
        lines=tuple(
            replace(line, cost_centre=None, subjective_code=None)
            for line in samples.standard_invoice().lines
        ),
    )
    assert "By cost centre" not in text_of(uncoded)


@pytest.mark.parametrize(
    "particular",
    [
        "Credit note PC-2627-000004",
        "Credits invoice PG-2627-000099 of 7 April 2026",
        "Reason 240 studies were reported twice",
        "Total credited £144.00",
        "Nothing to pay",
    ],
)
def test_a_credit_note_carries_what_regulation_15c_asks(particular: str) -> None:
    assert particular in first_page_of(samples.credit_note())


def test_the_first_page_is_enough_to_pay_by() -> None:
    page = first_page_of(samples.standard_invoice())

    for words in (
        "Total to pay £4,744.74 by 4 June 2026",
        "Sort code 60-70-80",
        "Account number 10014069",
        "Payment reference PG-2627-000123",
        "PO-774120",
        "£48,000.00 left on the order",
        "The national pool saved you £344.21.",
        "Patient index 2 £237.66",
    ):
        assert words in page


def test_a_missing_purchase_order_is_said_out_loud() -> None:
    assert "No purchase order given" in first_page_of(samples.mixed_invoice())


def test_outside_the_scope_of_vat_it_is_no_vat_invoice() -> None:
    page = first_page_of(samples.outside_scope_invoice())

    assert "This is not a VAT invoice" in page
    assert "Supply within the NHS divisional VAT registration" in page
    assert "VAT number" not in page


def test_every_line_is_explained_in_words() -> None:
    text = text_of(samples.standard_invoice())

    assert "How each line was worked out Amounts stay exact" in text
    assert "Line 1: Imaging storage held" in text
    assert "Your 35 are £6,720.00 × 35 ÷ 95 = £2,475.789473…" in text
    assert "The joint amount: The first 1 at £100.00" in text


def test_a_draft_and_a_discarded_draft_ask_for_no_money() -> None:
    draft = samples.compose(samples.line())

    assert "This is not a request for payment" in first_page_of(draft)
    assert "Not yet numbered" in first_page_of(draft)
    assert "wait for the issued invoice" in first_page_of(draft)
    assert "Sort code" not in first_page_of(draft)
    discarded = replace(draft, status=InvoiceStatus.DISCARDED)
    assert "asks for no payment" in first_page_of(discarded)


def test_an_invoice_that_gives_back_asks_for_no_money() -> None:
    reduction = samples.issue(samples.compose(samples.line("-1.00")))

    assert "Nothing to pay This amount is taken off what you owe." in first_page_of(reduction)
    assert "by 4 June 2026" not in first_page_of(reduction)


def test_headers_repeat_over_pages_and_pages_are_counted() -> None:
    invoice = samples.issue(samples.compose(*[samples.line() for _ in range(30)]))

    pages = [page.extract_text() for page in read(invoice).pages]

    with_lines = [text for text in pages[1:4] if "Imaging storage held" in text]
    assert len(with_lines) == 3
    assert all("Description" in text and "Unit price" in text for text in with_lines)
    assert f"Page 1 of {len(pages)}" in pages[0]


def test_the_file_is_tagged_archivable_and_in_british_english() -> None:
    reader = read(samples.standard_invoice())
    catalogue = reader.trailer["/Root"]
    described = catalogue["/Metadata"].get_data().decode()

    assert catalogue["/Lang"] == "en-GB"
    assert catalogue["/MarkInfo"]["/Marked"]
    assert catalogue["/ViewerPreferences"]["/DisplayDocTitle"]
    assert "<pdfaid:part>3</pdfaid:part>" in described
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in described
    assert "<pdfuaid:part>1</pdfuaid:part>" in described
    assert reader.metadata is not None
    assert reader.metadata.title == (
        "Invoice PG-2627-000123, April 2026, University Hospitals of Leicester NHS Trust"
    )
    assert reader.metadata.author == "NHS England"
    assert str(reader.metadata.creation_date) == "2026-05-05 08:30:00+00:00"


def test_only_the_vendored_fonts_are_used_and_embedded() -> None:
    reader = read(samples.standard_invoice())
    fonts = {
        str(font.get_object()["/BaseFont"]).partition("+")[2]
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()
    }

    assert fonts == {"SourceSans3-Regular-Identity-H", "SourceSans3-Semibold-Identity-H"}


def test_the_same_invoice_gives_the_same_bytes() -> None:
    assert invoice_pdf(samples.standard_invoice()) == invoice_pdf(samples.standard_invoice())


def test_files_travel_inside_with_their_relationship() -> None:
    content = "Day,Quantity\r\n2026-04-01,1\r\n".encode("utf-8-sig")
    attachment = Attachment(
        name="usage.csv", content=content, media_type="text/csv", description="Usage"
    )

    reader = PdfReader(
        io.BytesIO(invoice_pdf(samples.standard_invoice(), attachments=[attachment]))
    )

    assert reader.attachments == {"usage.csv": [content]}
    (associated,) = reader.trailer["/Root"]["/AF"]
    assert associated.get_object()["/AFRelationship"] == "/Supplement"


@pytest.mark.parametrize(
    "hostile",
    [
        '#panic("stop")',
        '#read("/etc/passwd")',
        "$ x $ *bold* _it_ `raw` <label> @ref \\ // comment",
        "]; #import",
        '"quoted" {brace} [bracket] \\u{41}',
    ],
)
def test_what_people_typed_is_never_markup(hostile: str) -> None:
    invoice = samples.issue(
        samples.compose(
            samples.line(description=hostile, dimensions=hostile, working=({"text": hostile},)),
            buyer=replace(samples.BUYER, name=hostile),
            notes=(hostile,),
        )
    )

    assert text_of(invoice).replace(" ", "").count(hostile.replace(" ", "")) >= 4


def test_characters_without_a_glyph_do_not_stop_an_invoice() -> None:
    invoice = samples.issue(
        samples.compose(
            samples.line(description="Łódź 漢字 😀 \x07\u202e\ue000 – ok"),
            buyer=replace(samples.BUYER, name="Trust 😀"),
        )
    )

    assert "Łódź" in text_of(invoice)
    assert "□□ □ – ok" in text_of(invoice)
    assert printable("漢\u202ea") == "□a"


def test_amounts_and_dates_are_written_the_british_way() -> None:
    page = page_model(samples.compose(samples.plain_line("1234567.80", "1E+6", "0.000000000001")))
    row = page["groups"][0]["lines"][0]

    assert page["net_total"] == "£1,234,567.80"
    assert row["quantity"] == "1,000,000"
    assert row["price"] == "£0.000000000001"
    assert page["lines_note"] == "Unless a line says otherwise, it is for 1 to 30 April 2026."


def test_what_all_lines_share_is_said_once_and_the_rest_beside_its_line() -> None:
    heading = "Contracted-out services (COS) heading"
    shared = page_model(samples.compose(samples.line(), samples.line()))["groups"][0]
    assert shared["heading"] == "Cost centre A10234 · subjective code 52160"
    assert shared["note"] == f"Imaging archive · {heading} 14"
    assert not any(heading in note for row in shared["lines"] for note in row["notes"])
    (mixed,) = page_model(
        samples.compose(
            samples.line(),
            samples.line(cos_heading=None, first_day=date(2026, 4, 16), end_day=date(2026, 5, 1)),
        )
    )["groups"]
    assert mixed["note"] == "Imaging archive"
    first, second = mixed["lines"]
    assert f"{heading} 14" in first["notes"]
    assert "16 to 30 April 2026" in second["notes"][0]
    assert not any(heading in note for note in second["notes"])


def test_lines_stand_under_cost_centres_and_corrections_apart() -> None:
    page = page_model(
        samples.compose(
            samples.line(cost_centre="A1", subjective_code=None),
            samples.plain_line("2.00", "4", "0.50", cost_centre="A1", service="Patient index"),
            samples.plain_line("3.00", "6", "0.50", cost_centre=None),
            samples.plain_line("-1.00", "-2", "0.50", kind=LineKind.CORRECTION),
        )
    )
    assert [group["heading"] for group in page["groups"]] == [
        "Cost centre A1",
        "Cost centre A1 · subjective code 52160",
        "No cost centre",
        "Corrections of earlier months",
    ]
    notes = page["groups"][3]["lines"][0]["notes"]
    assert "Cost centre A10234 · subjective code 52160" in notes
    plain = page_model(
        samples.compose(
            samples.line(cost_centre=None),
            samples.plain_line("2.00", "4", "0.50", cost_centre=None, service="Patient index"),
        )
    )
    assert [group["heading"] for group in plain["groups"]] == ["Imaging archive", "Patient index"]


@pytest.mark.parametrize("services", [2, 30])
def test_no_page_is_left_nearly_empty(services: int) -> None:
    """A summary that fits has the first page alone; of one that runs over, the lines follow on."""
    lines = [samples.line(service=f"Service {number}") for number in range(services)]
    pages = [page.extract_text() for page in read(samples.issue(samples.compose(*lines))).pages]
    assert "No cash discount is offered" in pages[0 if services == 2 else 1]
    assert "Description" not in pages[0]
    assert "Description" in pages[1]
