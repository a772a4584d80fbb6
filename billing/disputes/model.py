"""A dispute: where it stands, how long an answer may take, and how much it holds back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from billing.money import NOUGHT, to_pennies, vat_on
from metering.kit.nhs_number import mask_nhs_numbers

RESPONSE_DAYS = 5
"""Working days in which the central team answers."""

LONGEST_TEXT = 4_000


class DisputeStatus(StrEnum):
    """Where a dispute stands; `MOVES` says what may follow what."""

    OPEN = "open"
    """The central team is to answer."""
    WAITING = "waiting"
    """The central team asked something; the trust is to answer."""
    CREDITED = "credited"
    EXPLAINED = "explained"
    WITHDRAWN = "withdrawn"


STILL_OPEN = frozenset({DisputeStatus.OPEN, DisputeStatus.WAITING})
MOVES: Mapping[DisputeStatus, frozenset[DisputeStatus]] = {
    DisputeStatus.OPEN: frozenset(DisputeStatus),
    DisputeStatus.WAITING: frozenset(DisputeStatus),
    DisputeStatus.CREDITED: frozenset(),
    DisputeStatus.EXPLAINED: frozenset(),
    DisputeStatus.WITHDRAWN: frozenset(),
}

REASONS: Mapping[str, str] = {
    "not-ours": "We did not use this",
    "quantity": "The quantity is wrong",
    "price": "The price is wrong",
    "duplicate": "We were charged for this before",
    "vat": "The VAT is wrong",
    "order": "The purchase order or address is wrong",
    "other": "Something else",
}

STATUS_WORDS: Mapping[DisputeStatus, str] = {
    DisputeStatus.OPEN: "With the central team",
    DisputeStatus.WAITING: "Waiting for the trust",
    DisputeStatus.CREDITED: "Credited",
    DisputeStatus.EXPLAINED: "Explained",
    DisputeStatus.WITHDRAWN: "Withdrawn",
}


class Side(StrEnum):
    """Who wrote a message."""

    TRUST = "trust"
    CENTRAL = "central"


def may_move(before: DisputeStatus, after: DisputeStatus) -> bool:
    """Say whether a dispute may go from `before` to `after`."""
    return after in MOVES[before]


def clean_text(text: str) -> str:
    """Return what a person wrote, trimmed, every NHS number in it masked.

    Raises:
        ValueError: nothing is left, or it is too long.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    # Marks without meaning in print could disguise what a line says.
    kept = ("".join(sign for sign in line if sign.isprintable()) for line in lines)
    cleaned = mask_nhs_numbers("\n".join(kept).strip())
    if not cleaned or len(cleaned) > LONGEST_TEXT:
        raise ValueError(f"Write between 1 and {LONGEST_TEXT:,} characters.")
    return cleaned


def disputed_amount(
    *, net: Decimal, quantity: Decimal, of_quantity: Decimal | None, vat_rate_percent: Decimal
) -> Decimal:
    """Return the pounds with VAT that a disputed line holds back.

    Args:
        net: what is left of the line, pounds without VAT.
        quantity: what is left of its quantity.
        of_quantity: how much of it is disputed; None for all.

    >>> disputed_amount(net=Decimal("50.00"), quantity=Decimal(100),
    ...     of_quantity=Decimal(10), vat_rate_percent=Decimal(20))
    Decimal('6.00')
    """
    if of_quantity is not None and quantity > 0:
        net = to_pennies(net * min(of_quantity, quantity) / quantity)
    net = max(net, NOUGHT)
    return net + (vat_on(net, rate_percent=vat_rate_percent) if vat_rate_percent else NOUGHT)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a dispute, oldest first."""

    side: Side
    by: str
    text: str
    written_at: datetime


@dataclass(frozen=True, kw_only=True)
class Dispute:
    """A dispute with the names that pages show.

    Attributes:
        line_number: the disputed line; None for the whole invoice.
        line_words: the line's description, empty for the whole invoice.
        quantity: how much of the line's quantity is disputed; None for all.
        amount: pounds with VAT that are held back from reminders while it is open.
        respond_by: London date by which the central team answers; None while it waits for
            the trust or is closed.
        credit_number: of the credit note that settled it.
    """

    id: str
    account_id: str
    ods_code: str
    account_name: str
    invoice_id: str
    invoice_number: str
    line_number: int | None
    line_words: str
    reason: str
    quantity: Decimal | None
    amount: Decimal
    status: DisputeStatus
    raised_by: str
    raised_at: datetime
    respond_by: date | None
    decided_by: str | None
    decided_at: datetime | None
    credit_note_id: str | None
    credit_number: str | None
    messages: tuple[Message, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it still holds its amount back."""
        return self.status in STILL_OPEN

    @property
    def reason_words(self) -> str:
        """The reason as the trust chose it."""
        return REASONS[self.reason]

    @property
    def status_words(self) -> str:
        """Where it stands, in words."""
        return STATUS_WORDS[self.status]

    def is_late(self, today: date) -> bool:
        """Whether the central team should have answered before `today`."""
        return self.respond_by is not None and today > self.respond_by
