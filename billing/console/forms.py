"""Forms of the console: described once, drawn by `console/form.html`, done by `submit`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, Literal, TypeVar

from flask import render_template, request
from marshmallow import Schema, fields, validate
from sqlalchemy.orm import Session

from billing.forms import Form, read_form
from metering.kit.errors import Refusal
from metering.kit.web import edge

T = TypeVar("T")
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


def refused(form: Form, refusal: Refusal, field_name: str = "") -> Form:
    """Return the form with a refusal: at its fields, else at `field_name`, else above all."""
    if refusal.errors:
        return form.with_refusal(refusal)
    return form.with_error(refusal.detail, name=field_name)


def submit(
    schema: Schema,
    act: Callable[[Session, dict[str, Any]], T],
    *,
    start: Form | None = None,
    dates: Sequence[str] = (),
    field_name: str = "",
    faults: Callable[[Form, Refusal], Form] | None = None,
) -> tuple[Form, T | None]:
    """Do what a form asks for, in one transaction, where it was sent and is right.

    Args:
        act: is given what the schema loaded; what it refuses comes back in the form.
        start: the form before anything was typed.
        dates: fields of three parts each.
        field_name: where a refusal that names no field is shown.
        faults: places a refusal otherwise.

    Returns:
        The form to show, and what `act` returned; None where the page is to be shown.
    """
    if request.method != "POST":
        return start or Form(), None
    form, sent = read_form(schema, with_dates(request.form, *dates))
    form = keeping_dates(form, request.form, *dates)
    if sent is None:
        return form, None
    try:
        with edge().database.transaction() as session:
            return form, act(session, sent)
    except Refusal as refusal:
        return (faults or partial(refused, field_name=field_name))(form, refusal), None


def show(page: FormPage) -> str | tuple[str, int]:
    """Return the page of a form; with status 422 where something in it is wrong."""
    drawn = render_template("console/form.html", page=page)
    return (drawn, 422) if page.form.errors else drawn
