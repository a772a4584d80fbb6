"""What the pages of notifications show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from billing.forms import Form
from billing.listing import Asked, Cell, Column, Listing, Value, count_cell
from billing.notifications.model import EMAIL_KINDS, KINDS, WEBHOOK_KINDS
from billing.notifications.queries import (
    Delivery,
    DeliveryDetail,
    DeliveryPage,
    Endpoint,
    Subscription,
)
from billing.portal.account import OpenAccount
from billing.portal.parts import Tag
from billing.sheets import listed
from metering.periods import show_moment

# Told to hosted services about their usage, never to trusts.
_OF_SOURCES = frozenset({"usage.rejected"})
DELIVERIES = "deliveries"
DELIVERIES_HEADER = ("What", "To", "By", "When", "State", "Attempts", "Delivery id")
STATES = {
    "waiting": Tag("Waiting", "blue"),
    "delivered": Tag("Delivered", "green"),
    "dead": Tag("Given up", "red"),
    "not-configured": Tag("Kept: no mail relay", "orange"),
    "cancelled": Tag("Cancelled", "grey"),
}
_OUTCOMES = {
    None: "Cut short or still going",
    "delivered": "Delivered",
    "retry": "Failed; tried again later",
    "permanent": "Refused for good",
    "gone": "Gone (410)",
}


@dataclass(frozen=True)
class NotificationsPage:
    """Who is told what, and what was sent lately."""

    account: OpenAccount
    emails: Listing
    webhooks: Listing
    deliveries: Listing
    always: tuple[str, ...]
    form: Form
    states: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReceiverPage:
    """The form of a subscription or an endpoint.

    Attributes:
        field: the name of the text field, its label and hint.
        kinds: (value, words, ticked).
        endpoint: the one that is changed; None for a new one or an email address.
        receiver_id: empty for a new one.
    """

    account: OpenAccount
    title: str
    form: Form
    field: tuple[str, str, str] | None
    kinds: tuple[tuple[str, str, bool], ...]
    submit: str
    receiver_id: str = ""
    endpoint: Endpoint | None = None


@dataclass(frozen=True)
class SecretPage:
    """A webhook's secret, shown this once.

    Attributes:
        rotated: whether an older one goes on signing beside it for a while.
    """

    account: OpenAccount
    host: str
    secret: str
    rotated: bool


@dataclass(frozen=True)
class DeliveryViewPage:
    """One delivery and its attempts."""

    account: OpenAccount
    title: str
    state: Tag
    facts: tuple[tuple[str, str], ...]
    attempts: Listing
    delivery_id: str
    may_send_again: bool


def choices(channel: str, chosen: Sequence[str]) -> tuple[tuple[str, str, bool], ...]:
    """Return the kinds that a trust may choose, as (value, words, ticked)."""
    kinds = EMAIL_KINDS if channel == "email" else WEBHOOK_KINDS
    return tuple(
        (kind, KINDS[kind].title, kind in chosen) for kind in kinds if kind not in _OF_SOURCES
    )


def always_mailed() -> tuple[str, ...]:
    """Return what is mailed to the account's own address without a subscription."""
    return tuple(kind.title for kind in KINDS.values() if kind.always_mailed)


def host_of(url: str) -> str:
    """Return the host of a webhook's address; the rest may hold a token."""
    return urlsplit(url).hostname or url


def emails_listing(
    rows: Sequence[Subscription], *, path: str, href: Callable[[str], str] | None
) -> Listing:
    """Return the list of email subscriptions; `href` leads to the form that changes one."""
    return Listing(
        name="email-addresses",
        beside=True,
        caption="Email addresses",
        caption_hidden=True,
        columns=(Column("Address"), Column("Is told that"), *_change_column(href)),
        rows=tuple(
            (Cell(row.address), Cell(_titles(row.kinds)), *_change_cell(href, row.id, row.address))
            for row in rows
        ),
        path=path,
        empty="No further address is told of anything.",
    )


