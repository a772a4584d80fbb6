"""A form on a page: what was typed, and what is wrong with it.

The shape of a form is a marshmallow schema; a form that does not fit comes
back with everything that was typed and one message for each field. Passwords
are never sent back. A text that holds an NHS number is refused in every form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError

from metering.kit import privacy
from metering.kit.errors import Refusal
from metering.kit.nhs_number import holds_nhs_number, mask_nhs_numbers


@dataclass(frozen=True)
class Form:
    """What a template shows of a form.

    Attributes:
        values: as typed, by field.
        errors: one plain sentence for a faulty field, by field; `""` is the form as a whole.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def error_list(self) -> list[dict[str, str]]:
        """The error summary's entries, each linked to its field."""
        return [
            {"text": text, "href": f"#{name}"} if name else {"text": text}
            for name, text in self.errors.items()
        ]

    def value(self, name: str) -> str:
        """Return what was typed into a field, `""` where nothing was."""
        return self.values.get(name, "")

    def error(self, name: str) -> dict[str, str] | None:
        """Return a field's message as the nhsuk macros take it, None where it is right."""
        text = self.errors.get(name)
        return None if text is None else {"text": text}

    def with_error(self, text: str, *, name: str = "") -> "Form":
        """Return the form with one more message."""
        return Form(self.values, {**self.errors, name: text})

    def with_refusal(self, refusal: Refusal, *, fields: Mapping[str, str] | None = None) -> "Form":
        """Return the form with what an operation refused.

        Args:
            refusal: its field errors go to their fields, else its detail to the whole.
            fields: names of this form's fields by the refusal's JSON pointers, where
                they differ from the pointer without its slash.
        """
        if not refusal.errors:
            return self.with_error(refusal.detail)
        found = {
            (fields or {}).get(fault.pointer, fault.pointer.lstrip("/")): fault.detail
            for fault in refusal.errors
        }
        return Form(self.values, {**self.errors, **found})


def _first(messages: Any) -> str:
    while isinstance(messages, dict | list):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return str(messages)


def read_form(schema: Schema, typed: Mapping[str, str]) -> tuple[Form, Any | None]:
    """Read what was typed by a schema.

    Empty fields count as missing, so that a schema's `required` says "Enter your …".

    Args:
        schema: its fields' names are the inputs' names; `load_only` marks passwords.
        typed: `request.form` or `request.args`.

    Returns:
        The form to show again, and what the schema loaded (None when it does not fit).
    """
    known = {name: typed[name] for name in schema.fields if name in typed}
    values = {
        name: text for name, text in known.items() if not schema.fields[name].metadata.get("secret")
    }
    # A password may begin with a space; nothing else that people type may.
    given = {
        name: text if schema.fields[name].metadata.get("secret") else text.strip()
        for name, text in known.items()
    }
    patients = privacy.faults(schema, given)
    if patients:
        shown = {**values, **{name: mask_nhs_numbers(values[name]) for name in patients}}
        return Form(shown, patients), None
    try:
        loaded = schema.load({name: text for name, text in given.items() if text}, unknown=EXCLUDE)
    except ValidationError as error:
        messages = error.messages_dict
        in_order = [*(name for name in schema.fields if name in messages), "_schema"]
        errors = {
            "" if name == "_schema" else name: _first(messages[name])
            for name in in_order
            if name in messages
        }
        return Form(values, errors), None
    return Form(values), loaded


def read_typed(typed: Mapping[str, str], *names: str) -> Form:
    """Return the fields of a form that has no schema as they were typed.

    One that holds an NHS number is in error, and shown masked.
    """
    values = {name: typed.get(name, "").strip() for name in names}
    patients = {name: privacy.SENTENCE for name in names if holds_nhs_number(values[name])}
    shown = {**values, **{name: mask_nhs_numbers(values[name]) for name in patients}}
    return Form(shown, patients)


def read_text(typed: Mapping[str, str], name: str, *, longest: int = 500) -> str:
    """Return one free text of a form that has no schema, such as a reason; `""` where empty.

    Raises:
        HoldsNhsNumber: it holds an NHS number.
    """
    return privacy.check_text(typed.get(name, "").strip()[:longest])
