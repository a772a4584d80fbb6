"""What the pages of notifications show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from billing.forms import Form
from billing.listing import Cell, Column, Listing
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
from metering.periods import london

# Told to hosted services about their usage, never to trusts.
_OF_SOURCES = frozenset({"usage.rejected"})
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
        caption="Email addresses",
        caption_hidden=True,
        columns=(Column("Address"), Column("Is told that"), *_change_column(href)),
        rows=tuple(
            (Cell(row.address), Cell(_titles(row.kinds)), *_change_cell(href, row.id, row.address))
            for row in rows
        ),
        path=path,
        total=len(rows),
        empty="No further address is told of anything.",
    )


def webhooks_listing(
    rows: Sequence[Endpoint], *, path: str, href: Callable[[str], str] | None
) -> Listing:
    """Return the list of webhook endpoints, by host."""
    return Listing(
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
                Cell(f"{row.waiting:,}"),
                Cell(f"{row.dead:,}"),
                *_change_cell(href, row.id, host_of(row.url)),
            )
            for row in rows
        ),
        path=path,
        total=len(rows),
        empty="No program is told of anything.",
    )


def deliveries_listing(found: DeliveryPage, *, path: str, href: Callable[[str], str]) -> Listing:
    """Return one page of what was sent, the newest first."""
    return Listing(
        caption="Recent deliveries",
        caption_hidden=True,
        columns=(Column("What"), Column("To"), Column("When"), Column("State")),
        rows=tuple(
            (
                Cell(one.kind_title, href=href(one.id), hidden=f"to {one.receiver}, {one.id}"),
                Cell(one.receiver),
                Cell(f"{london(one.announced_at):%-d %B %Y, %H:%M}"),
                Cell(STATES[one.status].text, colour=STATES[one.status].colour),
            )
            for one in found.items
        ),
        path=path,
        page=found.page,
        page_size=found.page_size,
        total=found.total,
        empty="Nothing was sent yet.",
    )


def delivery_page(account: OpenAccount, found: DeliveryDetail, *, path: str) -> DeliveryViewPage:
    """Return the page of one delivery."""
    one = found.delivery
    return DeliveryViewPage(
        account=account,
        title=one.kind_title,
        state=STATES[one.status],
        facts=_facts(one, found.facts),
        attempts=Listing(
            caption="Attempts",
            caption_hidden=True,
            columns=(Column("Attempt"), Column("When"), Column("Outcome"), Column("Answer")),
            rows=tuple(
                (
                    Cell(str(each.number)),
                    Cell(f"{london(each.started_at):%-d %B %Y, %H:%M:%S}"),
                    Cell(_OUTCOMES.get(each.outcome, each.outcome or "")),
                    Cell(
                        " ".join(
                            part for part in (str(each.status or ""), each.excerpt or "") if part
                        )
                    ),
                )
                for each in found.attempts
            ),
            path=path,
            total=len(found.attempts),
            empty="It was not tried yet.",
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
            shown.append((label, f"{london(moment):%-d %B %Y, %H:%M}"))
    if one.last_error:
        shown.append(("Last fault", one.last_error))
    shown += [(name.replace("_", " ").capitalize(), str(value)) for name, value in facts.items()]
    return tuple(shown)


def _titles(kinds: Sequence[str]) -> str:
    return "; ".join(KINDS[kind].title for kind in kinds)


def _change_column(href: Callable[[str], str] | None) -> tuple[Column, ...]:
    return () if href is None else (Column("Action"),)


def _change_cell(href: Callable[[str], str] | None, key: str, hidden: str) -> tuple[Cell, ...]:
    return () if href is None else (Cell("Change", href=href(key), hidden=hidden),)
