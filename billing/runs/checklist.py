"""What makes a trust's shared services send an invoice back, looked at before it is sent. Pure.

The list mirrors why NHS shared business services return invoices: no or no valid purchase
order, an address or code they cannot match, a supplier without VAT number, nothing behind the
figures, no cost code. A check that fails holds the account; one that warns is shown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billing.accounts.ordering import LOW_PERCENT, used_percent
from billing.invoices.model import Invoice, InvoiceKind, Line, LineKind, Treatment
from billing.money import show_pounds
from billing.runs.model import Check, Outcome

_ODS_CODE = re.compile(r"[A-Z0-9]{3,10}")
_POSTCODE = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}")
_NOWHERE = re.compile(r"ZZ99")
_TAXABLE = frozenset({Treatment.STANDARD, Treatment.ZERO})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the account asks of its invoices.

    Attributes:
        order_required: a draft without a purchase order waits for one.
        hold_when_spent: so does one that goes beyond its order.
        order_value: what the order is for in all, pounds; None where it does not say.
        cost_codes: the account has said which cost centres bear its lines.
    """

    order_required: bool = False
    hold_when_spent: bool = False
    order_value: Decimal | None = None
    cost_codes: bool = False


def checklist(invoice: Invoice, *, wanted: Wanted) -> tuple[Check, ...]:
    """Return how a draft comes out against each reason for being sent back."""
    return (
        _order(invoice, wanted),
        _ods_code(invoice),
        _address(invoice),
        _vat_number(invoice),
        _backing(invoice.lines),
        _cost_code(invoice.lines, wanted),
    )


def worst(checks: Iterable[Check]) -> Outcome:
    """Return the gravest outcome, `pass` where there is no check."""
    order = list(Outcome)
    return max((check.outcome for check in checks), key=order.index, default=Outcome.PASS)


def _check(name: str, outcome: Outcome, detail: str) -> Check:
    return Check(name=name, outcome=outcome, detail=detail)


def _order(invoice: Invoice, wanted: Wanted) -> Check:
    name, order = "purchase-order", invoice.purchase_order
    if invoice.kind is InvoiceKind.CREDIT_NOTE:
        return _check(name, Outcome.PASS, "A credit note needs no purchase order.")
    if order is None:
        outcome = Outcome.FAIL if wanted.order_required else Outcome.WARN
        return _check(name, outcome, "No purchase order is in force for this month.")
    if order.remaining is not None and invoice.net > order.remaining:
        outcome = Outcome.FAIL if wanted.hold_when_spent else Outcome.WARN
        return _check(
            name,
            outcome,
            f"The invoice is {show_pounds(invoice.net)} without VAT and purchase order "
            f"{order.number} has {show_pounds(order.remaining)} left.",
        )
    if order.remaining is not None and wanted.order_value is not None:
        used = wanted.order_value - order.remaining + invoice.net
        percent = used_percent(used, wanted.order_value)
        if percent is not None and percent >= LOW_PERCENT:
            return _check(
                name,
                Outcome.WARN,
                f"With this invoice {percent}% of purchase order {order.number} is used; "
                f"{show_pounds(wanted.order_value - used)} of "
                f"{show_pounds(wanted.order_value)} is left.",
            )
    return _check(name, Outcome.PASS, f"Purchase order {order.number} is in force.")


def _ods_code(invoice: Invoice) -> Check:
    code = invoice.buyer.ods_code
    if _ODS_CODE.fullmatch(code):
        return _check("ods-code", Outcome.PASS, f"The customer is {code}.")
    return _check("ods-code", Outcome.FAIL, f"'{code}' is no ODS code.")


def _address(invoice: Invoice) -> Check:
    buyer = invoice.buyer
    postcode = buyer.postcode.upper().strip()
    if not _POSTCODE.fullmatch(postcode):
        return _check("address", Outcome.FAIL, f"'{buyer.postcode}' is no postcode.")
    if _NOWHERE.match(postcode):
        return _check("address", Outcome.WARN, "The postcode is the one for no known place.")
    return _check("address", Outcome.PASS, f"Addressed to {buyer.name}, {postcode}.")


def _vat_number(invoice: Invoice) -> Check:
    number = invoice.supplier.vat_number
    if number is None and any(line.treatment in _TAXABLE for line in invoice.lines):
        return _check("supplier-vat-number", Outcome.FAIL, "The supplier has no VAT number.")
    words = "No VAT number is needed." if number is None else f"The supplier is {number}."
    return _check("supplier-vat-number", Outcome.PASS, words)


def _backing(lines: Iterable[Line]) -> Check:
    bare = [
        line.number
        for line in lines
        if not line.working
        or (line.kind is LineKind.USAGE and (line.charge_id is None or not line.meter))
    ]
    if bare:
        told = ", ".join(map(str, bare))
        return _check("backing", Outcome.FAIL, f"Nothing stands behind line {told}.")
    return _check("backing", Outcome.PASS, "Every line has its working and its usage.")


def _cost_code(lines: Iterable[Line], wanted: Wanted) -> Check:
    if not wanted.cost_codes:
        return _check("cost-code", Outcome.PASS, "The trust asks for no cost codes.")
    bare = [line.number for line in lines if line.cost_centre is None]
    if bare:
        told = ", ".join(map(str, bare))
        return _check("cost-code", Outcome.WARN, f"No cost centre bears line {told}.")
    return _check("cost-code", Outcome.PASS, "A cost centre bears every line.")
