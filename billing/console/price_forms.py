"""A draft's terms and its prices as forms: a row for each tier, a fault at its field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, render_template, request, url_for
from marshmallow import Schema
from sqlalchemy.orm import Session

from billing.access.guards import current_principal
from billing.console.blueprint import PREPARES, blueprint
from billing.console.forms import (
    FormPage,
    Input,
    date_values,
    day,
    keeping_dates,
    optional_text,
    text,
    with_dates,
)
from billing.console.tariff_pages import MODEL_WORDS, SCOPE_WORDS
from billing.forms import Form, read_form
from billing.tariffs import operations, queries
from billing.tariffs.model import Price, Tariff, parse_tariff, to_document
from billing.tariffs.queries import TariffVersionUnknown
from billing.tariffs.tables import TariffVersionRow
from billing.tariffs.terms import MODELS, SCOPES, VAT_TREATMENTS, price_document
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.meters.queries import every as meters_of
from metering.meters.tables import MeterRow

Answer = Response | str | tuple[str, int]

TIER_ROWS_LEAST, TIER_ROWS_MOST = 4, 20
_PLAIN = ("label", "meter", "model", "scope", "band", "unit", "resets")
_NUMBERS = (
    "unit_price",
    "package_size",
    "package_price",
    "amount",
    "percent",
    "discount_percent",
    "minimum",
    "maximum",
)
_TIER_PARTS = ("up_to", "unit_price", "flat")
_TIDY = re.compile(r"[£,\s]")


class TermsForm(Schema):
    """What holds for the whole version."""

    version = text("Enter the version's name", longest=100)
    effective_from = day("Enter the first day")
    vat = text("Choose a VAT treatment")
    vat_reason = optional_text(longest=200)
    cos_heading = optional_text(longest=20)
    bands = optional_text(longest=2000)


def _draft(session: Session, version_id: str) -> TariffVersionRow:
    row = queries.version(session, version_id=version_id)
    if row.status != "draft":
        raise operations.WrongStanding(
            f"{row.tariff_code} {row.version} is {row.status}; only a draft can be edited."
        )
    return row


def _crumbs(row: TariffVersionRow) -> tuple[tuple[str, str], ...]:
    return (
        ("Tariffs", url_for("console.tariffs")),
        (row.tariff_code, url_for("console.tariff", code=row.tariff_code)),
        (f"Version {row.version}", url_for("console.version", version_id=row.id)),
    )


def _save(row: TariffVersionRow, document: Mapping[str, Any], *, said: str) -> Response:
    """Keep the document as the draft's contents; renamed drafts replace the old name.

    Raises:
        TariffRefused, TariffVersionExists: it does not hold together.
    """
    with edge().database.transaction() as session:
        kept = operations.draft_version(
            session,
            document=dict(document),
            principal=current_principal().id,
            now=edge().clock(),
        )
        if kept.id != row.id:
            operations.withdraw_version(
                session,
                version_id=row.id,
                principal=current_principal().id,
                now=edge().clock(),
                today=row.effective_from,
                reason=f"Renamed to {kept.version}",
            )
    flash(said, "success")
    return go(url_for("console.version", version_id=kept.id))


@blueprint.route("/tariffs/versions/<version_id>/terms", methods=["GET", "POST"])
@guarded(PREPARES)
def edit_terms(version_id: str) -> Answer:
    """Change what holds for the whole draft: its name, first day, VAT and bands."""
    with edge().database.snapshot() as session:
        row = _draft(session, version_id)
    tariff = parse_tariff(row.content)
    form = Form(
        {
            "version": tariff.version,
            "vat": tariff.vat,
            "vat_reason": tariff.vat_reason or "",
            "cos_heading": tariff.cos_heading or "",
            "bands": "\n".join(f"{band.name}: {band.text}" for band in tariff.bands),
            **date_values("effective_from", tariff.effective_from),
        }
    )
    if request.method == "POST":
        form, sent = read_form(TermsForm(), with_dates(request.form, "effective_from"))
        form = keeping_dates(form, request.form, "effective_from")
        if sent is not None:
            document = {
                **to_document(tariff),
                "version": sent["version"],
                "effective_from": sent["effective_from"].isoformat(),
                "vat": sent["vat"],
            }
            document.pop("bands", None)
            document.pop("cos_heading", None)
            document.pop("vat_reason", None)
            if sent["vat_reason"]:
                document["vat_reason"] = sent["vat_reason"]
            if sent["cos_heading"]:
                document["cos_heading"] = sent["cos_heading"]
            if sent["bands"]:
                document["bands"] = _pairs(sent["bands"])
            try:
                return _save(row, document, said="The terms are saved.")
            except Refusal as refusal:
                form = _at_fields(form, refusal, at="", whole="bands")
    page = FormPage(
        "Terms of the draft",
        form,
        (
            Input("version", "Name of the version", width="20"),
            Input("effective_from", "In force from", "date"),
            Input(
                "vat",
                "VAT",
                "choice",
                options=[(one, one.replace("-", " ").capitalize()) for one in VAT_TREATMENTS],
            ),
            Input("vat_reason", "Why no VAT is charged", hint="The provision, as printed"),
            Input(
                "cos_heading", "Contracted-out-services heading", width="5", hint="May be left out"
            ),
            Input(
                "bands",
                "Time-of-day bands",
                "lines",
                hint="One a line, London clock, for example peak: Mon-Fri 08:00-18:00",
                rows=3,
            ),
        ),
        "Save the terms",
        _crumbs(row),
        caption=f"{row.tariff_code} {row.version}",
    )
    shown = render_template("console/form.html", page=page)
    return (shown, 422) if form.errors else shown


def _pairs(lines: str) -> dict[str, str]:
    found = {}
    for line in lines.splitlines():
        name, _, value = line.partition(":")
        if name.strip():
            found[name.strip()] = value.strip()
    return found


def price_values(price: Price) -> dict[str, str]:
    """Return a price as the fields of its form."""
    written: dict[str, Any] = price_document(price)
    values = {name: str(written[name]) for name in (*_PLAIN, *_NUMBERS) if name in written}
    values["label"] = price.label
    values["where"] = "\n".join(f"{name}: {value}" for name, value in price.where)
    if "included" in written:
        values["included_quantity"] = written["included"]["quantity"]
        values["included_per"] = written["included"]["per"]
    if "convert" in written:
        values["divide_by"] = written["convert"]["divide_by"]
        values["divided_unit"] = written["convert"]["unit"]
    for index, tier in enumerate(written.get("tiers", ())):
        for part in _TIER_PARTS:
            if tier.get(part) is not None:
                values[f"tier-{index}-{part}"] = tier[part]
    return values


@dataclass(frozen=True)
class TypedPrice:
    """A price as typed, and the form's tier rows that are not empty."""

    document: dict[str, Any]
    rows: tuple[int, ...]