def webhooks_listing(
    rows: Sequence[Endpoint], *, path: str, href: Callable[[str], str] | None
) -> Listing:
    """Return the list of webhook endpoints, by host."""
    return Listing(
        name="webhooks",
        beside=True,
        caption="Webhooks",
        caption_hidden=True,
        columns=(
            Column("Host"),
            Column("Is told that"),
            Column("State"),
            Column("Waiting", numeric=True),
            Column("Given up", numeric=True),
            *_change_column(href),
        ),
        rows=tuple(
            (
                Cell(host_of(row.url)),
                Cell(_titles(row.kinds)),
                Cell("Active", colour="green")
                if row.status == "active"
                else Cell("Paused", colour="red"),
                count_cell(row.waiting),
                count_cell(row.dead),
                *_change_cell(href, row.id, host_of(row.url)),
            )
            for row in rows
        ),
        path=path,
        empty="No program is told of anything.",
    )


def delivery_cells(one: Delivery) -> tuple[Value, ...]:
    """Return a delivery under `DELIVERIES_HEADER`."""
    return (
        one.kind_title,
        one.receiver,
        one.channel,
        one.announced_at,
        STATES[one.status].text,
        one.attempts,
        one.id,
    )


def deliveries_listing(
    found: DeliveryPage, *, path: str, href: Callable[[str], str], asked: Asked, state: str
) -> Listing:
    """Return one page of what was sent."""
    query = {"state": state} if state else {}
    order = {"sort": asked.sort, "direction": asked.direction}
    return Listing(
        name=DELIVERIES,
        caption="Recent deliveries",
        caption_hidden=True,
        columns=(
            Column("What", "what"),
            Column("To"),
            Column("When", "when"),
            Column("State", "state"),
        ),
        rows=tuple(
            (
                Cell(one.kind_title, href=href(one.id), hidden=f"to {one.receiver}, {one.id}"),
                Cell(one.receiver),
                Cell(show_moment(one.announced_at)),
                Cell(STATES[one.status].text, colour=STATES[one.status].colour),
            )
            for one in found.items
        ),
        path=path,
        query=query,
        sort=asked.sort,
        direction=asked.direction,
        page=found.page,
        page_size=found.page_size,
        total=found.total,
        download=f"{path}?{urlencode({**query, **order, 'download': DELIVERIES})}"
        if found.items
        else None,
        empty="Nothing that was sent is in this state. Choose another."
        if state
        else "Nothing was sent yet.",
    )


def delivery_page(account: OpenAccount, found: DeliveryDetail, *, path: str) -> DeliveryViewPage:
    """Return the page of one delivery."""
    one = found.delivery
    return DeliveryViewPage(
        account=account,
        title=one.kind_title,
        state=STATES[one.status],
        facts=_facts(one, found.facts),
        attempts=listed(
            Listing(
                name="attempts",
                caption="Attempts",
                caption_hidden=True,
                columns=(Column("Attempt"), Column("When"), Column("Outcome"), Column("Answer")),
                rows=tuple(
                    (
                        count_cell(each.number),
                        Cell(show_moment(each.started_at, seconds=True), value=each.started_at),
                        Cell(_OUTCOMES.get(each.outcome, each.outcome or "")),
                        Cell(
                            " ".join(
                                part
                                for part in (str(each.status or ""), each.excerpt or "")
                                if part
                            )
                        ),
                    )
                    for each in found.attempts
                ),
                path=path,
                empty="It was not tried yet.",
            )
        ),
        delivery_id=one.id,
        may_send_again=account.may_change and one.status not in {"waiting", "cancelled"},
    )


def _facts(one: Delivery, facts: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    shown = [
        ("To", one.receiver),
        ("By", "Email" if one.channel == "email" else "Webhook"),
        ("Delivery id", one.id),
        ("Attempts", str(one.attempts)),
    ]
    for label, moment in (("Next attempt", one.due_at), ("Delivered", one.delivered_at)):
        if moment is not None:
            shown.append((label, show_moment(moment)))
    if one.last_error:
        shown.append(("Last fault", one.last_error))
    shown += [(name.replace("_", " ").capitalize(), str(value)) for name, value in facts.items()]
    return tuple(shown)


def _titles(kinds: Sequence[str]) -> str:
    return "; ".join(KINDS[kind].title for kind in kinds)


def _change_column(href: Callable[[str], str] | None) -> tuple[Column, ...]:
    return () if href is None else (Column("Action", acts=True),)


def _change_cell(href: Callable[[str], str] | None, key: str, hidden: str) -> tuple[Cell, ...]:
    return () if href is None else (Cell("Change", href=href(key), hidden=hidden),)
