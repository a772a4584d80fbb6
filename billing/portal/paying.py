"""How an account pays: our bank account, the payment pages at Stripe, and what we have seen."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.invoices import queries as invoices
from billing.invoices.model import Invoice
from billing.invoices.parties import BankAccount, Party
from billing.invoices.tables import InvoiceRow
from billing.ledger.tables import ReceivableRow
from billing.listing import Cell, Column, Listing, day_cell, money_cell
from billing.money import show_pounds, sum_pounds
from billing.payments.funds import left_of
from billing.payments.tables import AllocationRow, PaymentRow, StripeInvoiceRow
from billing.sheets import listed


def pay_pages(session: Session, *, account_id: str) -> dict[str, str]:
    """Return the address of the payment page of each open invoice that has one, by invoice."""
    rows = session.execute(
        select(StripeInvoiceRow.invoice_id, StripeInvoiceRow.hosted_url)
        .join(
            ReceivableRow,
            (ReceivableRow.account_id == StripeInvoiceRow.account_id)
            & (ReceivableRow.document_id == StripeInvoiceRow.invoice_id),
        )
        .where(
            StripeInvoiceRow.account_id == account_id,
            StripeInvoiceRow.status == "open",
            ReceivableRow.allocated < ReceivableRow.total,
            StripeInvoiceRow.hosted_url.startswith("https://"),
        )
    )
    return {row.invoice_id: row.hosted_url for row in rows if row.hosted_url is not None}


def bank_rows(bank: BankAccount | None, *, reference: str | None) -> tuple[tuple[str, str], ...]:
    """Return where to pay, as label and text; nothing where no bank account is told."""
    if bank is None:
        return ()
    rows = (
        ("Account name", bank.account_name),
        ("Bank", bank.bank_name),
        ("Sort code", bank.sort_code),
        ("Account number", bank.account_number),
        ("IBAN", bank.iban),
        ("BIC", bank.bic),
        ("Reference", reference),
    )
    return tuple((label, text) for label, text in rows if text)


def latest_pay_to(session: Session, *, account_id: str) -> BankAccount | None:
    """Return the bank account that the account's latest invoice names, None before the first."""
    invoice = _latest(session, account_id=account_id)
    return None if invoice is None else invoice.pay_to


def latest_supplier(session: Session, *, account_id: str) -> Party | None:
    """Return who sent the account's latest invoice, None where there is none."""
    invoice = _latest(session, account_id=account_id)
    return None if invoice is None else invoice.supplier


def _latest(session: Session, *, account_id: str) -> Invoice | None:
    row = session.scalars(
        select(InvoiceRow)
        .where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.kind == "invoice",
            InvoiceRow.number.is_not(None),
        )
        .order_by(InvoiceRow.issued_at.desc(), InvoiceRow.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else invoices.read(row)


@dataclass(frozen=True)
class PaymentSeen:
    """A payment of the account that has reached us.

    Attributes:
        pays: number and pounds of each invoice that it is set against.
        left: what of it pays nothing yet.
    """

    received_on: date
    by: str
    reference: str
    amount: Decimal
    pays: Mapping[str, Decimal]
    refunded: Decimal
    left: Decimal


def payments_seen(
    session: Session, *, account_id: str, first_day: date, end_day: date
) -> Sequence[PaymentSeen]:
    """Return the payments received on London dates [first_day, end_day), latest first.

    One that was taken back is left out: it was never this account's, or it bounced, and the
    statement shows both of its movements.
    """
    rows = session.scalars(
        select(PaymentRow)
        .where(
            PaymentRow.account_id == account_id,
            PaymentRow.reversed_at.is_(None),
            PaymentRow.received_on >= first_day,
            PaymentRow.received_on < end_day,
        )
        .order_by(PaymentRow.received_on.desc(), PaymentRow.id.desc())
    ).all()
    pays: dict[str, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(list))
    for payment_id, number, amount in session.execute(
        select(AllocationRow.payment_id, ReceivableRow.number, AllocationRow.amount)
        .join(
            ReceivableRow,
            (ReceivableRow.account_id == AllocationRow.account_id)
            & (ReceivableRow.document_id == AllocationRow.invoice_id),
        )
        .where(
            AllocationRow.account_id == account_id,
            AllocationRow.payment_id.in_([row.id for row in rows]),
        )
        .order_by(ReceivableRow.number)
    ):
        pays[payment_id or ""][number].append(amount)
    return [
        PaymentSeen(
            row.received_on,
            "Card or Direct Debit" if row.source == "stripe" else "Bank transfer",
            row.reference,
            row.amount,
            {
                number: total
                for number, amounts in pays[row.id].items()
                if (total := sum_pounds(amounts))
            },
            row.refunded,
            left_of(row),
        )
        for row in rows
    ]


def payments_listing(payments: Sequence[PaymentSeen], *, path: str, year: str) -> Listing:
    """Return the payments that were seen, with what each pays."""

    def pays(one: PaymentSeen) -> str:
        parts = [f"{number}: {show_pounds(amount)}" for number, amount in one.pays.items()]
        if one.refunded:
            parts.append(f"given back: {show_pounds(one.refunded)}")
        if one.left:
            parts.append(f"not used yet: {show_pounds(one.left)}")
        return "; ".join(parts)

    return listed(
        Listing(
            name="payments",
            beside=True,
            caption=f"Payments that have reached us in {year}",
            columns=(
                Column("Received"),
                Column("By"),
                Column("Your reference"),
                Column("Amount", numeric=True),
                Column("Pays"),
            ),
            rows=tuple(
                (
                    day_cell(one.received_on),
                    Cell(one.by),
                    Cell(one.reference),
                    money_cell(one.amount),
                    Cell(pays(one)),
                )
                for one in payments
            ),
            path=path,
            empty=f"No payment of {year} has reached us. Money that you sent in the last few "
            "days may still be on its way.",
        )
    )
