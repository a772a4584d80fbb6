"""No NHS number enters by a form, a JSON body or a file: one check for every free text.

Usage events have a check of their own, which refuses the event and not its batch.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields

from metering.kit.errors import FieldError, Invalid
from metering.kit.nhs_number import holds_nhs_number, is_nhs_number

SENTENCE = (
    "This looks as if it holds an NHS number. Take it out: paygo keeps nothing about patients."
)


class HoldsNhsNumber(Invalid):
    """A text looks as if it held an NHS number; nothing of what was sent was kept."""

    code = "nhs-number"
    title = "Paygo keeps nothing about patients"


def no_nhs_number(text: str) -> None:
    """Refuse a text that holds an NHS number; a validator for marshmallow fields.

    Raises:
        ValidationError: it does.
    """
    if holds_nhs_number(text):
        raise ValidationError(SENTENCE)


def faults(schema: Schema, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the sentence for each text of `given` that holds an NHS number, by field.

    Looked at is every `String` field of the schema, within lists and nested schemas too,
    but a `secret` one. A field with `metadata={"reference": True}` may be ten digits and
    nothing else, since finance systems number their orders so and one number in eleven
    passes for an NHS number by chance.
    """
    found = {}
    for name, field in schema.fields.items():
        value = given.get(name if name in given else field.data_key or name)
        if value is not None and _holds(field, value):
            found[name] = SENTENCE
    return found


def check(schema: Schema, given: Mapping[str, Any]) -> None:
    """Refuse a JSON body or query that holds an NHS number in a text.

    Raises:
        HoldsNhsNumber: with a pointer to each field.
    """
    found = faults(schema, given)
    if found:
        raise HoldsNhsNumber(
            SENTENCE,
            errors=tuple(
                FieldError(f"/{name}", "nhs-number", said) for name, said in found.items()
            ),
        )


def check_text(text: str) -> str:
    """Return a free text as it is.

    Raises:
        HoldsNhsNumber: it holds an NHS number.
    """
    if holds_nhs_number(text):
        raise HoldsNhsNumber(SENTENCE)
    return text


def _holds(field: fields.Field[Any], value: Any) -> bool:
    if isinstance(field, fields.List):
        return isinstance(value, list) and any(_holds(field.inner, one) for one in value)
    if isinstance(field, fields.Nested):
        many = value if isinstance(value, list) else [value]
        return any(isinstance(one, Mapping) and bool(faults(field.schema, one)) for one in many)
    if not isinstance(field, fields.String) or not isinstance(value, str):
        return False
    if field.metadata.get("secret"):
        return False
    if field.metadata.get("reference") and is_nhs_number(value) and value.strip().isdigit():
        return False
    return holds_nhs_number(value)
