"""Forms of the console: described once, drawn by `console/form.html`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from marshmallow import fields, validate

from billing.forms import Form

Kind = Literal["text", "lines", "date", "choice", "tick", "email", "number", "code", "file"]
DATE_PARTS = ("day", "month", "year")


@dataclass(frozen=True)
class Input:
    """One field of a form as a page shows it.

    Attributes:
        options: (value, text) pairs of a `choice`.
        width: in characters, as nhsuk has it: 2, 3, 4, 5, 10, 20 or 30.
    """

    name: str
    label: str
    kind: Kind = "text"
    hint: str = ""
    options: Sequence[tuple[str, str]] = ()
    width: str | None = None
    rows: int = 4


@dataclass(frozen=True)
class FormPage:
    """A page that is one form.

    Attributes:
        crumbs: (text, address) from the top, without this page.
        words: what the person should know before they fill it in.
    """

    title: str
    form: Form
    inputs: tuple[Input, ...]
    submit: str
    crumbs: tuple[tuple[str, str], ...] = ()
    caption: str = ""
    words: str = ""
    warning: bool = False
    hidden: Mapping[str, str] = field(default_factory=dict)


def with_dates(typed: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return what was typed with each date's three parts put together as `YYYY-MM-DD`."""
    merged = dict(typed)
    for name in names:
        day, month, year = (typed.get(f"{name}-{part}", "").strip() for part in DATE_PARTS)
        if day or month or year:
            merged[name] = f"{year}-{month:0>2}-{day:0>2}"
    return merged


def keeping_dates(form: Form, typed: Mapping[str, str], *names: str) -> Form:
    """Return the form with the parts of its dates as they were typed."""
    parts = {
        f"{name}-{part}": typed.get(f"{name}-{part}", "") for name in names for part in DATE_PARTS
    }
    return Form({**form.values, **parts}, form.errors)


def date_values(name: str, day: date | None) -> dict[str, str]:
    """Return a date as the three parts of its input."""
    if day is None:
        return {}
    return {
        f"{name}-day": str(day.day),
        f"{name}-month": str(day.month),
        f"{name}-year": f"{day:%Y}",
    }


def text(message: str, *, longest: int = 254, reference: bool = False) -> fields.String:
    """Return a required text; `message` says to enter it.

    Args:
        reference: it is a number of a finance system, which may look like an NHS number.
    """
    return fields.String(
        required=True,
        metadata={"reference": reference},
        error_messages={"required": message},
        validate=validate.Length(max=longest, error="Use at most {max} characters."),
    )


def optional_text(*, longest: int = 254) -> fields.String:
    """Return a text that may be left out."""
    return fields.String(
        load_default="",
        validate=validate.Length(max=longest, error="Use at most {max} characters."),
    )


def day(message: str, *, required: bool = True) -> fields.Date:
    """Return a London date; `message` says to enter it."""
    wrong = "Enter a real date, for example 1 4 2026"
    messages: dict[str, Any] = {"required": message, "invalid": wrong}
    if required:
        return fields.Date(required=True, error_messages=messages)
    return fields.Date(load_default=None, error_messages=messages)


def pounds(message: str) -> fields.Decimal:
    """Return an amount of pounds that may be left out; exact, at most two places."""
    return fields.Decimal(
        load_default=None,
        places=None,
        allow_nan=False,
        validate=validate.Range(min=0, error=message),
        error_messages={"invalid": message},
    )