def read_price(typed: Mapping[str, str], *, key: str | None) -> TypedPrice:
    """Return what was typed as a price of a tariff file; nothing is judged here.

    Fields that belong to another model than the one chosen are left out.
    """
    given = {name: value.strip() for name, value in typed.items() if value.strip()}
    document: dict[str, Any] = {name: given[name] for name in _PLAIN if name in given}
    model = document.get("model", "")
    own = {
        "unit_price": {"per-unit"},
        "package_size": {"package"},
        "package_price": {"package"},
        "amount": {"flat"},
        "percent": {"percentage"},
    }
    for name in _NUMBERS:
        if name in given and model in own.get(name, {model}):
            document[name] = _TIDY.sub("", given[name])
    if key is not None:
        document["key"] = key
    if "where" in given:
        document["where"] = _pairs(given["where"])
    if "included_quantity" in given:
        document["included"] = {
            "quantity": _TIDY.sub("", given["included_quantity"]),
            "per": given.get("included_per", "month"),
        }
    if "divide_by" in given or "divided_unit" in given:
        document["convert"] = {
            "divide_by": _TIDY.sub("", given.get("divide_by", "")) or None,
            "unit": given.get("divided_unit"),
        }
    rows = [
        number
        for number in range(TIER_ROWS_MOST)
        if any(f"tier-{number}-{part}" in given for part in _TIER_PARTS)
    ]
    if model in {"graduated", "volume"}:
        document["tiers"] = [_tier(given, number) for number in rows]
    return TypedPrice(document, tuple(rows))


def _tier(given: Mapping[str, str], number: int) -> dict[str, Any]:
    tier: dict[str, Any] = {"up_to": None}
    for part in _TIER_PARTS:
        if f"tier-{number}-{part}" in given:
            tier[part] = _TIDY.sub("", given[f"tier-{number}-{part}"])
    return tier


_FIELD_OF = {
    "included/quantity": "included_quantity",
    "included/per": "included_per",
    "convert/divide_by": "divide_by",
    "convert/unit": "divided_unit",
    "tiers": "tier-0-unit_price",
    "": "model",
}


