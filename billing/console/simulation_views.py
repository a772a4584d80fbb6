"""What a draft would have cost: asked for, done by a job, shown with its gainers and losers."""

from dataclasses import dataclass
from decimal import Decimal

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal
from billing.chart import Chart, Series
from billing.console.blueprint import PREPARES, blueprint
from billing.console.lists import Field, Sheet, csv_response
from billing.console.overview_views import month_choices
from billing.console.people import names_of
from billing.documents.sheet import write_sheet
from billing.forms import Form
from billing.listing import Cell, Listing
from billing.money import show_pounds
from billing.simulations import operations, queries
from billing.simulations.model import CSV_HEADER, Comparison, Row, csv_rows
from billing.simulations.tables import SimulationRow
from billing.tariffs import queries as tariffs
from billing.web import go
from metering.kit.errors import Refusal
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import Month


def _signed(amount: Decimal) -> str:
    return f"{'+' if amount > 0 else ''}{show_pounds(amount)}"


def _pounds_field(label: str, key: str, value: str) -> Field[Row]:
    return Field(
        label,
        lambda row: getattr(row, value),
        lambda row: Cell(
            _signed(row.difference) if value == "difference" else show_pounds(getattr(row, value)),
            nowrap=True,
        ),
        key=key,
        numeric=True,
    )


def accounts_sheet() -> Sheet[Row]:
    """Return the list of accounts, those that would pay most more first."""
    return Sheet(
        name="gainers-and-losers",
        caption="Gainers and losers",
        sort="difference",
        direction="descending",
        empty="No account used the service in these months.",
        fields=(
            Field("Account", lambda row: row.name or row.organisation, key="account"),
            Field("ODS code", lambda row: row.organisation, key="ods"),
            _pounds_field("As charged", "charged", "charged"),
            _pounds_field("Under the draft", "simulated", "simulated"),
            _pounds_field("Difference", "difference", "difference"),
            Field(
                "Would",
                lambda row: _verdict(row),
                lambda row: Cell(
                    _verdict(row),
                    colour={"Pay more": "orange", "Pay less": "green"}.get(_verdict(row), "grey"),
                ),
            ),
        ),
    )


def _verdict(row: Row) -> str:
    if not row.difference:
        return "Pay the same"
    return "Pay more" if row.difference > 0 else "Pay less"


@dataclass(frozen=True)
class Standing:
    """A simulation as a version's page lists it."""

    id: str
    span: str
    status: str
    colour: str
    words: str
    current: bool


def standing_of(row: SimulationRow, *, names: dict[str, str], current: bool) -> Standing:
    """Return where a simulation stands."""
    first, last = Month.of_day(row.first_month), Month.of_day(row.last_month)
    colours = {"waiting": "grey", "running": "yellow", "done": "green", "failed": "red"}
    words = f"Asked for by {names[row.asked_by]}"
    if row.status == "running":
        words += f"; {row.months_done} of {row.months_total} months done"
    if row.error:
        words += f"; {row.error}"
    return Standing(
        row.id,
        first.name if first == last else f"{first.name} to {last.name}",
        row.status.capitalize(),
        colours[row.status],
        words,
        current,
    )


@dataclass(frozen=True)
class Effect:
    """What a finished simulation says."""

    standing: Standing
    figures: tuple[dict[str, str], ...]
    chart: Chart
    accounts: Listing
    unpriced: tuple[tuple[str, str, str], ...]


def _effect(standing: Standing, found: Comparison, accounts: Listing) -> Effect:
    more = found.difference > 0
    return Effect(
        standing=standing,
        figures=(
            {"label": "As charged", "value": show_pounds(found.charged)},
            {
                "label": "Under the draft",
                "value": show_pounds(found.simulated),
                "note": f"{_signed(found.difference)} for the nation",
                "tone": "warning" if more else "success",
            },
            {"label": "Would pay less", "value": f"{found.gainers():,}", "tone": "success"},
            {"label": "Would pay more", "value": f"{found.losers():,}", "tone": "warning"},
        ),
        chart=Chart(
            title="The nation by month, without VAT",
            summary=f"{show_pounds(found.charged)} as charged, {show_pounds(found.simulated)} "
            "under the draft.",
            label_name="Month",
            labels=tuple(Month.parse(one.month).name for one in found.months),
            series=(
                Series(
                    "As charged",
                    tuple(one.charged if one.charged >= 0 else None for one in found.months),
                    tuple(show_pounds(one.charged) for one in found.months),
                ),
                Series(
                    "Under the draft",
                    tuple(one.simulated if one.simulated >= 0 else None for one in found.months),
                    tuple(show_pounds(one.simulated) for one in found.months),
                ),
            ),
            prefix="£",
        ),
        accounts=accounts,
        unpriced=tuple((one.organisation, one.meter, one.detail) for one in found.unpriced),
    )


@blueprint.get("/tariffs/versions/<version_id>/effect")
def effect(version_id: str) -> Response | str:
    """Show what a version would have cost on past usage, with gainers and losers."""
    return _effect_page(version_id, None)


def _effect_page(version_id: str, form: Form | None) -> Response | str:
    current = Month.of(edge().clock())
    with edge().database.snapshot() as session:
        version = tariffs.version(session, version_id=version_id)
        rows = queries.simulations(session, version_id=version_id)
        wanted = request.args.get("simulation") or next(
            (row.id for row in rows if row.status == "done"), None
        )
        shown = next((row for row in rows if row.id == wanted), None)
        found = None
        if shown is not None and shown.status == "done":
            session.expire(shown)
            found = queries.result(queries.simulation(session, simulation_id=shown.id))
        names = names_of(session, principals=[row.asked_by for row in rows])
    standings = [
        standing_of(row, names=names, current=queries.is_current(row, version=version))
        for row in rows
    ]
    sheet = accounts_sheet()
    page = None
    if shown is not None and found is not None:
        accounts = found.by_account()
        if request.args.get("download") == "lines":
            content = write_sheet(CSV_HEADER, csv_rows(found), for_people=True)
            return csv_response(content, name="simulation")
        standing = next(one for one in standings if one.id == shown.id)
        listing = sheet.listing(accounts, query={"simulation": shown.id})
        page = _effect(standing, found, listing)
    return render_template(
        "console/effect.html",
        version=version.version,
        tariff=version.tariff_code,
        version_id=version_id,
        page=page,
        standings=standings,
        form=form or Form({"first": str(current.shift(-3)), "last": str(current.previous)}),
        months=month_choices(last=current),
    )


@blueprint.post("/tariffs/versions/<version_id>/effect")
@guarded(PREPARES)
def ask_effect(version_id: str) -> Response | str | tuple[Response | str, int]:
    """Ask for a version to be priced on past usage; a job does it."""
    form = Form({name: request.form.get(name, "") for name in ("first", "last")})
    try:
        first, last = Month.parse(form.value("first")), Month.parse(form.value("last"))
        with edge().database.transaction() as session:
            row = operations.ask_for_simulation(
                session,
                version_id=version_id,
                first=first,
                last=last,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except ValueError:
        return _effect_page(version_id, form.with_error("Choose a month", name="first")), 422
    except Refusal as refusal:
        return _effect_page(version_id, form.with_error(refusal.detail, name="first")), 422
    flash("The simulation has been asked for. It takes a few seconds for each month.", "success")
    return go(url_for("console.effect", version_id=version_id, simulation=row.id))
