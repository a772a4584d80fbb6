"""Stripe behind the gateway protocol: the only module that knows Stripe.

Invoices are collected by `send_invoice`, payable by GB bank transfer, Bacs Direct Debit and,
where allowed, card. The lines carry explicit tax amounts, so that Stripe's total is the sum
of paygo's rounded figures and not a rounding of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar, cast

import stripe

from billing.money import plain
from billing.payments.gateway import (
    GatewayCustomer,
    GatewayEvent,
    GatewayInvoice,
    GatewayLine,
    GatewayRefused,
    GatewayUnavailable,
    RemoteInvoice,
    RemotePayment,
    RemoteRefund,
    WebhookNotSigned,
)
from metering.periods import LONDON, london_day

T = TypeVar("T")

_ACCOUNT, _INVOICE, _LINE = "paygo_account", "paygo_invoice", "paygo_line"
_CREDIT_NOTE, _REFUND = "paygo_credit_note", "paygo_refund"
_TIMEOUT_SECONDS = 20
_REFUND_STATUS = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}


class StripeGateway:
    """Stripe's API with one secret key.

    Args:
        api_base: where the API is, for tests; None for Stripe's own.
        webhook_secret: signs webhooks; None where no endpoint is registered.
        cards: whether cards may be used beside bank transfer and Direct Debit.
        retries: how often the SDK itself repeats a call, with the same idempotency key.
    """

    def __init__(
        self,
        secret_key: str,
        *,
        webhook_secret: str | None = None,
        api_base: str | None = None,
        cards: bool = False,
        retries: int = 2,
        timeout_seconds: int = _TIMEOUT_SECONDS,
    ) -> None:
        bases: Any = {} if api_base is None else {"api": api_base}
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses=bases,
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout_seconds),
        ).v1
        self._webhook_secret = webhook_secret
        self._methods = ["customer_balance", "bacs_debit", *(["card"] if cards else [])]

    def create_customer(self, customer: GatewayCustomer, *, key: str) -> str:
        """Make a customer; return its id."""
        lines = customer.address
        address = {"line1": lines[0], "postal_code": customer.postcode, "country": "GB"}
        if len(lines) > 2:
            address["line2"] = ", ".join(lines[1:-1])
        if len(lines) > 1:
            address["city"] = lines[-1]
        made = _ask(
            lambda: self._client.customers.create(
                params={
                    "name": customer.name,
                    "email": customer.email,
                    "address": cast(Any, address),
                    "metadata": {_ACCOUNT: customer.account_id},
                },
                options={"idempotency_key": key},
            )
        )
        return made.id

    def find_customer(self, customer: GatewayCustomer) -> str | None:
        """Return the id of the account's customer, None where there is none."""
        # Searching by metadata lags behind by a minute; listing does not.
        found = _ask(
            lambda: [
                one.id
                for one in self._client.customers.list(
                    params={"email": customer.email, "limit": 100}
                ).auto_paging_iter()
                if _metadata(one).get(_ACCOUNT) == customer.account_id
            ]
        )
        return min(found, default=None)

    def create_invoice(self, customer_id: str, invoice: GatewayInvoice, *, key: str) -> str:
        """Make an empty draft with paygo's number and due date; return its id."""
        made = _ask(
            lambda: self._client.invoices.create(
                params={
                    "customer": customer_id,
                    "number": invoice.number,
                    "currency": "gbp",
                    "collection_method": "send_invoice",
                    "due_date": _end_of(invoice.due_on),
                    "auto_advance": False,
                    "pending_invoice_items_behavior": "exclude",
                    "metadata": {
                        _ACCOUNT: invoice.account_id,
                        _INVOICE: invoice.invoice_id,
                    },
                    "payment_settings": {
                        "payment_method_types": cast(Any, self._methods),
                        "payment_method_options": {
                            "customer_balance": {
                                "funding_type": "bank_transfer",
                                "bank_transfer": {"type": "gb_bank_transfer"},
                            }
                        },
                    },
                },
                options={"idempotency_key": key},
            )
        )
        return made.id

    def find_invoice(self, customer_id: str, invoice_id: str) -> str | None:
        """Return the id of the invoice that was pushed for paygo's, None where there is none."""
        found = _ask(
            lambda: [
                one.id
                for one in self._client.invoices.list(
                    params={"customer": customer_id, "limit": 100}
                ).auto_paging_iter()
                if _metadata(one).get(_INVOICE) == invoice_id and one.status != "void"
            ]
        )
        return min(found, default=None)

    def add_lines(self, remote_id: str, lines: Sequence[GatewayLine], *, key: str) -> None:
        """Add lines to a draft."""
        _ask(
            lambda: self._client.invoices.add_lines(
                remote_id,
                params={"lines": [cast(Any, _line(line)) for line in lines]},
                options={"idempotency_key": key},
            )
        )

    def line_numbers(self, remote_id: str) -> frozenset[int]:
        """Return paygo's numbers of the lines that an invoice has."""
        return _ask(
            lambda: frozenset(
                int(_metadata(line)[_LINE])
                for line in self._client.invoices.line_items.list(
                    remote_id, params={"limit": 100}
                ).auto_paging_iter()
                if _LINE in _metadata(line)
            )
        )

    def finalise(self, remote_id: str, *, key: str) -> None:
        """Let a draft be payable; paygo sends its own letters, so Stripe sends none."""
        _ask(
            lambda: self._client.invoices.finalize_invoice(
                remote_id, params={"auto_advance": False}, options={"idempotency_key": key}
            )
        )

    def invoice(self, remote_id: str) -> RemoteInvoice:
        """Return an invoice with its payments."""
        found = _ask(lambda: self._client.invoices.retrieve(remote_id))
        payments = _ask(
            lambda: list(
                self._client.invoice_payments.list(
                    params={"invoice": remote_id, "status": "paid", "limit": 100}
                ).auto_paging_iter()
            )
        )
        metadata = _metadata(found)
        return RemoteInvoice(
            id=found.id,
            account_id=metadata.get(_ACCOUNT, ""),
            invoice_id=metadata.get(_INVOICE, ""),
            number=found.number or "",
            status=str(found.status),
            total=_pounds(found.total),
            vat=_pounds(found.total - (found.total_excluding_tax or 0)),
            amount_remaining=_pounds(found.amount_remaining),
            hosted_url=found.hosted_invoice_url,
            payments=tuple(_payments(payments)),
        )

    def mark_paid_elsewhere(self, remote_id: str, *, key: str) -> None:
        """Tell that an open invoice was settled by other means."""
        _ask(
            lambda: self._client.invoices.pay(
                remote_id, params={"paid_out_of_band": True}, options={"idempotency_key": key}
            )
        )

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
        params: dict[str, Any] = {
            "invoice": remote_id,
            "amount": _pence(total),
            "memo": f"Credit note {number}",
            "metadata": {_CREDIT_NOTE: credit_note_id},
        }
        if total > remaining:
            params["out_of_band_amount"] = _pence(total - remaining)
        made = _ask(
            lambda: self._client.credit_notes.create(
                params=cast(Any, params), options={"idempotency_key": key}
            )
        )
        return made.id

    def find_credit(self, remote_id: str, credit_note_id: str) -> str | None:
        """Return the id of the credit note made for paygo's, None where there is none."""
        found = _ask(
            lambda: [
                one.id
                for one in self._client.credit_notes.list(
                    params={"invoice": remote_id, "limit": 100}
                ).auto_paging_iter()
                if _metadata(one).get(_CREDIT_NOTE) == credit_note_id
            ]
        )
        return min(found, default=None)

    def refund(
        self, payment_id: str, *, account_id: str, refund_id: str, amount: Decimal, key: str
    ) -> RemoteRefund:
        """Give back part of a payment."""
        return _refund(
            _ask(
                lambda: self._client.refunds.create(
                    params={
                        "payment_intent": payment_id,
                        "amount": _pence(amount),
                        "metadata": {_REFUND: refund_id, _ACCOUNT: account_id},
                    },
                    options={"idempotency_key": key},
                )
            )
        )

    def find_refund(self, payment_id: str, refund_id: str) -> RemoteRefund | None:
        """Return the refund made for paygo's, None where there is none."""
        found = _ask(
            lambda: [
                one
                for one in self._client.refunds.list(
                    params={"payment_intent": payment_id, "limit": 100}
                ).auto_paging_iter()
                if _metadata(one).get(_REFUND) == refund_id
            ]
        )
        return _refund(found[0]) if found else None

    def read_refund(self, remote_id: str) -> RemoteRefund:
        """Return a refund."""
        return _refund(_ask(lambda: self._client.refunds.retrieve(remote_id)))

    def read_event(self, content: bytes, signature: str) -> GatewayEvent:
        """Return the event in a webhook.

        Raises:
            WebhookNotSigned: the signature is missing, wrong or older than five minutes.
        """
        if self._webhook_secret is None:
            raise WebhookNotSigned("No webhook secret is set, so nothing can be trusted.")
        try:
            event = stripe.Webhook.construct_event(
                content, signature, self._webhook_secret, api_key="unused"
            )
        except (stripe.SignatureVerificationError, ValueError) as error:
            raise WebhookNotSigned(f"The webhook is refused: {type(error).__name__}.") from None
        told = event.to_dict()
        kind, object_id = _about(told)
        return GatewayEvent(
            id=str(told["id"]),
            type=str(told["type"]),
            object_kind=kind,
            object_id=object_id,
            content=told,
        )


