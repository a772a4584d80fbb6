"""What the pages of usage events show: those of a day or hour, and a single one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import quote, urlencode

from billing.listing import Asked, Cell, Column, Listing
from billing.portal.account import OpenAccount
from billing.portal.event_queries import Event, EventMeter
from billing.portal.parts import Tag
from billing.portal.usage_asked import UsageAsked
from billing.portal.usage_pages import Frame, hour_words, title
from billing.portal.usage_queries import UsedMeter
from billing.portal.words import counted, show_dimensions, show_number
from metering.meters.model import plural_of
from metering.periods import Month, london_day, show_date, show_time

PAGE_SIZE = 50


@dataclass(frozen=True)
class Counted:
    """What an event counted for on one meter."""

    meter: str
    quantity: str
    split: str
    day_href: str


@dataclass(frozen=True)
class EventPage:
    """One usage event."""

    account: OpenAccount
    event_id: str
    service: str
    tag: Tag
    facts: tuple[tuple[str, str], ...]
    counted: tuple[Counted, ...]
    explanation: str
    crumbs: tuple[tuple[str, str], ...]


def event_page(*, account: OpenAccount, found: Sequence[EventMeter], usage_path: str) -> EventPage:
    """Return the page of an event that was found on at least one meter."""
    first = found[0]
    event = first.event
    day = london_day(event.occurred_at)
    received = london_day(event.received_at)
    facts = [
        ("Service", first.service),
        ("Event id", event.event_id),
        ("Happened", f"{show_date(day)}, {clock_words(event.occurred_at)}"),
        ("Received", f"{show_date(received)}, {clock_words(event.received_at)}"),
        ("Organisation", f"{account.name} ({account.code})"),
    ]
    explanation = ""
    tag = Tag("Counted", "green")
    if event.kind == 1:
        tag = Tag("Withdrawal", "orange")
        about = first.detail or {}
        explanation = "This record takes an earlier event back, so its quantity is negative."
        if about.get("withdraws"):
            facts.append(("Withdraws", str(about["withdraws"])))
        if about.get("reason"):
            facts.append(("Reason", str(about["reason"])))
    elif event.withdrawn:
        tag = Tag("Withdrawn", "orange")
        explanation = (
            "The service took this event back later. Both records are kept; together they "
            "count for nothing."
        )
        if first.withdrawn_at is not None:
            facts.append(("Withdrawn", show_date(london_day(first.withdrawn_at))))
        if first.withdrawn_because:
            facts.append(("Reason", first.withdrawn_because))
    asked = UsageAsked(Month.of_day(day))
    return EventPage(
        account=account,
        event_id=event.event_id,
        service=first.service,
        tag=tag,
        facts=tuple(facts),
        counted=tuple(
            Counted(
                each.meter.name,
                counted(each.event.quantity, each.meter.unit),
                show_dimensions(each.event.dimensions),
                asked.href(usage_path, meter=each.meter.code, view="hour", day=day),
            )
            for each in found
        ),
        explanation=explanation,
        crumbs=(
            ("Usage", asked.href(usage_path)),
            (
                f"{first.meter.name}, {show_date(day)}",
                asked.href(usage_path, meter=first.meter.code, view="hour", day=day),
            ),
        ),
    )


@dataclass(frozen=True)
class EventsPage:
    """The single events of a day or an hour."""

    account: OpenAccount
    title: str
    caption: str
    narrowed: str
    crumbs: tuple[tuple[str, str], ...]
    listing: Listing


def events_page(
    frame: Frame,
    *,
    used: UsedMeter,
    day: date,
    hour: datetime | None,
    found: Sequence[Event],
    total: int,
    listed: Asked,
    path: str,
    query: Sequence[tuple[str, str]],
) -> EventsPage:
    """Return the events of a London day, or of one real hour of it."""
    asked = frame.asked
    when = show_date(day) if hour is None else f"{show_date(day)}, hour from {hour_words(hour)}"
    return EventsPage(
        account=frame.account,
        title="Usage events",
        caption=f"{used.meter.name}, {when}",
        narrowed=show_dimensions(dict(asked.where), frame.labels),
        crumbs=(
            ("Usage", UsageAsked(asked.month).href(frame.path)),
            (used.meter.name, asked.href(frame.path, view="day", day=None)),
            (show_date(day), asked.href(frame.path, view="hour", day=day)),
        ),
        listing=Listing(
            name="events",
            caption=f"Usage events of {used.meter.name}, {when}",
            caption_hidden=True,
            columns=(
                Column("Happened", "at"),
                Column("Details"),
                Column(title(plural_of(used.meter.unit)), numeric=True),
                Column("State"),
                Column("Event"),
            ),
            rows=tuple(
                (
                    Cell(clock_words(event.occurred_at)),
                    Cell(show_dimensions(event.dimensions, frame.labels) or "–"),
                    Cell(show_number(event.quantity)),
                    _state(event),
                    Cell(event.event_id, href=event_href(path, event)),
                )
                for event in found
            ),
            path=path,
            query=dict(query),
            sort="at",
            direction=listed.direction,
            page=listed.page,
            page_size=PAGE_SIZE,
            total=total,
            download=f"{path}.csv?{urlencode(query)}",
            empty="No events happened then. Go back and choose another day or hour.",
        ),
    )


def event_href(path: str, event: Event) -> str:
    """Return the address of an event's page under the address of the list of events."""
    day = london_day(event.occurred_at)
    return f"{path}/{quote(event.source_code)}/{Month.of_day(day)}/{event.key}?day={day}"


def _state(event: Event) -> Cell:
    if event.kind == 1:
        return Cell("Withdrawal", colour="orange")
    return Cell("Withdrawn", colour="orange") if event.withdrawn else Cell("Counted")


def clock_words(instant: datetime) -> str:
    """Write an instant's London clock time to the second: `9:05:07am`."""
    return show_time(instant, seconds=True)
