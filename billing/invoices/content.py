"""An invoice to the JSON that is stored and sealed, and back; pure."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from billing.invoices.model import (
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    PurchaseOrder,
    Treatment,
    VatSummary,
)
from billing.invoices.parties import BankAccount, Party
from billing.invoices.sealing import canonical_content
from metering.periods import Month


def to_content(invoice: Invoice) -> dict[str, Any]:
    """Return what the seal covers, as JSON to store."""
    content: dict[str, Any] = json.loads(canonical_content(invoice))
    return content


def content_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the bytes that the seal covers, from the stored JSON alone.

    This does not pass through the model, so that a seal can be checked for content which a
    later version of the model would read otherwise.
    """
    return json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def from_content(
    content: Mapping[str, Any],
    *,
    status: str,
    seal: str | None = None,
    previous_seal: str | None = None,
) -> Invoice:
    """Read a stored invoice back; equal to the one that was stored.

    Raises:
        ValueError: it does not add up.
    """
    said = dict(content)
    if said.get("issued_at") is not None:
        said["issued_at"] = datetime.fromisoformat(said["issued_at"])
    for name in ("tax_point", "due_on", "credits_issued_on"):
        if said.get(name) is not None:
            said[name] = date.fromisoformat(said[name])
    for name in ("net", "vat", "total", "pool_saving"):
        said[name] = _pounds(said[name])
    order = said.get("purchase_order")
    return Invoice(
        **said
        | {
            "kind": InvoiceKind(said["kind"]),
            "status": InvoiceStatus(status),
            "month": Month.parse(said["month"]),
            "supplier": party_from(said["supplier"]),
            "buyer": party_from(said["buyer"]),
            "pay_to": None if said.get("pay_to") is None else bank_from(said["pay_to"]),
            "purchase_order": None
            if order is None
            else PurchaseOrder(
                number=order["number"],
                remaining=None if order.get("remaining") is None else _pounds(order["remaining"]),
            ),
            "lines": tuple(line_from(line) for line in said["lines"]),
            "vat_summaries": tuple(_summary(item) for item in said["vat_summaries"]),
            "notes": tuple(said.get("notes", ())),
            "seal": seal,
            "previous_seal": previous_seal,
        }
    )


def plain_content(part: Party | BankAccount) -> dict[str, Any]:
    """Return a party or bank account as JSON."""
    said: dict[str, Any] = {}
    for item in fields(part):
        value = getattr(part, item.name)
        if value is not None:
            said[item.name] = list(value) if isinstance(value, tuple) else value
    return said


def party_from(said: Mapping[str, Any]) -> Party:
    """Read a party."""
    return Party(**{**said, "address": tuple(said["address"])})


def bank_from(said: Mapping[str, Any]) -> BankAccount:
    """Read a bank account."""
    return BankAccount(**said)


def line_from(said: Mapping[str, Any]) -> Line:
    """Read a line."""
    values = dict(said)
    for name in ("quantity", "unit_price", "vat_rate_percent"):
        if values.get(name) is not None:
            values[name] = Decimal(values[name])
    for name in ("net", "pool_saving"):
        if values.get(name) is not None:
            values[name] = _pounds(values[name])
    return Line(
        **values
        | {
            "kind": LineKind(values["kind"]),
            "treatment": Treatment(values["treatment"]),
            "first_day": date.fromisoformat(values["first_day"]),
            "end_day": date.fromisoformat(values["end_day"]),
            "working": tuple(values.get("working", ())),
        }
    )


def _summary(said: Mapping[str, Any]) -> VatSummary:
    return VatSummary(
        treatment=Treatment(said["treatment"]),
        rate_percent=Decimal(said["rate_percent"]),
        net=_pounds(said["net"]),
        vat=_pounds(said["vat"]),
        reason=said.get("reason"),
    )


def _pounds(text: str) -> Decimal:
    # Canonical content writes 0.50 as 0.5; pounds always show pence.
    return Decimal(text).quantize(Decimal("0.01"))