def _at_fields(
    form: Form, refusal: Refusal, *, at: str, whole: str, rows: tuple[int, ...] = ()
) -> Form:
    """Put each fault of a tariff to its field; what is elsewhere is told on the whole."""
    found: dict[str, str] = {}
    for fault in refusal.errors:
        inside = fault.pointer.removeprefix(at).lstrip("/")
        name = _FIELD_OF.get(inside, inside.partition("/")[0])
        tier = re.fullmatch(r"tiers/(\d+)/(\w+)", inside)
        if tier is not None and int(tier[1]) < len(rows):
            name = f"tier-{rows[int(tier[1])]}-{tier[2]}"
        if not fault.pointer.startswith(at):
            name = ""
        found.setdefault(name, fault.detail)
    return Form(form.values, {**form.errors, **(found or {whole: refusal.detail})})


@blueprint.route("/tariffs/versions/<version_id>/prices/<int:number>", methods=["GET", "POST"])
@guarded(PREPARES)
def edit_price(version_id: str, number: int) -> Answer:
    """Change one price of a draft."""
    row, tariff, meters = _loaded(version_id)
    if number >= len(tariff.prices):
        raise TariffVersionUnknown("The version has no such price.")
    price = tariff.prices[number]
    return _price_form(row, tariff, meters, number=number, price=price)


@blueprint.route("/tariffs/versions/<version_id>/prices/new", methods=["GET", "POST"])
@guarded(PREPARES)
def add_price(version_id: str) -> Answer:
    """Add a price to a draft."""
    row, tariff, meters = _loaded(version_id)
    return _price_form(row, tariff, meters, number=len(tariff.prices), price=None)


@blueprint.post("/tariffs/versions/<version_id>/prices/<int:number>/remove")
@guarded(PREPARES)
def remove_price(version_id: str, number: int) -> Answer:
    """Take one price out of a draft."""
    row, tariff, meters = _loaded(version_id)
    if number >= len(tariff.prices):
        raise TariffVersionUnknown("The version has no such price.")
    document = to_document(tariff)
    prices = [item for place, item in enumerate(_prices(document)) if place != number]
    try:
        return _save(row, {**document, "prices": prices}, said="The price is taken out.")
    except Refusal as refusal:
        detail = refusal.errors[0].detail if refusal.errors else refusal.detail
        return _price_form(
            row, tariff, meters, number=number, price=tariff.prices[number], refused=detail
        )


def _prices(document: Mapping[str, Any]) -> list[Any]:
    return list(document["prices"])


def _loaded(version_id: str) -> tuple[TariffVersionRow, Tariff, list[MeterRow]]:
    with edge().database.snapshot() as session:
        row = _draft(session, version_id)
        owner = queries.tariff(session, code=row.tariff_code)
        meters = list(meters_of(session, source_id=owner.source_id))
    return row, parse_tariff(row.content), meters


def _price_form(
    row: TariffVersionRow,
    tariff: Tariff,
    meters: list[MeterRow],
    *,
    number: int,
    price: Price | None,
    refused: str = "",
) -> Answer:
    form = Form({"model": "graduated"} if price is None else price_values(price))
    if refused:
        form = form.with_error(refused)
    elif request.method == "POST":
        form = Form({name: value for name, value in request.form.items() if name != "csrf_token"})
        typed = read_price(request.form, key=None if price is None else price.key)
        document = to_document(tariff)
        prices = _prices(document)
        prices[number : number + 1] = [typed.document]
        try:
            return _save(row, {**document, "prices": prices}, said="The price is saved.")
        except Refusal as refusal:
            form = _at_fields(form, refusal, at=f"/prices/{number}", whole="", rows=typed.rows)
    filled = sum(f"tier-{place}-unit_price" in form.values for place in range(TIER_ROWS_MOST))
    shown = render_template(
        "console/price.html",
        form=form,
        title="Add a price" if price is None else price.label,
        caption=f"{row.tariff_code} {row.version}",
        crumbs=_crumbs(row),
        version_id=row.id,
        number=number,
        can_remove=price is not None and len(tariff.prices) > 1,
        tier_rows=range(min(TIER_ROWS_MOST, max(TIER_ROWS_LEAST, filled + 2))),
        meters=[
            ("", "None: a fixed amount"),
            *((one.code, f"{one.name} ({one.code})") for one in meters),
        ],
        models=[(one, MODEL_WORDS[one]) for one in MODELS],
        scopes=[(one, SCOPE_WORDS[one]) for one in SCOPES],
        bands=[
            ("", "Any hour"),
            *((band.name, f"{band.name}: {band.text}") for band in tariff.bands),
        ],
        dimensions="; ".join(_dimension_words(one) for one in meters if one.dimensions),
    )
    return (shown, 422) if form.errors else shown


def _dimension_words(meter: MeterRow) -> str:
    parts = [
        f"{name} ({', '.join(about['values'])})" if about.get("values") else name
        for name, about in sorted(meter.dimensions.items())
    ]
    return f"{meter.code}: {', '.join(parts)}"
