"""What an account would be sent: the same sums for a preview, a draft and what is sealed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.allocation import AllocationRule
from billing.accounts.model import Order, VatTreatment, order_for
from billing.accounts.queries import Payer
from billing.accounts.tables import AccountRow
from billing.charges.tables import ChargeRow
from billing.invoices import queries
from billing.invoices.allocating import allocate
from billing.invoices.catalogue import Catalogue, key_of
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


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What an account's documents are composed from.

    Attributes:
        heirs: who took the account over, and whoever took over that one.
        charges: of the open months' prices where what is charged is not what was invoiced.
        billed: what was invoiced there, with the printed line.
        spent: pounds without VAT taken from each purchase order, by its number.
    """

    payer: Payer
    heirs: Sequence[Payer]
    treatments: list[VatTreatment]
    rules: Sequence[AllocationRule]
    orders: Sequence[Order]
    spent: Mapping[str, Decimal]
    charges: Sequence[ChargeRow]
    billed: Sequence[Billed]


def gather(
    session: Session,
    *,
    account_ids: Collection[str],
    month: Month,
    correction_months: int = CORRECTION_MONTHS,
) -> dict[str, Gathered]:
    """Read, for many accounts at once, what their documents for a month are composed from.

    Args:
        correction_months: how many months before `month` are still open to corrections.

    Returns:
        By account id; an account that is not there is left out.
    """
    first = month.shift(-correction_months)
    payers = {
        payer.account.id: payer for payer in accounts.payers(session, account_ids=account_ids)
    }
    ids = list(payers)
    should = _charge_sums(session, account_ids=ids, first=first, last=month)
    has = queries.invoiced_sums_of(session, account_ids=ids, first=first, last=month)
    differing = {account_id: _differing(should[account_id], has[account_id]) for account_id in ids}
    charges = _charges(
        session,
        keys={
            account_id: keys & should[account_id].keys() for account_id, keys in differing.items()
        },
    )
    treatments = accounts.vat_treatments_of(session, account_ids=ids)
    rules = accounts.allocation_rules_of(session, account_ids=ids)
    orders = accounts.orders_of(session, account_ids=ids)
    with_orders = [account_id for account_id in ids if orders[account_id]]
    spent = queries.spent_on_orders(session, account_ids=with_orders) if with_orders else {}
    return {
        account_id: Gathered(
            payer=payer,
            heirs=accounts.heirs(session, account_id=account_id)
            if payer.account.successor_id is not None
            else (),
            treatments=treatments[account_id],
            rules=rules[account_id],
            orders=orders[account_id],
            spent=spent.get(account_id, {}),
            charges=charges.get(account_id, ()),
            billed=_billed(
                session,
                account_id=account_id,
                keys=differing[account_id] & has[account_id].keys(),
                has=has[account_id],
            ),
        )
        for account_id, payer in payers.items()
    }


def _differing(should: Mapping[Key, Decimal], has: Mapping[Key, Sum]) -> set[Key]:
    """Return the prices where what should be invoiced is not what was."""
    found = {key for key in has if should.get(key, NOUGHT) != has[key].net}
    return found | {key for key in should if key not in has or has[key].is_nothing}


def compose_documents(
    gathered: Gathered,
    *,
    month: Month,
    supplier: Supplier,
    catalogue: Catalogue,
    now: datetime,
) -> Composed:
    """Return what the account would be sent for the month, from its charges as they stand.

    A preview and a bill run both call this, so they agree to the penny.

    Raises:
        NothingToCredit (a contradiction); ValueError (it does not print).
    """
    account = gathered.payer.account
    charged = [catalogue.charged(row, treatments=gathered.treatments) for row in gathered.charges]
    drafts = tuple(
        allocate(draft, rules=gathered.rules)
        for draft in compose(month=month, charged=charged, billed=gathered.billed)
    )
    buyer, notes, terms = _buyer(gathered)
    today = london_day(now)
    found: list[Invoice] = []
    quoted_orders: list[Order | None] = []
    taken: dict[str, Decimal] = {}
    for draft in drafts:
        order = order_for(
            gathered.orders,
            tariff_codes=draft.tariff_codes,
            day=month.end_day - timedelta(days=1),
        )
        quoted = None
        if order is not None:
            remaining = None
            if order.value is not None:
                spent = gathered.spent.get(order.number, NOUGHT)
                remaining = order.value - spent - taken.get(order.number, NOUGHT)
            quoted = PurchaseOrder(number=order.number, remaining=remaining)
            if draft.credits is None:
                taken[order.number] = taken.get(order.number, NOUGHT) + draft.net
        quoted_orders.append(order)
        found.append(
            _invoice(
                draft,
                account_id=account.id,
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
        order_required=account.order_required,
        cost_codes=bool(gathered.rules),
        is_closed=account.closed_at is not None,
    )


def _charge_sums(
    session: Session, *, account_ids: Collection[str], first: Month, last: Month
) -> dict[str, dict[Key, Decimal]]:
    rows = session.execute(
        select(
            ChargeRow.account_id,
            ChargeRow.month,
            ChargeRow.tariff_code,
            ChargeRow.version_id,
            ChargeRow.price_key,
            func.sum(ChargeRow.amount),
        )
        .where(
            ChargeRow.account_id.in_(account_ids),
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .group_by(
            ChargeRow.account_id,
            ChargeRow.month,
            ChargeRow.tariff_code,
            ChargeRow.version_id,
            ChargeRow.price_key,
        )
    ).all()
    found: dict[str, dict[Key, Decimal]] = {account_id: {} for account_id in account_ids}
    for account_id, month, tariff, version, price, net in rows:
        key = Key(
            month=Month.of_day(month), tariff_code=tariff, version_id=version, price_key=price
        )
        found[account_id][key] = net
    return found


def _charges(
    session: Session, *, keys: Mapping[str, Collection[Key]]
) -> dict[str, list[ChargeRow]]:
    """Return the charges of prices by account, in the order in which they are printed."""
    owners: dict[Month, list[str]] = {}
    for account_id, wanted in keys.items():
        for month in {key.month for key in wanted}:
            owners.setdefault(month, []).append(account_id)
    found: dict[str, list[ChargeRow]] = {}
    for month in sorted(owners):
        rows = session.scalars(
            select(ChargeRow)
            .where(ChargeRow.account_id.in_(owners[month]), ChargeRow.month == month.first_day)
            .order_by(ChargeRow.account_id, ChargeRow.first_on, ChargeRow.id)
        ).all()
        for row in rows:
            if key_of(row) in keys[row.account_id]:
                found.setdefault(row.account_id, []).append(row)
    return found


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


def _buyer(gathered: Gathered) -> tuple[Party, tuple[str, ...], int]:
    """Return whom the invoice is addressed to, notes, and days to pay."""
    notes: tuple[str, ...] = ()
    to, code = gathered.payer.account, gathered.payer.ods_code
    for heir in gathered.heirs:
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
