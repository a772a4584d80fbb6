"""What a seal covers, and the chain that it makes; pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from billing.invoices.model import Invoice, Line, PurchaseOrder, VatSummary
from billing.invoices.parties import BankAccount, Party
from billing.money import plain
from metering.periods import Month, to_utc

FIRST_SEAL = "0" * 64
_UNSEALED = frozenset({"status", "seal", "previous_seal"})


def canonical_content(invoice: Invoice) -> bytes:
    """Return what a seal covers: UTF-8 JSON, keys sorted, decimals as plain strings.

    Equal values give equal bytes whatever their scale (`21` and `21.000000000`). Status and
    seals are left out, for a sealed invoice may still be settled; so are fields that are None,
    so that a field added later leaves older seals true.
    """
    content = {name: value for name, value in _canonical(invoice).items() if name not in _UNSEALED}
    return json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def seal(content: bytes, previous_seal: str | None) -> str:
    """Return the SHA-256 that ties `content` to the document issued before it in its series.

    The digest is of the previous seal (64 noughts for the first), a newline and the content.
    """
    chain = (previous_seal or FIRST_SEAL).encode("ascii")
    return hashlib.sha256(chain + b"\n" + content).hexdigest()


def seal_holds(invoice: Invoice) -> bool:
    """Say whether the invoice's seal is the seal of what it says."""
    return invoice.seal == seal(canonical_content(invoice), invoice.previous_seal)


def _canonical(value: Any) -> Any:
    """Turn a value into JSON, one spelling for each value."""
    kind = type(value)
    # The commonest first: an invoice of 200 lines has 10,000 values, most of them text.
    if kind is str or kind is int or value is None:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {str(key): _canonical(member) for key, member in value.items()}
    if kind is tuple or kind is list:
        return [_canonical(member) for member in value]
    if kind is Decimal:
        return plain(value)
    if kind is Month:
        return str(value)
    if kind in _FIELD_NAMES:
        members = ((name, getattr(value, name)) for name in _FIELD_NAMES[kind])
        return {name: _canonical(member) for name, member in members if member is not None}
    if isinstance(value, datetime):
        return to_utc(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str | int):
        return value
    raise TypeError(f"{kind.__name__} has no place in an invoice")


_FIELD_NAMES: dict[type[Any], tuple[str, ...]] = {
    kind: tuple(item.name for item in fields(kind))
    for kind in (Party, BankAccount, PurchaseOrder, VatSummary, Line, Invoice)
}
