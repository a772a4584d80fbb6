"""Where a purchase order stands: what it covers, what is used of it, what to say; pure."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from billing.accounts.model import Order, covers
from billing.money import NOUGHT

LOW_PERCENT = 80
"""From this part of its value on, a purchase order is said to run out."""


class OrderState(StrEnum):
    """What people should know of a purchase order."""

    OPEN = "open"
    LOW = "low"
    SPENT = "spent"
    ENDED = "ended"
    NOT_STARTED = "not-started"


@dataclass(frozen=True, kw_only=True)
class OrderStanding:
    """A purchase order and what invoices took from it, pounds without VAT."""

    order: Order
    used: Decimal
    on: date

    @property
    def remaining(self) -> Decimal | None:
        """What it still covers, below nought when overspent; None without a stated value."""
        return None if self.order.value is None else self.order.value - self.used

    @property
    def used_percent(self) -> int | None:
        """Whole percent used, cut down; None without a stated value."""
        return used_percent(self.used, self.order.value)

    @property
    def state(self) -> OrderState:
        """Where it stands on the day."""
        if self.on < self.order.starts_on:
            return OrderState.NOT_STARTED
        if not covers(self.order.starts_on, self.order.ends_on, self.on):
            return OrderState.ENDED
        if self.remaining is not None and self.remaining <= 0:
            return OrderState.SPENT
        if (self.used_percent or 0) >= LOW_PERCENT:
            return OrderState.LOW
        return OrderState.OPEN


def used_percent(used: Decimal, value: Decimal | None) -> int | None:
    """Return the whole percent of an order's value that is used, cut down.

    >>> used_percent(Decimal("79.99"), Decimal("100.00")), used_percent(Decimal("1.00"), None)
    (79, None)
    """
    if value is None:
        return None
    return int(max(used, NOUGHT) * 100 // value) if value else 100
