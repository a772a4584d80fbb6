"""Should-have minus has: one mechanism for re-runs, late usage, withdrawals, corrections.

A month is rated anew with everything now known; what each promise should have come
to is compared with what was invoiced for it, earlier corrections included; the
difference is a correction. Where nothing has changed there is none, so a run can
be repeated at will. Issued invoices are never touched.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext

from billing.money import NOUGHT, PRECISION, show_pounds
from billing.rating.model import Charge
from billing.rating.numbers import NONE, show_quantity

Promise = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Invoiced:
    """What was asked for one promise in one month: an invoice line, or a correction.

    Attributes:
        quantity: metered; of a correction the difference, so that lines add up.
        amount: pounds and pence before VAT.
    """

    account: str
    tariff: str
    version: str
    price_key: str
    quantity: Decimal
    amount: Decimal
    label: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """What is still to be asked (or given back, below nought) for one promise of a month.

    Attributes:
        quantity: metered, should-have less has; may be nought when only the price changed.
        amount: pounds and pence, should-have less has; may be nought when only the
            quantity changed, and is then kept so that quantities stay whole.
        reason: `late-usage`, `withdrawn-usage`, `first-charge`, `no-longer-charged` or
            `price-changed`.
        text: one plain sentence.
    """

    account: str
    tariff: str
    version: str
    price_key: str
    label: str
    quantity: Decimal
    amount: Decimal
    should_have: Decimal
    has: Decimal
    reason: str
    text: str


def corrections(should_have: Iterable[Charge], has: Iterable[Invoiced]) -> tuple[Correction, ...]:
    """Return what has to change, by account, tariff, version and price key.

    Several charges or lines of one promise (segments of the month, own and pooled
    days) add up before they are compared.

    Args:
        should_have: every charge of one month, as rated now.
        has: every line invoiced so far for that same month.
    """
    with localcontext() as context:
        context.prec = PRECISION
        wanted: dict[Promise, tuple[Decimal, Decimal]] = {}
        asked: dict[Promise, tuple[Decimal, Decimal]] = {}
        labels: dict[Promise, str] = {}
        for line in has:
            key = (line.account, line.tariff, line.version, line.price_key)
            quantity, amount = asked.get(key, (NONE, NOUGHT))
            asked[key] = (quantity + line.quantity, amount + line.amount)
            labels[key] = line.label or labels.get(key, line.price_key)
        for charge in should_have:
            key = (charge.account, charge.tariff, charge.version, charge.price_key)
            quantity, amount = wanted.get(key, (NONE, NOUGHT))
            wanted[key] = (quantity + charge.quantity, amount + charge.amount)
            labels[key] = charge.label
        found = []
        for key in sorted(wanted.keys() | asked.keys()):
            quantity, amount = wanted.get(key, (NONE, NOUGHT))
            quantity_had, amount_had = asked.get(key, (NONE, NOUGHT))
            if quantity == quantity_had and amount == amount_had:
                continue
            more = quantity - quantity_had
            reason = _reason(more, is_new=key not in asked, is_gone=key not in wanted)
            found.append(
                Correction(
                    *key,
                    label=labels[key],
                    quantity=more,
                    amount=amount - amount_had,
                    should_have=amount,
                    has=amount_had,
                    reason=reason,
                    text=_sentence(labels[key], reason, more, amount, amount_had),
                )
            )
        return tuple(found)


def _reason(more: Decimal, *, is_new: bool, is_gone: bool) -> str:
    if is_new:
        return "first-charge"
    if is_gone:
        return "no-longer-charged"
    if more == 0:
        return "price-changed"
    return "late-usage" if more > 0 else "withdrawn-usage"


def _sentence(label: str, reason: str, more: Decimal, amount: Decimal, had: Decimal) -> str:
    why = {
        "first-charge": "was not charged before",
        "no-longer-charged": "is no longer charged",
        "price-changed": "has another price than before",
        "late-usage": f"{show_quantity(more)} more came in after the invoice",
        "withdrawn-usage": f"{show_quantity(-more)} were withdrawn after the invoice",
    }[reason]
    return (
        f"{label}: {why}. It comes to {show_pounds(amount)}, {show_pounds(had)} were charged: "
        f"{show_pounds(amount - had)} to correct."
    )
