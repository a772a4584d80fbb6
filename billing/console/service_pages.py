"""What the pages of hosted services show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flask import url_for

from billing.chart import Chart, Series
from billing.console.lists import Field, Sheet
from billing.console.people import Names
from billing.console.service_queries import Day, ServiceSummary
from billing.documents.words import plural
from billing.listing import Act, Cell, Listing
from metering.events.queries import Health
from metering.meters.tables import MeterRow
from metering.periods import show_date, show_moment
from metering.sources.tables import ServiceKeyRow, SourceRow

SCOPE_WORDS = {
    "events:write": "Send events",
    "manifests:write": "Send manifests",
    "usage:read": "Read usage",
}
POLICY_WORDS = {
    "ignore": "Ignored by the month end",
    "warn": "A difference is shown at the month end",
    "wait": "A difference stops the month end",
}
AGGREGATION_WORDS = {
    "sum": "Added up",
    "count": "Events are counted",
    "max": "The highest",
    "min": "The lowest",
    "unique": "Different values are counted",
    "latest": "The latest level",
    "time-weighted": "The level, weighted by time",
}


def moment(at: datetime | None, *, never: str = "Never") -> str:
    """Return an instant on the London clock, to the minute."""
    return never if at is None else show_moment(at)


def services_sheet() -> Sheet[ServiceSummary]:
    """Return the list of hosted services."""
    return Sheet(
        name="services",
        caption="Services",
        sort="name",
        empty="No hosted service is registered yet. Register the first one.",
        fields=(
            Field(
                "Service",
                lambda item: item.row.name,
                lambda item: Cell(
                    item.row.name, href=url_for("console.service", source_id=item.row.id)
                ),
                key="name",
            ),
            Field("Source", lambda item: item.row.code, key="code"),
            Field(
                "Last heard",
                lambda item: item.last_received_at,
                lambda item: Cell(moment(item.last_received_at)),
                key="last",
            ),
            Field("Refused, open", lambda item: item.refused, key="refused", numeric=True),
            Field("Working keys", lambda item: item.keys, key="keys", numeric=True),
            Field(
                "State",
                lambda item: "Closed" if item.row.closed_at else "Open",
                lambda item: (
                    Cell("Closed", colour="grey")
                    if item.row.closed_at
                    else Cell("Open", colour="green")
                ),
                key="state",
            ),
        ),
    )


def key_state(row: ServiceKeyRow, *, now: datetime) -> Cell:
    """Return whether a key works, and until when."""
    if row.revoked_at is not None:
        return Cell("Revoked", colour="grey", note=moment(row.revoked_at))
    if row.expires_at is not None and row.expires_at <= now:
        return Cell("Ended", colour="grey", note=moment(row.expires_at))
    if row.expires_at is not None:
        return Cell("Works", colour="yellow", note=f"Ends on {moment(row.expires_at)}")
    return Cell("Works", colour="green")


def keys_sheet(names: Names, *, now: datetime, may_keep: bool) -> Sheet[ServiceKeyRow]:
    """Return the list of a service's keys; their secrets are kept nowhere."""

    def acts(row: ServiceKeyRow) -> Cell:
        if key_state(row, now=now).text != "Works":
            return Cell("")
        rotate, revoke = (
            url_for(f"console.{act}_key", source_id=row.source_id, key_id=row.id)
            for act in ("rotate", "revoke")
        )
        hidden = f"{row.label}, pgk_{row.prefix}"
        return Cell("", acts=(Act("Rotate", rotate, hidden), Act("Revoke", revoke, hidden, {})))

    action = Field[ServiceKeyRow]("Action", lambda row: row.id, acts, in_file=False)
    return Sheet(
        name="keys",
        caption="Keys",
        beside=True,
        empty="The service has no key, so it cannot send anything. Issue one.",
        fields=(
            Field(
                "Key",
                lambda row: row.label,
                lambda row: Cell(row.label, note=f"pgk_{row.prefix}_…"),
            ),
            Field("Begins with", lambda row: f"pgk_{row.prefix}", on_page=False),
            Field("May", lambda row: ", ".join(SCOPE_WORDS.get(one, one) for one in row.scopes)),
            Field(
                "Made",
                lambda row: row.created_at,
                lambda row: Cell(moment(row.created_at), note=names.of(row.created_by)),
            ),
            Field(
                "Last used",
                lambda row: row.last_used_at,
                lambda row: Cell(moment(row.last_used_at)),
            ),
            Field(
                "State",
                lambda row: key_state(row, now=now).text,
                lambda row: key_state(row, now=now),
            ),
            Field("Ends", lambda row: row.revoked_at or row.expires_at, on_page=False),
            *((action,) if may_keep else ()),
        ),
    )


