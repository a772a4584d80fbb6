"""What an account would be sent: the same sums for a preview, a draft and what is sealed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.model import Order, order_for
from billing.accounts.tables import AccountRow
from billing.charges.tables import ChargeRow
from billing.invoices import queries
from billing.invoices.allocating import allocate
from billing.invoices.catalogue import Catalogue
from billing.invoices.composing import Billed, Draft, Key, compose
from billing.invoices.model import (
    CREDIT_SERIES,
    INVOICE_SERIES,
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    PurchaseOrder,
    compose_invoice,
)
from billing.invoices.parties import Party
from billing.invoices.queries import Sum
from billing.invoices.supplier import Supplier
from billing.money import NOUGHT
from metering.kit.ids import new_id
from metering.periods import Month, london_day, show_date

CORRECTION_MONTHS = 13


@dataclass(frozen=True, kw_only=True)
class Composed:
    """Documents of one account for one month, before they are kept.

    Attributes:
        orders: for each document its purchase order, None without one.
        order_required: the account takes no invoice without a purchase order.
        cost_codes: the account has said which cost centres bear its lines.
        is_closed: the account takes on nothing new, so nothing can be carried over.
    """

    invoices: tuple[Invoice, ...]
    drafts: tuple[Draft, ...]
    orders: tuple[Order | None, ...]
    order_required: bool
    cost_codes: bool
    is_closed: bool


def compose_documents(
    session: Session,
    *,
    account_id: str,
    month: Month,
    supplier: Supplier,
    catalogue: Catalogue,
    now: datetime,
    correction_months: int = CORRECTION_MONTHS,
) -> Composed:
    """Return what the account would be sent for the month, from its charges as they stand.

    A preview in the portal and a bill run both call this, so they agree to the penny.

    Args:
        correction_months: how many months before `month` are still open to corrections.

    Raises:
        AccountUnknown; NothingToCredit (a contradiction); ValueError (it does not print).
    """
    payer = accounts.payer(session, account_id=account_id)
    treatments = accounts.vat_treatments(session, account_id=account_id)
    first = month.shift(-correction_months)
    should = _charge_sums(session, account_id=account_id, first=first, last=month)
    has = queries.invoiced_sums(session, account_id=account_id, first=first, last=month)
    differing = {key for key in has if should.get(key, NOUGHT) != has[key].net}
    differing |= {key for key in should if key not in has or has[key].is_nothing}
    rows = _charges(session, account_id=account_id, keys=differing & should.keys())
    charged = [catalogue.charged(row, treatments=treatments) for row in rows]
    billed = _billed(session, account_id=account_id, keys=differing & has.keys(), has=has)
    rules = accounts.allocation_rules(session, account_id=account_id)
    drafts = tuple(
        allocate(draft, rules=rules)
        for draft in compose(month=month, charged=charged, billed=billed)
    )
    buyer, notes, terms = _buyer(session, payer.account, payer.ods_code)
    orders = accounts.orders(session, account_id=account_id)
    today = london_day(now)
    found: list[Invoice] = []
    quoted_orders: list[Order | None] = []
    taken: dict[str, Decimal] = {}
    for draft in drafts:
        order = order_for(
            orders, tariff_codes=draft.tariff_codes, day=month.end_day - timedelta(days=1)
        )
        quoted = None
        if order is not None:
            remaining = None
            if order.value is not None:
                spent = queries.spent_on_order(session, account_id=account_id, number=order.number)
                remaining = order.value - spent - taken.get(order.number, NOUGHT)
            quoted = PurchaseOrder(number=order.number, remaining=remaining)
            if draft.credits is None:
                taken[order.number] = taken.get(order.number, NOUGHT) + draft.net
        quoted_orders.append(order)
        found.append(
            _invoice(
                draft,
                account_id=account_id,
                month=month,
                supplier=supplier,
                buyer=buyer,
                order=quoted,
                notes=notes,
                today=today,
                due_on=today + timedelta(days=terms),
                now=now,
            )
        )
    return Composed(
        invoices=tuple(found),
        drafts=drafts,
        orders=tuple(quoted_orders),
        order_required=payer.account.order_required,
        cost_codes=bool(rules),
        is_closed=payer.account.closed_at is not None,
    )


def _charge_sums(
    session: Session, *, account_id: str, first: Month, last: Month
) -> dict[Key, Decimal]:
    rows = session.execute(
        select(
            ChargeRow.month,
            ChargeRow.tariff_code,
            ChargeRow.version_id,
            ChargeRow.price_key,
            func.sum(ChargeRow.amount),
        )
        .where(
            ChargeRow.account_id == account_id,
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .group_by(ChargeRow.month, ChargeRow.tariff_code, ChargeRow.version_id, ChargeRow.price_key)
    )
    return {
        Key(month=Month.of_day(month), tariff_code=tariff, version_id=version, price_key=price): net
        for month, tariff, version, price, net in rows
    }


def _charges(session: Session, *, account_id: str, keys: Collection[Key]) -> Sequence[ChargeRow]:
    if not keys:
        return ()
    return session.scalars(
        select(ChargeRow)
        .where(
            ChargeRow.account_id == account_id,
            tuple_(
                ChargeRow.month, ChargeRow.tariff_code, ChargeRow.version_id, ChargeRow.price_key
            ).in_(
                [
                    (key.month.first_day, key.tariff_code, key.version_id, key.price_key)
                    for key in keys
                ]
            ),
        )
        .order_by(ChargeRow.month, ChargeRow.first_on, ChargeRow.id)
    ).all()


def _billed(
    session: Session, *, account_id: str, keys: Collection[Key], has: Mapping[Key, Sum]
) -> list[Billed]:
    """Return what was invoiced for keys, with the printed line that it was last told by."""
    found = queries.billed_lines(
        session, account_id=account_id, keys=[key for key in keys if not has[key].is_nothing]
    )
    read: dict[str, Invoice] = {}
    billed = []
    for key, lines in found.items():
        first, last = lines[0], lines[-1]
        document = read.setdefault(last.row.id, queries.read(last.row))
        assert first.row.number is not None
        assert first.row.issued_at is not None
        billed.append(
            Billed(
                key=key,
                meter_code=has[key].meter_code,
                quantity=has[key].quantity,
                net=has[key].net,
                conceded=has[key].conceded,
                line=document.lines[last.number - 1],
                number=first.row.number,
                invoice_id=first.row.id,
                issued_on=london_day(first.row.issued_at),
            )
        )
    return billed


def _buyer(
    session: Session, account: AccountRow, ods_code: str
) -> tuple[Party, tuple[str, ...], int]:
    """Return whom the invoice is addressed to, notes, and days to pay."""
    notes: tuple[str, ...] = ()
    to, code = account, ods_code
    while to.successor_id is not None:
        heir = accounts.payer(session, account_id=to.successor_id)
        assert to.closed_at is not None
        notes = (
            *notes,
            f"For usage by {to.name} ({code}), which became part of {heir.account.name} on "
            f"{show_date(london_day(to.closed_at))}.",
        )
        to, code = heir.account, heir.ods_code
    return party_of(to, code), notes, to.payment_terms_days


def party_of(account: AccountRow, ods_code: str) -> Party:
    """Return an account as it is addressed."""
    return Party(
        name=account.name,
        address=tuple(account.address),
        postcode=account.postcode,
        ods_code=ods_code,
        vat_number=account.vat_number,
        email=account.email,
        in_nhs_vat_division=account.in_nhs_vat_division,
    )


def _invoice(
    draft: Draft,
    *,
    account_id: str,
    month: Month,
    supplier: Supplier,
    buyer: Party,
    order: PurchaseOrder | None,
    notes: tuple[str, ...],
    today: date,
    due_on: date,
    now: datetime,
) -> Invoice:
    """Return the draft document; dates are as if it were issued today."""
    facts: dict[str, Any] = {
        "status": InvoiceStatus.DRAFT,
        "account_id": account_id,
        "supplier": supplier.party,
        "buyer": buyer,
        "month": month,
        "tax_point": today,
        "purchase_order": order,
        "notes": notes,
    }
    if draft.credits is None:
        return compose_invoice(
            lines=draft.lines,
            id=new_id("inv", now=now),
            kind=InvoiceKind.INVOICE,
            series=INVOICE_SERIES,
            due_on=due_on,
            pay_to=supplier.bank,
            **facts,
        )
    number, issued_on, _ = draft.credits
    return compose_invoice(
        lines=draft.lines,
        id=new_id("crn", now=now),
        kind=InvoiceKind.CREDIT_NOTE,
        series=CREDIT_SERIES,
        due_on=today,
        credits_number=number,
        credits_issued_on=issued_on,
        credit_reason="Usage or prices were corrected after the invoice was issued.",
        **facts,
    )
