"""A draft's terms and its prices as forms: a row for each tier, a fault at its field."""

from collections.abc import Mapping
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
from billing.console.price_fields import (
    at_fields,
    pairs,
    price_choices,
    price_values,
    read_price,
)
from billing.forms import Form, read_form
from billing.tariffs import operations, queries
from billing.tariffs.model import Price, Tariff, parse_tariff, to_document
from billing.tariffs.queries import TariffVersionUnknown
from billing.tariffs.tables import TariffVersionRow
from billing.tariffs.terms import VAT_TREATMENTS
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.meters.queries import every as meters_of
from metering.meters.tables import MeterRow

Answer = Response | str | tuple[str, int]


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
                document["bands"] = pairs(sent["bands"])
            try:
                return _save(row, document, said="The terms are saved.")
            except Refusal as refusal:
                form = at_fields(form, refusal, at="", whole="bands")
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
            form = at_fields(form, refusal, at=f"/prices/{number}", whole="", rows=typed.rows)
    shown = render_template(
        "console/price.html",
        form=form,
        title="Add a price" if price is None else price.label,
        caption=f"{row.tariff_code} {row.version}",
        crumbs=_crumbs(row),
        version_id=row.id,
        number=number,
        can_remove=price is not None and len(tariff.prices) > 1,
        choices=price_choices(form, meters=meters, bands=tariff.bands),
    )
    return (shown, 422) if form.errors else shown