def meters_sheet(*, may_change: bool = False) -> Sheet[MeterRow]:
    """Return the list of a service's meters."""
    action = Field[MeterRow](
        "Action",
        lambda row: row.id,
        lambda row: Cell(
            "Change",
            href=url_for("console.edit_meter", source_id=row.source_id, code=row.code),
            hidden=row.name,
        ),
        in_file=False,
    )
    return Sheet(
        name="meters",
        beside=True,
        caption="Meters",
        sort="code",
        empty="This service has no meter, so nothing that it sends is counted. Register one.",
        fields=(
            Field("Meter", lambda row: row.name),
            Field("Code", lambda row: row.code, key="code"),
            Field("Event type", lambda row: row.event_type, key="type"),
            Field("How it counts", _counting),
            Field("Unit", lambda row: row.unit),
            Field("Split by", lambda row: ", ".join(sorted(row.dimensions)) or "Nothing"),
            Field("Kept by", lambda row: row.resolution.capitalize()),
            *((action,) if may_change else ()),
        ),
    )


def _counting(row: MeterRow) -> str:
    words = AGGREGATION_WORDS[row.aggregation]
    return words if row.quantity_field is None else f"{words}: {row.quantity_field}"


@dataclass(frozen=True)
class ServicePage:
    """One hosted service."""

    id: int
    name: str
    code: str
    status: str
    colour: str
    facts: tuple[tuple[str, str], ...]
    figures: tuple[dict[str, str], ...]
    chart: Chart
    reasons: Listing
    keys: Listing
    meters: Listing
    tariff: str | None
    closed: bool


def _figures(health: Health, now: datetime) -> tuple[dict[str, str], ...]:
    last = health.last_received_at
    silent = last is None or (now - last).total_seconds() > 24 * 60 * 60
    refused = health.conflict + health.rejected
    waiting = sum(health.quarantined.values())
    return (
        {
            "label": "Last heard",
            "value": moment(last),
            "note": "Nothing in the last 24 hours" if silent else "",
            "tone": "warning" if silent else "success",
        },
        {
            "label": "Accepted in 24 hours",
            "value": f"{health.accepted:,}",
            "note": f"{plural(health.duplicate, 'repeat')}, recognised and not counted again",
        },
        {
            "label": "Refused in 24 hours",
            "value": f"{refused:,}",
            "note": f"{waiting:,} in quarantine",
            "tone": "warning" if refused or waiting else "success",
        },
        {"label": "Not added up yet", "value": f"{health.waiting:,}"},
    )


def _chart(days: Sequence[Day]) -> Chart:
    accepted, refused = sum(day.accepted for day in days), sum(day.refused for day in days)
    return Chart(
        title="Events by day",
        summary=f"{accepted:,} accepted and {refused:,} refused in {len(days)} days.",
        label_name="Day",
        labels=tuple(f"{day.day.day} {show_date(day.day).split()[1][:3]}" for day in days),
        series=(
            Series(
                "Accepted",
                tuple(Decimal(day.accepted) for day in days),
                tuple(f"{day.accepted:,}" for day in days),
            ),
            Series(
                "Refused",
                tuple(Decimal(day.refused) for day in days),
                tuple(f"{day.refused:,}" for day in days),
            ),
        ),
    )


def service_page(
    row: SourceRow,
    *,
    health: Health,
    days: Sequence[Day],
    reasons: Listing,
    keys: Listing,
    meters: Listing,
    tariff: str | None,
    now: datetime,
) -> ServicePage:
    """Return the page of one service."""
    return ServicePage(
        id=row.id,
        name=row.name,
        code=row.code,
        status="Closed" if row.closed_at else "Open",
        colour="grey" if row.closed_at else "green",
        facts=(
            ("Source", row.code),
            ("Contact", row.contact_email or "None given"),
            ("Own counts (manifests)", POLICY_WORDS[row.manifest_policy]),
            ("Registered", moment(row.registered_at)),
        ),
        figures=_figures(health, now),
        chart=_chart(days),
        reasons=reasons,
        keys=keys,
        meters=meters,
        tariff=tariff,
        closed=row.closed_at is not None,
    )
