"""Formats and forms of pages, and the macros drawn in one page."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from flask import Flask, render_template_string, url_for
from marshmallow import Schema, fields

from billing.forms import Form, read_form
from billing.web import quantity_text, show_day, show_moment, show_money, show_month
from metering.kit.errors import FieldError, Invalid
from metering.periods import Month


class BookForm(Schema):
    """A form of the test's own."""

    name = fields.String(required=True, error_messages={"required": "Enter a name"})
    secret = fields.String(
        required=True, error_messages={"required": "Enter it"}, metadata={"secret": True}
    )
    amount = fields.Decimal(error_messages={"invalid": "Enter an amount, like 12.50"})


def test_dates_are_written_as_the_service_manual_says_on_the_london_clock() -> None:
    late = datetime(2026, 3, 31, 23, 5, tzinfo=UTC)
    assert ">1 April 2026</time>" in show_day(late)
    assert ">1 April 2026</time>" in show_day(date(2026, 4, 1))
    assert ">1 April 2026 at 12:05am</time>" in show_moment(late)
    assert "at 12:00pm" in show_moment(datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert show_month("2026-04") == show_month(Month(2026, 4)) == "April 2026"


def test_amounts_and_quantities_mark_their_thousands() -> None:
    assert "£1,234.50" in show_money(Decimal("1234.5"))
    assert quantity_text(Decimal("1234567.500")) == "1,234,567.5"
    assert quantity_text(Decimal("-0.000000001")) == "−0.000000001"
    assert quantity_text(Decimal("1E+3")) == "1,000"


def test_a_form_that_does_not_fit_keeps_what_was_typed_but_no_secret() -> None:
    form, loaded = read_form(BookForm(), {"name": " ", "secret": "s3", "amount": "x", "more": "y"})
    assert loaded is None
    assert form.errors == {"name": "Enter a name", "amount": "Enter an amount, like 12.50"}
    assert form.values == {"name": " ", "amount": "x"}
    assert form.error_list[0] == {"text": "Enter a name", "href": "#name"}


def test_a_form_that_fits_is_trimmed_and_loaded() -> None:
    _, loaded = read_form(BookForm(), {"name": " Ada ", "secret": " s3 ", "amount": ""})
    assert loaded == {"name": "Ada", "secret": " s3 "}


def test_a_refusal_goes_to_its_fields_or_to_the_whole() -> None:
    field = Invalid("No.", errors=(FieldError("/email", "taken", "It is taken."),))
    assert Form().with_refusal(field).errors == {"email": "It is taken."}
    assert Form().with_refusal(field, fields={"/email": "address"}).errors == {
        "address": "It is taken."
    }
    assert Form().with_refusal(Invalid("No.")).error_list == [{"text": "No."}]


def test_what_people_typed_is_never_markup(app: Flask) -> None:
    with app.test_request_context("/"):
        page = render_template_string(
            '{% import "ui.html" as ui %}{{ ui.empty(text) }}{{ ui.status(text) }}'
            "{{ ui.text_field(form, 'name', 'Name') }}"
            '{{ ui.summary_card("Card", [("Key", text)]) }}',
            text="<script>alert(1)</script>",
            form=Form({"name": '"><script>'}, {"name": "<script>"}),
        )
    assert "<script" not in page


def test_the_address_of_a_static_file_changes_with_the_file(app: Flask) -> None:
    client = app.test_client()
    with app.test_request_context("/"):
        address = url_for("static", filename="paygo.css")
    page = client.get("/help").text
    assert f"{address}?v=" in page


@pytest.mark.parametrize("path", ["/help", "/accessibility", "/privacy", "/cookies", "/problems"])
def test_public_pages_are_open_to_all(app: Flask, path: str) -> None:
    assert app.test_client().get(path).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in?next=%00", "/%00", "/invoices/%00"])
def test_an_address_with_a_null_character_is_explained_on_a_page(app: Flask, path: str) -> None:
    answer = app.test_client().get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 400
    assert "null character" in answer.text


def test_every_problem_has_its_page(app: Flask) -> None:
    client = app.test_client()
    assert "5 failed" not in client.get("/problems/not-found").text
    assert "within 15 minutes" in client.get("/problems/too-many-sign-ins").text
    assert client.get("/problems/no-such-thing").status_code == 404
