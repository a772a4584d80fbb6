"""No NHS number enters paygo by a form, a JSON body or a file."""

import re
from pathlib import Path

import pytest
from marshmallow import Schema, ValidationError, fields

import billing
from billing.console import payment_schemas
from billing.console.account_schemas import NewAccountForm, OrderForm
from billing.forms import read_form, read_text, read_typed
from billing.tariffs.parsing import TariffRefused, parse_tariff
from metering.kit import privacy
from metering.kit.privacy import HoldsNhsNumber, no_nhs_number
from tests import make

NUMBER = "943 476 5919"
TOGETHER = "9434765919"


def test_a_form_refuses_an_nhs_number_in_any_text_and_does_not_show_it_again() -> None:
    typed = {
        "organisation": "RRK",
        "name": f"Trust of {NUMBER}",
        "address": f"Ward 4, {TOGETHER}",
        "postcode": "LS1 4AP",
        "email": "finance@rrk.example",
        "payment_terms_days": "30",
    }
    form, loaded = read_form(NewAccountForm(), typed)
    assert loaded is None
    assert form.errors == {"name": privacy.SENTENCE, "address": privacy.SENTENCE}
    assert form.value("name") == "Trust of **********"
    assert form.value("postcode") == "LS1 4AP"


def test_a_password_is_nobodys_business() -> None:
    class SignIn(Schema):
        password = fields.String(metadata={"secret": True})

    _, loaded = read_form(SignIn(), {"password": TOGETHER})
    assert loaded == {"password": TOGETHER}


@pytest.mark.parametrize(
    ("number", "taken"), [(TOGETHER, True), (NUMBER, False), (f"PO for {TOGETHER}", False)]
)
def test_an_order_may_be_numbered_by_ten_digits_alone(number: str, taken: bool) -> None:
    # One ten-digit number in eleven passes the check, and finance systems number so.
    form, _ = read_form(OrderForm(), {"number": number, "starts_on": "2026-04-01"})
    assert ("number" not in form.errors) is taken


def test_a_body_is_refused_by_the_place_of_the_fault() -> None:
    class Inner(Schema):
        words = fields.List(fields.String())

    class Body(Schema):
        note = fields.String()
        parts = fields.List(fields.Nested(Inner))
        quantity = fields.Decimal()

    with pytest.raises(HoldsNhsNumber) as refused:
        privacy.check(
            Body(),
            {"note": "fine", "parts": [{"words": ["x", NUMBER]}], "quantity": TOGETHER},
        )
    assert [fault.pointer for fault in refused.value.errors] == ["/parts"]


def test_the_validator_and_the_reader_of_one_text_refuse() -> None:
    with pytest.raises(ValidationError):
        no_nhs_number(f"see {NUMBER}")
    with pytest.raises(HoldsNhsNumber):
        read_text({"reason": f"see {NUMBER}"}, "reason")
    assert read_text({"reason": " asked for by Leeds "}, "reason") == "asked for by Leeds"


def test_a_tariff_file_is_read_for_them_too() -> None:
    document = {
        "tariff": "imaging-archive",
        "version": "v1",
        "effective_from": "2026-04-01",
        "vat": "standard",
        "prices": [
            make.price(label=f"Studies of {NUMBER}"),
            make.price(where={"ward": TOGETHER}, label="Of a ward"),
        ],
    }
    with pytest.raises(TariffRefused) as refused:
        parse_tariff(document)
    assert [(fault.pointer, fault.code) for fault in refused.value.errors] == [
        ("/prices/0/label", "nhs-number"),
        ("/prices/1/where", "nhs-number"),
    ]


FREE_TEXT = "reason|why|note|words|message|comment|description|\\w+_reason"


def test_no_view_reads_a_free_text_around_the_check() -> None:
    """Read it by a schema, by `read_text` or by `read_typed`."""
    read = re.compile(rf'request\.(?:form|values)\.get\(\s*"({FREE_TEXT})"')
    several = re.compile(r"\{\s*name: request\.form\.get\(name[^}]*\}", re.S)
    found = set()
    for path in Path(billing.__file__).parent.rglob("*.py"):
        written = path.read_text(encoding="utf-8")
        found |= {(path.name, name) for name in read.findall(written)}
        for part in several.findall(written):
            found |= {(path.name, name) for name in re.findall(rf'"({FREE_TEXT})"', part)}
    # There it is the code of a reason, which is looked up.
    assert found == {("quarantine_views.py", "reason")}


def test_several_texts_of_a_form_without_a_schema_are_read_with_the_check() -> None:
    form = read_typed(
        {"amount": " 12.00 ", "reason": f"see {NUMBER}", "more": "x"}, "amount", "reason"
    )
    assert form.values == {"amount": "12.00", "reason": "see **********"}
    assert form.errors == {"reason": privacy.SENTENCE}


def test_every_free_text_of_the_payments_api_is_checked() -> None:
    """Its bodies are loaded by their schemas alone."""
    tried = 0
    for schema in vars(payment_schemas).values():
        if not (isinstance(schema, type) and issubclass(schema, Schema)):
            continue
        for name in schema._declared_fields:
            if re.fullmatch(FREE_TEXT, name):
                with pytest.raises(ValidationError) as refused:
                    schema().load({name: f"see {NUMBER}"}, partial=True)
                assert refused.value.messages_dict == {name: [privacy.SENTENCE]}, schema
                tried += 1
    assert tried > 3
