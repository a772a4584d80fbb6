"""Proposing a local agreement: other prices as a form or as YAML, a discount, a commitment."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Response, render_template, request
from marshmallow import Schema, fields, validate

from billing.access.guards import current_principal
from billing.accounts import local_operations as operations
from billing.console.account_queries import groups_of
from billing.console.account_views import account_name, done
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import (
    FormPage,
    Input,
    day,
    keeping_dates,
    optional_text,
    pounds,
    text,
    with_dates,
)
from billing.console.local_views import local_crumbs
from billing.console.overview_queries import tariff_names
from billing.console.price_fields import at_fields, is_typed, price_choices, read_price
from billing.console.tariff_places import Problem, place_of, problems
from billing.forms import Form, read_form
from billing.money import plain
from billing.tariffs.bands import Band
from billing.tariffs.files import dump_document, load_document
from billing.tariffs.model import parse_prices
from billing.tariffs.queries import in_force
from billing.tariffs.terms import price_document
from metering.kit.errors import FieldError, Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.meters.queries import every as meters_of
from metering.periods import london_day

Answer = Response | str | tuple[str, int]

_PRICE = "price-"
_SCOPES = ("own", "group")
_EXAMPLE = (
    "YAML as the prices of a tariff file, which the tariff’s page exports. Each takes the "
    "place of the tariff’s price for the same use, or is added. The form below writes it too. May "
    "be left out"
)


class LocalForm(Schema):
    """A proposal; its prices are read apart, as a document."""

    tariff = text("Choose a service")
    group = optional_text(longest=20)
    starts_on = day("Enter the first day")
    ends_on = day("", required=False)
    discount_percent = fields.Decimal(
        load_default=None,
        allow_nan=False,
        validate=validate.Range(min=0, max=100, error="Enter a percentage from 0 to 100"),
        error_messages={"invalid": "Enter a percentage, for example 2.5"},
    )
    commitment = pounds("Enter pounds and pence, for example 12000.00")
    commitment_per = fields.String(
        load_default="month", validate=validate.OneOf(("month", "financial-year"))
    )
    reason = optional_text(longest=500)


@blueprint.route("/accounts/<account_id>/local/new", methods=["GET", "POST"])
@guarded(PREPARES)
def propose_local(account_id: str) -> Answer:
    """Propose other terms than the tariff's for an account or its group."""
    today = london_day(edge().clock())
    with edge().database.snapshot() as session:
        name = account_name(session, account_id)
        services = sorted(tariff_names(session).items(), key=lambda item: item[1])
        groups = groups_of(session, account_id=account_id)
        meters = list(meters_of(session))
        bands = {
            band.name: band
            for found in in_force(session, from_day=today, to_day=today + timedelta(days=1))
            for band in found.tariff.bands
        }.values()
    form, faults = Form({"commitment_per": "month"}), tuple[Problem, ...]()
    if request.method == "POST":
        form, sent = read_form(LocalForm(), with_dates(request.form, "starts_on", "ends_on"))
        form = keeping_dates(form, request.form, "starts_on", "ends_on")
        typed = {name: text for name, text in request.form.items() if name.startswith(_PRICE)}
        prices = request.form.get("prices", "").replace("\r\n", "\n")
        form = Form({**form.values, "prices": prices, **typed}, form.errors)
        adding = request.form.get("act") == "add-price"
        price = {name.removeprefix(_PRICE): text for name, text in typed.items()}
        if adding:
            # What is wrong elsewhere is said when the terms are proposed.
            form = _with_price(Form(form.values), price, tuple(bands))
        elif is_typed(price):
            form = _with_price(form, price, tuple(bands))
        if sent is not None and not adding and not form.errors:
            try:
                terms = _terms(sent, form.value("prices"))
                with edge().database.transaction() as session:
                    operations.propose_local_agreement(
                        session,
                        tariff_code=sent["tariff"],
                        account_id=None if sent["group"] else account_id,
                        group_code=sent["group"] or None,
                        starts_on=sent["starts_on"],
                        ends_on=sent["ends_on"],
                        terms=terms,
                        reason=sent["reason"],
                        principal=current_principal().id,
                        now=edge().clock(),
                    )
                return done(account_id, "The terms are proposed. Somebody else approves them.")
            except Refusal as refusal:
                form, faults = _with_faults(form, refusal, form.value("prices"))
    inputs = (
        Input("tariff", "Service", "choice", options=(("", "Choose one"), *services)),
        Input(
            "group",
            "For",
            "choice",
            options=(("", "This account"), *((code, f"Every member of {code}") for code in groups)),
        ),
        Input("starts_on", "First day", "date"),
        Input("ends_on", "First day that they no longer cover", "date", hint="Empty: open end"),
        Input("discount_percent", "Discount, percent", "number", width="5"),
        Input("commitment", "Promises to spend at least, pounds", "number"),
        Input(
            "commitment_per",
            "in each",
            "choice",
            options=(("month", "Month"), ("financial-year", "Financial year")),
        ),
        Input("prices", "Other prices", "code", hint=_EXAMPLE, rows=14),
        Input(
            "reason",
            "Reason, if this changes months that are invoiced",
            hint="Leave it empty otherwise",
        ),
    )
    page = FormPage(
        "Propose local terms",
        form,
        inputs,
        "Propose the terms",
        local_crumbs(account_id, name),
        caption=name,
        words="Nothing changes until another person approves them.",
    )
    shown = render_template(
        "console/local_form.html",
        page=page,
        problems=faults,
        price_prefix=_PRICE,
        price_open=any(name.startswith(_PRICE) for name in form.errors),
        choices=price_choices(form, meters=meters, bands=bands, scopes=_SCOPES, prefix=_PRICE),
    )
    return (shown, 422) if form.errors else shown


