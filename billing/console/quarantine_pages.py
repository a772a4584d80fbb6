"""What the pages about refused events show."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from billing.console.people import Names
from billing.listing import Cell, Column, Listing
from metering.events.tables import QuarantinedEventRow
from metering.kit.nhs_number import MASK
from metering.periods import london, show_date

PAGE_SIZE = 50
STATUS_COLOURS = {"open": "orange", "replayed": "green", "dismissed": "grey"}
HEADER = ("Received", "Service", "Fate", "Reason", "Where", "What is wrong", "Event id", "State")


def moment(row: QuarantinedEventRow) -> str:
    """Return when an event was received, on the London clock."""
    there = london(row.received_at)
    return f"{show_date(there.date())}, {there:%H:%M}"


def reason_words(code: str) -> str:
    """Return a reason's code as words: `Unknown subject`."""
    return code.replace("-", " ").capitalize()


def sheet_row(row: QuarantinedEventRow, sources: dict[int, str]) -> tuple[str, ...]:
    """Return a refused event as cells under `HEADER`."""
    return (
        london(row.received_at).isoformat(timespec="seconds"),
        sources[row.source_id],
        row.fate,
        row.code,
        row.pointer,
        row.detail,
        row.event_id or "",
        row.status,
    )


def refused_listing(
    rows: Sequence[QuarantinedEventRow],
    *,
    sources: dict[int, str],
    hrefs: Sequence[str],
    total: int,
    page: int,
    path: str,
    query: dict[str, str],
    with_service: bool,
) -> Listing:
    """Return the list of refused events."""
    service = (Column("Service"),) if with_service else ()
    return Listing(
        caption="Refused events",
        caption_hidden=True,
        columns=(
            Column("Received"),
            *service,
            Column("Reason"),
            Column("What is wrong"),
            Column("State"),
        ),
        rows=tuple(
            (
                Cell(moment(row), href=href, nowrap=True),
                *((Cell(sources[row.source_id]),) if with_service else ()),
                Cell(reason_words(row.code)),
                Cell(row.detail),
                Cell(row.status.capitalize(), colour=STATUS_COLOURS[row.status]),
            )
            for row, href in zip(rows, hrefs, strict=True)
        ),
        path=path,
        query={name: text for name, text in query.items() if text},
        page=page,
        page_size=PAGE_SIZE,
        total=total,
        empty="No refused event fits. There is nothing to do.",
    )


@dataclass(frozen=True)
class RefusedPage:
    """One refused event."""

    id: str
    title: str
    status: str
    colour: str
    rows: tuple[tuple[str, str], ...]
    body: str
    is_open: bool
    can_replay: bool
    why_not: str


def refused_page(row: QuarantinedEventRow, *, source: str, names: Names) -> RefusedPage:
    """Return the page of one refused event."""
    why_not = ""
    if row.fate == "conflict":
        why_not = (
            "Another event with this id and other content was accepted, so this one cannot be "
            "replayed. If it is right, the service withdraws the first and sends it under a new id."
        )
    elif MASK in str(row.body):
        why_not = (
            "What looks like a patient's NHS number was masked before it was kept, so the event "
            "cannot be replayed. The service sends it again without the number."
        )
    rows = [
        ("Service", source),
        ("Received", moment(row)),
        ("Reason", reason_words(row.code)),
        ("Where", row.pointer or "The whole event"),
        ("What is wrong", row.detail),
        ("Event id", row.event_id or "It had none that could be read"),
    ]
    if row.resolved_at is not None:
        there = london(row.resolved_at)
        rows.append(
            (
                row.status.capitalize(),
                f"{names.of(row.resolved_by)}, {show_date(there.date())}",
            )
        )
    return RefusedPage(
        id=str(row.id),
        title=reason_words(row.code),
        status=row.status.capitalize(),
        colour=STATUS_COLOURS[row.status],
        rows=tuple(rows),
        body=json.dumps(row.body, ensure_ascii=False, indent=2),
        is_open=row.status == "open",
        can_replay=row.status == "open" and not why_not,
        why_not=why_not,
    )
