"""What the page of one usage event shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.portal.account import OpenAccount
from billing.portal.parts import Tag
from billing.portal.usage_asked import UsageAsked
from billing.portal.usage_pages import clock_words
from billing.portal.usage_queries import EventMeter
from billing.portal.words import show_dimensions, show_number
from metering.periods import Month, london_day, show_date


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
                f"{show_number(each.event.quantity)} {each.meter.unit}",
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
