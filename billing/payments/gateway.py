"""What paygo asks of a payment gateway, in paygo's words; `stripe_gateway` is the one there is.

Amounts are pounds. Every call that creates something takes an idempotency key that was stored
before; every such thing can be found again by paygo's own id, so that a crash between the call
and the record of its answer is repaired by asking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from metering.kit.errors import Invalid, Malformed, Unavailable


class GatewayUnavailable(Unavailable):
    """The payment gateway did not answer, or answered with a fault of its own. It may have done
    what was asked; the repair asks again."""

    code = "gateway-unavailable"
    title = "The payment gateway did not answer"


class GatewayRefused(Invalid):
    """The payment gateway refuses what was asked; asking again changes nothing."""

    code = "gateway-refused"
    title = "The payment gateway refuses"


class WebhookNotSigned(Malformed):
    """A webhook's signature is missing, wrong or too old: it is not from the gateway."""

    code = "webhook-not-signed"
    title = "The webhook is not signed by the gateway"


@dataclass(frozen=True, kw_only=True)
class GatewayCustomer:
    """An account as the gateway is told of it."""

    account_id: str
    name: str
    email: str
    address: tuple[str, ...]
    postcode: str


@dataclass(frozen=True, kw_only=True)
class GatewayLine:
    """One line to push.

    Attributes:
        vat: its share of the invoice's VAT; the shares sum to the VAT printed.
        vat_rate_percent: nought where no VAT is charged.
    """

    number: int
    description: str
    net: Decimal
    vat: Decimal
    vat_rate_percent: Decimal


@dataclass(frozen=True, kw_only=True)
class GatewayInvoice:
    """An issued invoice to push, just as printed."""

    account_id: str
    invoice_id: str
    number: str
    due_on: date
    total: Decimal
    vat: Decimal
    lines: tuple[GatewayLine, ...]


@dataclass(frozen=True, kw_only=True)
class RemotePayment:
    """Money that the gateway took for an invoice; `id` refunds it."""

    id: str
    amount: Decimal
    paid_on: date


@dataclass(frozen=True, kw_only=True)
class RemoteInvoice:
    """An invoice as the gateway has it now.

    Attributes:
        account_id, invoice_id: paygo's, empty on an invoice that is not paygo's.
        status: `draft`, `open`, `paid`, `void` or `uncollectible`.
        payments: succeeded ones that went through the gateway.
    """

    id: str
    account_id: str
    invoice_id: str
    number: str
    status: str
    total: Decimal
    vat: Decimal
    amount_remaining: Decimal
    hosted_url: str | None
    payments: tuple[RemotePayment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RemoteRefund:
    """A refund as the gateway has it now; `status` is `pending`, `succeeded` or `failed`."""

    id: str
    account_id: str
    refund_id: str
    status: str


@dataclass(frozen=True, kw_only=True)
class GatewayEvent:
    """A signed event, told apart as far as paygo must know.

    Attributes:
        object_kind: `invoice`, `refund`, or empty where paygo has nothing to do.
        object_id: the gateway's id of the invoice or refund to look at again.
    """

    id: str
    type: str
    object_kind: str
    object_id: str
    content: dict[str, Any]


class Gateway(Protocol):
    """The calls. Each raises GatewayUnavailable or GatewayRefused."""

    def create_customer(self, customer: GatewayCustomer, *, key: str) -> str:
        """Make a customer; return its id."""

    def find_customer(self, customer: GatewayCustomer) -> str | None:
        """Return the id of the account's customer, None where there is none."""

    def create_invoice(self, customer_id: str, invoice: GatewayInvoice, *, key: str) -> str:
        """Make an empty draft with paygo's number and due date; return its id."""

    def find_invoice(self, customer_id: str, invoice_id: str) -> str | None:
        """Return the id of the invoice that was pushed for paygo's, None where there is none."""

    def add_lines(self, remote_id: str, lines: Sequence[GatewayLine], *, key: str) -> None:
        """Add lines to a draft."""

    def line_numbers(self, remote_id: str) -> frozenset[int]:
        """Return paygo's numbers of the lines that an invoice has."""

    def finalise(self, remote_id: str, *, key: str) -> None:
        """Let a draft be payable."""

    def invoice(self, remote_id: str) -> RemoteInvoice:
        """Return an invoice with its payments."""

    def mark_paid_elsewhere(self, remote_id: str, *, key: str) -> None:
        """Tell that an open invoice was settled by other means."""

    def credit(
        self,
        remote_id: str,
        *,
        credit_note_id: str,
        number: str,
        total: Decimal,
        remaining: Decimal,
        key: str,
    ) -> str:
        """Credit an invoice: what `remaining` allows is taken off, the rest is settled by paygo."""

    def find_credit(self, remote_id: str, credit_note_id: str) -> str | None:
        """Return the id of the credit note made for paygo's, None where there is none."""

    def refund(
        self, payment_id: str, *, account_id: str, refund_id: str, amount: Decimal, key: str
    ) -> RemoteRefund:
        """Give back part of a payment."""

    def find_refund(self, payment_id: str, refund_id: str) -> RemoteRefund | None:
        """Return the refund made for paygo's, None where there is none."""

    def read_refund(self, remote_id: str) -> RemoteRefund:
        """Return a refund."""

    def read_event(self, content: bytes, signature: str) -> GatewayEvent:
        """Return the event in a webhook.

        Raises:
            WebhookNotSigned: see the class.
        """
