from html.parser import HTMLParser
from typing import Any

import pytest

from billing.notifications import messages
from billing.notifications.model import KINDS

FACTS: dict[str, dict[str, Any]] = {
    "invoice.issued": {
        "invoice_id": "inv_1",
        "number": "PG-2627-000123",
        "document": "invoice",
        "month": "2026-04",
        "total": "1234.50",
        "due_on": "2026-06-04",
    },
    "invoice.paid": {
        "invoice_id": "inv_1",
        "number": "PG-2627-000123",
        "total": "1234.50",
        "paid_on": "2026-05-20",
    },
    "invoice.reminder": {
        "invoice_id": "inv_1",
        "number": "PG-2627-000123",
        "amount": "1200.00",
        "disputed": "34.50",
        "due_on": "2026-06-04",
        "days_overdue": 14,
    },
    "budget.breached": {
        "budget_id": "bud_1",
        "month": "2026-04",
        "basis": "actual",
        "threshold_percent": 80,
        "limit": "1000.00",
        "amount": "812.40",
    },
    "usage.rejected": {
        "source": "imaging-archive",
        "rejected": 1203,
        "reasons": {"subject-unknown": 1200, "too-old": 3},
        "received_from": "2026-05-05T08:43:00.000000+00:00",
        "received_to": "2026-05-05T08:58:00.000000+00:00",
    },
    "dispute.raised": {
        "dispute_id": "dsp_1",
        "invoice_id": "inv_1",
        "number": "PG-2627-000001",
        "what": "raised",
        "reason": "quantity",
        "amount": "12.00",
        "respond_by": "2026-05-13",
    },
    "dispute.answered": {
        "dispute_id": "dsp_1",
        "invoice_id": "inv_1",
        "number": "PG-2627-000123",
        "outcome": "credited",
    },
    "order.low": {"order": "PO-77", "value": "100.00", "used": "85.00", "used_percent": 85},
    "webhook.paused": {"endpoint_id": "whe_1", "failures": 12, "last_status": 500},
}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def _words(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    return " ".join(parser.words)


def test_every_kind_has_words() -> None:
    assert FACTS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_text_and_html_say_the_same(kind: str) -> None:
    letter = messages.write(
        kind, FACTS[kind], owner_name="Trust RRK", public_url="https://paygo.example"
    )
    assert "\n" not in letter.subject
    html = _words(letter.html)
    for paragraph in letter.text.split("\n\n"):
        for line in paragraph.splitlines():
            said = line.removesuffix(" https://paygo.example/").replace(": ", " ")
            assert said.rstrip(":") in html.replace(": ", " ")
    assert 'href="https://paygo.example/"' in letter.html
    assert 'lang="en-GB"' in letter.html


def test_an_invoice_says_what_to_pay_and_by_when() -> None:
    letter = messages.write(
        "invoice.issued", FACTS["invoice.issued"], owner_name="Trust RRK", public_url=None
    )
    assert letter.subject == "Invoice PG-2627-000123 for April 2026: £1,234.50"
    assert "Pay by: 4 June 2026" in letter.text
    assert "attached as a PDF" in letter.text
    assert "Sign in to paygo" not in letter.text


def test_a_credit_note_asks_for_no_payment() -> None:
    facts = {**FACTS["invoice.issued"], "document": "credit-note"}
    letter = messages.write("invoice.issued", facts, owner_name="Trust RRK", public_url=None)
    assert letter.subject.startswith("Credit note PG-2627-000123")
    assert "Pay by" not in letter.text


def test_a_name_can_be_neither_markup_nor_a_line_of_its_own() -> None:
    letter = messages.write(
        "invoice.paid",
        FACTS["invoice.paid"],
        owner_name="<script>alert(1)</script>\r\nBcc: x@y.example",
        public_url=None,
    )
    assert "<script>" not in letter.html
    assert "&lt;script&gt;" in letter.html
    assert "\r" not in letter.text
    assert "\nBcc" not in letter.text