def _about(event: dict[str, Any]) -> tuple[str, str]:
    """Return which object to look at again; nothing of the event's own figures is believed."""
    thing = event["data"]["object"]
    kind = thing.get("object")
    if kind == "invoice":
        return "invoice", str(thing["id"])
    if kind == "invoice_payment":
        invoice = thing["invoice"]
        return "invoice", str(invoice["id"] if isinstance(invoice, dict) else invoice)
    if kind == "refund":
        return "refund", str(thing["id"])
    return "", ""


def _ask(call: Callable[[], T]) -> T:
    try:
        return call()
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.IdempotencyError) as error:
        # A key used with other particulars (a due date moved at midnight) is free again in a day.
        raise GatewayUnavailable(f"Stripe: {error.user_message or error}") from error
    except stripe.StripeError as error:
        status = error.http_status or 500
        # 409: the same call is still running there; 401 and 403: our key is wrong, which a
        # person can put right without giving the invoice up.
        if status >= 500 or status in {401, 403, 409}:
            raise GatewayUnavailable(f"Stripe: {error.user_message or error}") from error
        raise GatewayRefused(f"Stripe: {error.user_message or error}") from error


def _line(line: GatewayLine) -> dict[str, Any]:
    said: dict[str, Any] = {
        "amount": _pence(line.net),
        "description": line.description[:500],
        "metadata": {_LINE: str(line.number)},
    }
    if line.vat_rate_percent:
        said["tax_amounts"] = [
            {
                "amount": _pence(line.vat),
                "taxable_amount": _pence(line.net),
                "tax_rate_data": {
                    "display_name": "VAT",
                    "inclusive": False,
                    # As text, so that no binary fraction comes near a rate.
                    "percentage": plain(line.vat_rate_percent),
                    "country": "GB",
                    "jurisdiction": "GB",
                },
            }
        ]
    return said


