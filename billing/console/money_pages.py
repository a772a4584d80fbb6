"""What the page of one bank line shows: suggestions in words, the trail, what may be said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from flask import request, url_for

from billing.access.guards import current_principal
from billing.access.model import Permission
from billing.console.lists import Field, Sheet, pounds_field
from billing.console.money_queries import Payers
from billing.console.people import Names
from billing.ledger.tables import ReceivableRow
from billing.listing import Cell, Column, Listing, money_cell
from billing.money import show_pounds
from billing.payments.bank.matching import CERTAIN, OpenInvoice, Share, Suggestion, spread
from billing.payments.bank.model import read_amount
from billing.payments.bank.queries import Unmatched
from billing.payments.bank.tables import BankLineUseRow
from billing.web import show_moment
from metering.periods import show_date

USE_WORDS = {
    "payment": "Payment",
    "refund": "Refund sent",
    "returned": "Came and went back",
    "payout": "Payout by Stripe",
    "set-aside": "Set aside",
}


def may_prepare() -> bool:
    """Say whether whoever asks may match, refund and undo."""
    return current_principal().may(Permission.PREPARE)


def may_approve() -> bool:
    """Say whether whoever asks may write debts off."""
    return current_principal().may(Permission.APPROVE)


def typed_amount(text: str) -> Decimal | None:
    """Return an amount that was typed, None where nothing was.

    Raises:
        ValueError: it is no amount above nought in pounds and pence.
    """
    if not text.strip():
        return None
    try:
        amount = read_amount(text.strip())
    except ValueError:
        raise ValueError("Enter an amount in pounds and pence, for example 120.00") from None
    if amount < 0:
        raise ValueError("Enter an amount above nought")
    return amount or None


def confidence(score: int) -> tuple[str, str]:
    """Return how sure a suggestion is, as words and a colour."""
    if score == CERTAIN:
        return "Certain", "green"
    if score >= 75:
        return "Likely", "blue"
    return ("Possible", "yellow") if score >= 50 else ("Weak", "grey")


@dataclass(frozen=True)
class SuggestionView:
    """One suggestion: what it would pay, and the values that confirm it."""

    tag: str
    colour: str
    why: str
    shares: tuple[tuple[str, str, str], ...]
    values: tuple[str, ...]


def write_share(share: Share) -> str:
    """Return a share as a form carries it."""
    return f"{share.account_id}|{share.invoice_id or ''}|{share.amount}"


def suggestion_view(
    suggestion: Suggestion, *, payers: Payers, numbers: Mapping[str, str]
) -> SuggestionView:
    """Return a suggestion in words."""
    tag, colour = confidence(suggestion.score)
    return SuggestionView(
        tag,
        colour,
        suggestion.why,
        tuple(
            (
                payers[share.account_id].label,
                "Stays on the account"
                if share.invoice_id is None
                else f"Invoice {numbers.get(share.invoice_id, share.invoice_id)}",
                show_pounds(share.amount),
            )
            for share in suggestion.shares
        ),
        tuple(write_share(share) for share in suggestion.shares),
    )


def waiting_sheet(
    best: Callable[[Unmatched], Suggestion | None], *, state: str
) -> Sheet[tuple[Unmatched, str]]:
    """Return the list of bank lines; `best` gives the suggestion of one that came in, if any."""

    def said(row: tuple[Unmatched, str]) -> str:
        suggestion = best(row[0])
        return "" if suggestion is None else suggestion.why

    def tag(row: tuple[Unmatched, str]) -> Cell:
        line = row[0]
        if line.left == 0:
            return Cell("Matched", colour="green")
        suggestion = best(line)
        if suggestion is None:
            return Cell("Money out" if line.amount < 0 else "No suggestion", colour="grey")
        words, colour = confidence(suggestion.score)
        return Cell(words, colour=colour)

    return Sheet(
        name="bank-lines",
        caption="Bank lines",
        empty="Every bank line is matched. Import the next statement when the bank has it."
        if state == "waiting"
        else "There is no bank line yet. Import a bank statement.",
        fields=(
            Field(
                "From or to",
                lambda row: row[0].counterparty,
                lambda row: Cell(
                    row[0].counterparty or row[0].reference or row[0].details or "No name",
                    href=url_for("console.bank_line", line_id=row[0].id),
                    hidden=f"{show_pounds(row[0].amount)} on {show_date(row[0].booked_on)}",
                ),
                key="who",
            ),
            Field(
                "Date",
                lambda row: row[0].booked_on,
                lambda row: Cell(show_date(row[0].booked_on), nowrap=True),
                key="date",
            ),
            Field("Reference", lambda row: row[0].reference, key="reference"),
            Field("Details", lambda row: row[0].details, on_page=False),
            Field("Their account", lambda row: row[0].counterparty_account, on_page=False),
            Field("Our account", lambda row: row[1], on_page=False),
            pounds_field("Amount", lambda row: row[0].amount, key="amount"),
            pounds_field("To match", lambda row: row[0].left, key="left"),
            Field("Sure", lambda row: tag(row).text, tag),
            Field("Best suggestion", said),
        ),
    )


def uses_listing(
    uses: Sequence[BankLineUseRow], *, payers: Payers, names: Names, may_undo: bool
) -> Listing:
    """Return what was said of a line, undone or not."""

    def what(use: BankLineUseRow) -> Cell:
        if use.kind == "payment" and use.account_id is not None:
            return Cell(
                "Payment",
                href=url_for(
                    "console.payment", account_id=use.account_id, payment_id=use.subject_id
                ),
                hidden=f"of {show_pounds(use.amount)}",
            )
        return Cell(USE_WORDS[use.kind])

    def state(use: BankLineUseRow) -> Cell:
        if use.undone_at is not None:
            who, reason = names.of(use.undone_by), use.undo_reason
            return Cell(f"Undone by {who}, {show_moment(use.undone_at).striptags()}: {reason}")
        if may_undo and use.kind not in {"refund", "returned"}:
            return Cell(
                "Undo",
                href=url_for("console.undo_use", line_id=use.bank_line_id, use_id=use.id),
                hidden=f"{USE_WORDS[use.kind].lower()} of {show_pounds(use.amount)}",
            )
        return Cell("Stands")

    return Listing(
        name="said",
        caption="What was said of it",
        caption_hidden=True,
        path=request.path,
        columns=(
            Column("What"),
            Column("Account"),
            Column("Amount", numeric=True),
            Column("By"),
            Column("Why"),
            Column("State"),
        ),
        rows=tuple(
            (
                what(use),
                Cell("" if use.account_id is None else payers[use.account_id].name),
                money_cell(use.amount),
                Cell(f"{names.of(use.made_by)}, {show_moment(use.made_at).striptags()}"),
                Cell(use.reason),
                state(use),
            )
            for use in uses
        ),
        empty="Nobody has said yet what this money is.",
    )


@dataclass(frozen=True)
class OpenRow:
    """An open invoice with the field of how much of the money pays it."""

    field: str
    number: str
    words: str


def open_rows(invoices: Sequence[ReceivableRow]) -> tuple[OpenRow, ...]:
    """Return the fields of a split by hand."""
    return tuple(
        OpenRow(
            pay_field(row.document_id),
            row.number,
            f"{show_pounds(row.total - row.allocated)} open, due {show_date(row.due_on)}",
        )
        for row in invoices
    )


def pay_field(invoice_id: str) -> str:
    """Return the name of an invoice's field."""
    return f"pay-{invoice_id}"


def spread_values(
    amount: Decimal, invoices: Sequence[ReceivableRow], *, account_id: str
) -> dict[str, str]:
    """Return the fields filled in, oldest invoice first, the rest on the account."""
    shares = spread(
        amount,
        [
            OpenInvoice(
                account_id=row.account_id,
                invoice_id=row.document_id,
                number=row.number,
                outstanding=row.total - row.allocated,
                issued_on=row.issued_on,
                due_on=row.due_on,
            )
            for row in invoices
        ],
        keeper=account_id,
    )
    return {
        "rest" if share.invoice_id is None else pay_field(share.invoice_id): f"{share.amount:.2f}"
        for share in shares
    }
