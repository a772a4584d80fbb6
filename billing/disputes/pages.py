"""Queries as pages show them, in the portal and to the central team."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from billing.disputes.model import Dispute, DisputeStatus, Side
from billing.invoices.tables import InvoiceLineRow
from billing.listing import Cell, Column, Listing, day_cell, money_cell
from billing.money import show_pounds

_COLOURS = {
    DisputeStatus.OPEN: "blue",
    DisputeStatus.WAITING: "yellow",
    DisputeStatus.CREDITED: "green",
    DisputeStatus.EXPLAINED: "grey",
    DisputeStatus.WITHDRAWN: "grey",
}


@dataclass(frozen=True)
class Tag:
    """A state in a word and its colour."""

    text: str
    colour: str


@dataclass(frozen=True)
class MessageView:
    """A message as a page shows it; `who` is the side, `lines` what it says."""

    who: str
    written_at: datetime
    lines: tuple[str, ...]


def status_tag(found: Dispute, *, today: date) -> Tag:
    """Return where a query stands, red where its answer is late."""
    if found.is_late(today):
        return Tag("Answer is late", "red")
    return Tag(found.status_words, _COLOURS[found.status])


def message_views(found: Dispute, *, mine: Side) -> tuple[MessageView, ...]:
    """Return the messages, oldest first, from the side of whoever looks."""
    names = {Side.TRUST: found.account_name, Side.CENTRAL: "Central team"}
    names[mine] = "You" if mine is Side.TRUST else names[mine]
    return tuple(
        MessageView(
            who=names[message.side],
            written_at=message.written_at,
            lines=tuple(line.strip() for line in message.text.splitlines() if line.strip()),
        )
        for message in found.messages
    )


def about(found: Dispute) -> str:
    """Return what a query is about, in words."""
    if found.line_number is None:
        return f"{found.invoice_number}, all of it"
    return f"{found.invoice_number}, line {found.line_number}: {found.line_words}"


def choices(lines: Iterable[InvoiceLineRow]) -> list[tuple[str, str]]:
    """Return the lines of an invoice as (value, text) pairs of a list box."""
    return [
        ("", "The whole invoice"),
        *(
            (str(line.number), f"Line {line.number}: {line.description}, {show_pounds(line.net)}")
            for line in lines
        ),
    ]


def disputes_listing(
    found: Sequence[Dispute],
    *,
    hrefs: Sequence[str],
    path: str,
    today: date,
    with_account: bool = False,
    query: Mapping[str, str] | None = None,
    empty: str = "There are no queries. An invoice's lines can be queried on its page.",
) -> Listing:
    """Return all queries as a list, each leading to its page."""
    rows = []
    for one, href in zip(found, hrefs, strict=True):
        tag = status_tag(one, today=today)
        rows.append(
            (
                Cell(about(one), href=href),
                *((Cell(one.account_name),) if with_account else ()),
                Cell(one.reason_words),
                money_cell(one.amount),
                day_cell(one.raised_at),
                day_cell(one.respond_by, none=""),
                Cell(tag.text, colour=tag.colour),
            )
        )
    return Listing(
        name="queries",
        caption="Queries",
        caption_hidden=True,
        columns=(
            Column("About"),
            *((Column("Account"),) if with_account else ()),
            Column("Reason"),
            Column("Disputed", numeric=True),
            Column("Raised"),
            Column("Answer by"),
            Column("Status"),
        ),
        rows=tuple(rows),
        path=path,
        query=query or {},
        empty=empty,
    )