def _with_price(form: Form, price: Mapping[str, str], bands: tuple[Band, ...]) -> Form:
    """Return the form with the price that was typed among its prices, or with its faults."""
    typed = read_price(price, key=None)
    try:
        (read,) = parse_prices([typed.document], bands=bands)
    except Refusal as refusal:
        return at_fields(
            form, refusal, at="/0", whole=f"{_PRICE}model", rows=typed.rows, prefix=_PRICE
        )
    try:
        before = _listed(form.value("prices"))
    except Refusal as refusal:
        return form.with_error(refusal.detail, name="prices")
    if not isinstance(before, list):
        return form.with_error("The prices are a list, each beginning with a dash.", name="prices")
    kept = {name: text for name, text in form.values.items() if not name.startswith(_PRICE)}
    written = dump_document([*before, price_document(read)])
    return Form({**kept, "prices": written}, form.errors)


def _listed(prices: str) -> object:
    """Return the prices of a document: a list, or what a mapping that holds only them holds."""
    if not prices.strip():
        return []
    document = load_document(prices)
    if isinstance(document, dict) and set(document) == {"prices"}:
        document = document["prices"]
    return document


def _terms(sent: Mapping[str, Any], prices: str) -> dict[str, Any]:
    """Return the terms as typed."""
    terms: dict[str, Any] = {}
    if sent["discount_percent"] is not None:
        terms["discount_percent"] = plain(sent["discount_percent"])
    if sent["commitment"] is not None:
        terms["commitment"] = {
            # Not rounded: an amount with more than pennies is refused, not changed.
            "amount": plain(sent["commitment"]),
            "per": sent["commitment_per"],
        }
    if prices.strip():
        terms["prices"] = _listed(prices)
    return terms


def _with_faults(form: Form, refusal: Refusal, prices: str) -> tuple[Form, tuple[Problem, ...]]:
    """Return the form with what was refused, and each fault of the prices with its line."""
    faults = refusal.errors
    if not faults:
        unreadable = refusal.code == "tariff-unreadable"
        return form.with_error(refusal.detail, name="prices" if unreadable else ""), ()
    found = []
    for fault in faults:
        _, name, *_ = (*fault.pointer.split("/"), "")
        if name == "prices":
            found.append(_problem(prices, fault))
        else:
            form = form.with_error(fault.detail, name=name)
    if found:
        form = form.with_error("The prices need putting right.", name="prices")
    return form, tuple(found)


def _problem(prices: str, fault: FieldError) -> Problem:
    named = prices.lstrip().startswith(("prices:", "{"))
    within = fault.pointer if named else fault.pointer.removeprefix("/prices")
    (found,) = problems(prices, (FieldError(within, fault.code, fault.detail),))
    return Problem(found.line, place_of(fault.pointer), fault.detail)
