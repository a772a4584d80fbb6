"""Proof that nothing is lost: reconciliation, usage without a price, services' own counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.charges import queries as charges
from billing.charges.tables import ParkedUsageRow
from billing.console.blueprint import blueprint
from billing.console.lists import Field, Sheet
from billing.console.overview_queries import organisation_ids, organisation_names
from billing.console.overview_views import asked_month, month_choices
from billing.documents.words import plural
from billing.forms import Form
from billing.listing import Cell
from billing.runs import reconciling
from billing.runs.model import Reconciled
from billing.web import quantity_text
from metering.kit.jobruns import recent_runs
from metering.kit.web import edge
from metering.periods import Month, london_day, show_date
from metering.reports import manifests as manifest_reads
from metering.reports.manifests import ManifestReport

UNBILLED_WORDS = {
    "account-parked": "The account is parked",
    "account-held": "The account is held",
    "nothing-due": "It comes to nothing",
    "not-yet-invoiced": "Not invoiced yet",
    "no-money-difference": "No money difference",
    "to-be-corrected": "To be corrected by the next month end",
}


def _number(label: str, key: str, *, numeric: bool = True) -> Field[Reconciled]:
    def shown(row: Reconciled) -> Cell:
        value = getattr(row, key)
        return Cell("Not added up" if value is None else quantity_text(value), nowrap=True)

    return Field(label, lambda row: getattr(row, key), shown, key=key, numeric=numeric)


def reconciliation_sheet(month: Month, names: dict[str, str]) -> Sheet[Reconciled]:
    """Return the conservation report: events, readings, rated and invoiced side by side."""
    return Sheet(
        name=f"reconciliation-{month}",
        caption=f"Reconciliation of {month.name}",
        sort="organisation",
        empty="No usage happened in this month. Choose another.",
        fields=(
            Field(
                "Organisation",
                lambda row: names.get(row.organisation, row.organisation),
                key="organisation",
            ),
            Field("ODS code", lambda row: row.organisation, on_page=False),
            Field("Meter", lambda row: row.meter, key="meter"),
            _number("Events", "events"),
            _number("Readings", "readings"),
            _number("Rated", "rated"),
            _number("Set aside", "parked"),
            _number("Invoiced", "invoiced"),
            _number("Not invoiced", "unbilled"),
            Field(
                "Outcome",
                lambda row: (
                    "; ".join(row.differences or row.underway)
                    or UNBILLED_WORDS.get(row.reason or "", row.reason or "Agrees")
                ),
                _outcome,
            ),
        ),
    )


def _outcome(row: Reconciled) -> Cell:
    if row.differences:
        return Cell("; ".join(row.differences), colour="red")
    if row.underway:
        return Cell("; ".join(row.underway), colour="blue")
    if row.reason is None:
        return Cell("Agrees", colour="green")
    return Cell(UNBILLED_WORDS.get(row.reason, row.reason))


_NO_LINE = "No line fits. Clear the filters to see all."


@dataclass(frozen=True)
class Asked:
    """Which lines of a report are asked for."""

    month: Month
    show: str
    search: str


def _asked(*, usual: Month) -> Asked:
    return Asked(
        asked_month(usual=usual),
        request.args.get("show", ""),
        request.args.get("search", "").strip()[:100],
    )


def _kept(rows: Sequence[Reconciled], asked: Asked, names: dict[str, str]) -> list[Reconciled]:
    low = asked.search.lower()
    return [
        row
        for row in rows
        if (
            asked.show == ""
            or (asked.show == "differences" and row.differences)
            or (asked.show == "unbilled" and row.unbilled)
        )
        and (
            not low
            or low in f"{row.organisation} {names.get(row.organisation, '')} {row.meter}".lower()
        )
    ]


AT_ONCE = 300_000
"""Events of a month that are compared whenever the page is looked at; more, when asked."""
_NAMED_MOST = 20


def _compared(
    session: Session, asked: Asked, names: dict[str, str], *, whole: bool
) -> Sequence[Reconciled]:
    """Return the lines of the month, or (where it is large) of the organisations searched for."""
    ended = asked.month < Month.of(edge().clock())
    if whole:
        return reconciling.reconcile_month(session, month=asked.month, ended=ended, moving=True)
    low = asked.search.lower()
    codes = [code for code, name in names.items() if low and low in f"{code} {name}".lower()]
    found = organisation_ids(session, ods_codes=sorted(codes)[:_NAMED_MOST])
    return reconciling.reconcile_month(
        session, month=asked.month, organisation_ids=found, ended=ended, moving=True
    )


@blueprint.get("/reconciliation")
def reconciliation() -> Response | str:
    """Show that events, readings, rated and invoiced usage agree, or where they do not."""
    current = Month.of(edge().clock())
    asked = _asked(usual=current.previous)
    everything = request.args.get("all") == "yes"
    with edge().database.snapshot() as session:
        events = reconciling.events_about(session, month=asked.month)
        whole = everything or events <= AT_ONCE
        names = organisation_names(session)
        rows = _compared(session, asked, names, whole=whole)
        pending = reconciling.pending_batches(session)
        strays = reconciling.strayed_events(session, month=asked.month) if whole else 0
        last = next(iter(recent_runs(session, job="reconcile", limit=1)), None)
    sheet = reconciliation_sheet(asked.month, names)
    kept = _kept(rows, asked, names)
    different = sum(bool(row.differences) for row in rows)
    unbilled = sum(bool(row.unbilled) for row in rows)
    figures = (
        {"label": "Compared", "value": plural(len(rows), "line")},
        {
            "label": "Differences",
            "value": f"{different:,}",
            "note": "A difference stops the month end" if different else "Everything adds up",
            "tone": "warning" if different else "success",
        },
        {
            "label": "Not invoiced, for a reason",
            "value": plural(unbilled, "line"),
        },
        {
            "label": "Not added up yet",
            "value": plural(pending, "batch", "batches"),
            "note": f"{plural(strays, 'event')} outside their month" if strays else "",
            "tone": "warning" if pending or strays else "success",
        },
    )
    query = {"month": str(asked.month), "show": asked.show, "search": asked.search}
    return render_template(
        "console/reconciliation.html",
        month=asked.month,
        figures=figures,
        whole=whole,
        events=events,
        last=last,
        listing=sheet.listing(
            kept,
            query=query | {"all": "yes" if everything else ""},
            empty=_NO_LINE if asked.show or asked.search or not whole else None,
        ),
        filters=Form(query),
        months=month_choices(last=current),
        is_filtered=bool(asked.show or asked.search),
    )


def parked_sheet(names: dict[str, str]) -> Sheet[ParkedUsageRow]:
    """Return the list of usage that has no price."""
    return Sheet(
        name="usage-without-a-price",
        caption="Usage without a price",
        empty="All usage has a price. There is nothing to do.",
        fields=(
            Field(
                "Organisation",
                lambda row: names.get(row.organisation, row.organisation),
                lambda row: (
                    Cell(names.get(row.organisation, row.organisation))
                    if row.account_id is None
                    else Cell(
                        names.get(row.organisation, row.organisation),
                        href=url_for("console.account", account_id=row.account_id),
                    )
                ),
                key="organisation",
            ),
            Field(
                "Month",
                lambda row: row.month,
                lambda row: Cell(Month.of_day(row.month).name),
                key="month",
            ),
            Field("Meter", lambda row: row.meter, key="meter"),
            Field(
                "Quantity",
                lambda row: row.quantity,
                lambda row: Cell(quantity_text(row.quantity), nowrap=True),
                key="quantity",
                numeric=True,
            ),
            Field("Why", lambda row: row.detail),
            Field("Reason", lambda row: row.code, on_page=False),
            Field(
                "Since",
                lambda row: row.parked_at,
                lambda row: Cell(show_date(london_day(row.parked_at)), nowrap=True),
                key="since",
            ),
        ),
    )


@blueprint.get("/reconciliation/unpriced")
def parked() -> Response | str:
    """List the usage that is set aside because nothing prices it."""
    with edge().database.snapshot() as session:
        rows = charges.parked(session)
        names = organisation_names(session)
    sheet = parked_sheet(names)
    return render_template("console/parked.html", listing=sheet.listing(rows))


def _span(first: date, end: date) -> str:
    """Return half-open London dates for people; a whole month by its name."""
    month = Month.of_day(first)
    if (first, end) == (month.first_day, month.end_day):
        return month.name
    last = end - timedelta(days=1)
    return show_date(first) if last == first else f"{show_date(first)} to {show_date(last)}"


def manifests_sheet(month: Month, names: dict[str, str]) -> Sheet[ManifestReport]:
    """Return the list of services' own counts beside what was received."""
    return Sheet(
        name=f"manifests-{month}",
        caption=f"Manifests of {month.name}",
        sort="missing",
        direction="descending",
        empty="No service has sent its own counts for this month. "
        "Ask its owners to send a manifest after each month.",
        fields=(
            Field("Service", lambda item: item.source, key="service"),
            Field("Meter", lambda item: item.meter, key="meter"),
            Field(
                "Organisation",
                lambda item: (
                    "All"
                    if item.organisation is None
                    else names.get(item.organisation, item.organisation)
                ),
            ),
            Field(
                "Days",
                lambda item: item.first_on,
                lambda item: Cell(_span(item.first_on, item.end_on)),
                key="days",
                in_file=False,
            ),
            Field("From", lambda item: item.first_on, on_page=False),
            Field("Up to, not including", lambda item: item.end_on, on_page=False),
            Field(
                "Declared",
                lambda item: item.declared_quantity,
                lambda item: Cell(
                    f"{quantity_text(item.declared_quantity)} in {item.declared_count:,}"
                ),
                numeric=True,
            ),
            Field("Declared events", lambda item: item.declared_count, on_page=False),
            Field(
                "Received",
                lambda item: item.received_quantity,
                lambda item: Cell(
                    f"{quantity_text(item.received_quantity)} in {item.received_count:,}"
                ),
                numeric=True,
            ),
            Field("Received events", lambda item: item.received_count, on_page=False),
            Field(
                "Missing",
                lambda item: abs(item.missing_quantity),
                lambda item: Cell(quantity_text(item.missing_quantity), nowrap=True),
                key="missing",
                numeric=True,
                in_file=False,
            ),
            Field("Missing", lambda item: item.missing_quantity, on_page=False),
            Field("Refused", lambda item: item.rejected, key="refused", numeric=True),
            Field(
                "Outcome",
                lambda item: "Agrees" if item.agrees else "Differs",
                lambda item: (
                    Cell("Agrees", colour="green")
                    if item.agrees
                    else Cell(
                        "Stops the month end" if item.policy == "wait" else "Differs",
                        colour="red" if item.policy == "wait" else "orange",
                    )
                ),
            ),
        ),
    )


@blueprint.get("/reconciliation/manifests")
def manifests() -> Response | str:
    """Show what services counted themselves beside what was received."""
    current = Month.of(edge().clock())
    asked = _asked(usual=current.previous)
    with edge().database.snapshot() as session:
        found = manifest_reads.report(
            session, rows=manifest_reads.latest(session, month=asked.month)
        )
        names = organisation_names(session)
    sheet = manifests_sheet(asked.month, names)
    kept = [item for item in found if asked.show != "differences" or not item.agrees]
    return render_template(
        "console/manifests.html",
        listing=sheet.listing(
            kept,
            query={"month": str(asked.month), "show": asked.show},
            empty="No manifest differs. Clear the filter to see all." if asked.show else None,
        ),
        filters=Form({"month": str(asked.month), "show": asked.show}),
        months=month_choices(last=current),
        is_filtered=bool(asked.show),
    )
