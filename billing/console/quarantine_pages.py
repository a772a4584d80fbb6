"""What the pages about refused events show."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import url_for

from billing.console.lists import Field, Sheet
from billing.console.people import Names
from billing.console.quarantine_queries import Reason
from billing.listing import Act, Asked, Cell, Column, Listing, count_cell
from metering.events.tables import QuarantinedEventRow
from metering.kit.nhs_number import MASK
from metering.periods import london, show_date, show_moment

PAGE_SIZE = 50
REFUSED = "refused-events"
STATUS_COLOURS = {"open": "orange", "replayed": "green", "dismissed": "grey"}
HEADER = ("Received", "Service", "Fate", "Reason", "Where", "What is wrong", "Event id", "State")


def moment(row: QuarantinedEventRow) -> str:
    """Return when an event was received, on the London clock."""
    return show_moment(row.received_at)


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


def reasons_sheet(
    href: Callable[[Reason], str], *, with_service: bool, may_act: bool = False
) -> Sheet[Reason]:
    """Return the list of why events are refused; `href` leads to the events of a reason."""

    def acts(one: Reason) -> Cell:
        about = {"service": str(one.source_id), "reason": one.code}
        hidden = f"of {one.source}: {reason_words(one.code)}"
        dismissal = url_for("console.dismiss_reason", service=one.source_id, reason=one.code)
        dismiss = Act("Dismiss all", dismissal, hidden)
        if one.fate != "rejected":
            return Cell("", acts=(dismiss,))
        replay = Act("Replay all", url_for("console.replay_reason"), hidden, about)
        return Cell("", acts=(replay, dismiss))

    service = Field[Reason]("Service", lambda one: one.source)
    action = Field[Reason]("Action", lambda one: one.code, acts, in_file=False)
    return Sheet(
        name="reasons",
        caption="Open refused events by reason",
        beside=True,
        empty="No event is in quarantine. There is nothing to do.",
        fields=(
            Field(
                "Reason",
                lambda one: reason_words(one.code),
                lambda one: Cell(reason_words(one.code), href=href(one)),
            ),
            *((service,) if with_service else ()),
            Field("For example", lambda one: one.example),
            Field("Open", lambda one: one.count, lambda one: count_cell(one.count), numeric=True),
            *((action,) if may_act else ()),
        ),
    )


def refused_listing(
    rows: Sequence[QuarantinedEventRow],
    *,
    sources: dict[int, str],
    hrefs: Sequence[str],
    total: int,
    asked: Asked,
    path: str,
    query: dict[str, str],
    with_service: bool,
) -> Listing:
    """Return one page of the list of refused events."""
    service = (Column("Service", "service"),) if with_service else ()
    kept = {name: text for name, text in query.items() if text}
    order = {"sort": asked.sort, "direction": asked.direction}
    return Listing(
        name=REFUSED,
        caption="Refused events",
        caption_hidden=True,
        columns=(
            Column("Received", "received"),
            *service,
            Column("Reason", "reason"),
            Column("What is wrong"),
            Column("State", "state"),
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
        query=kept,
        sort=asked.sort,
        direction=asked.direction,
        page=asked.page,
        page_size=PAGE_SIZE,
        total=total,
        download=f"{path}?{urlencode({**kept, **order, 'download': REFUSED})}" if rows else None,
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