def _payments(found: Iterable[stripe.InvoicePayment]) -> Iterable[RemotePayment]:
    for one in found:
        # Stripe leaves out what does not apply to the kind of payment.
        through = getattr(one.payment, "payment_intent", None)
        # Others are what paygo itself reported as paid elsewhere.
        if through is None or not one.amount_paid:
            continue
        paid_at = one.status_transitions.paid_at or one.created
        yield RemotePayment(
            id=through if isinstance(through, str) else through.id,
            amount=_pounds(one.amount_paid),
            paid_on=london_day(datetime.fromtimestamp(paid_at, tz=UTC)),
        )


def _refund(found: stripe.Refund) -> RemoteRefund:
    metadata = _metadata(found)
    return RemoteRefund(
        id=found.id,
        account_id=metadata.get(_ACCOUNT, ""),
        refund_id=metadata.get(_REFUND, ""),
        status=_REFUND_STATUS.get(found.status or "", "pending"),
    )


def _metadata(found: Any) -> dict[str, str]:
    return {} if found.metadata is None else dict(found.metadata.to_dict())


def _end_of(day: date) -> int:
    """Return the last second of a London day, for a due date that includes the day."""
    return int(datetime.combine(day, time(23, 59, 59), tzinfo=LONDON).timestamp())


def _pence(amount: Decimal) -> int:
    pence = amount * 100
    assert pence == pence.to_integral_value(), "only whole pennies go to Stripe"
    return int(pence)


def _pounds(pence: int) -> Decimal:
    return Decimal(pence).scaleb(-2)
