"""The long lists of the money pages, as the database holds them."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import and_, func, or_, select

from billing.accounts.tables import AccountRow
from billing.console.money_queries import LATEST_PAYMENT, UNUSED, payments_at
from billing.console.stored_lists import Stored
from billing.ledger.tables import ReceivableRow
from billing.payments.bank.tables import BankLineRow
from billing.payments.tables import (
    PaymentRow,
    RefundRow,
    ReminderRow,
    StripeInvoiceRow,
    WebhookEventRow,
)

T = TypeVar("T")


def _first(row: Any) -> Any:
    return row[0]


def bank_lines(*, state: str, search: str, read: Callable[[BankLineRow], T]) -> Stored[T]:
    """Return bank lines, oldest first while they wait, latest first otherwise.

    Args:
        state: `waiting`, `matched` or empty for all.
        search: kept in payer, account, reference or details.
    """
    row = BankLineRow
    statement = select(row)
    usual = (row.booked_on.desc(), row.id.desc())
    if state == "waiting":
        statement = statement.where(row.identified != row.amount)
        usual = (row.booked_on.asc(), row.id.asc())
    elif state == "matched":
        statement = statement.where(row.identified == row.amount)
    if search:
        texts = (row.counterparty, row.counterparty_account, row.reference, row.details)
        statement = statement.where(or_(*(t.icontains(search, autoescape=True) for t in texts)))
    return Stored(
        statement,
        usual,
        orders={
            "who": func.lower(row.counterparty),
            "date": row.booked_on,
            "reference": func.lower(row.reference),
            "amount": row.amount,
            "left": row.amount - row.identified,
        },
        read=lambda found: read(found[0]),
    )


def payments(*, account_id: str, state: str) -> Stored[PaymentRow]:
    """Return payments as `payments_at` does, the latest first."""
    row = PaymentRow
    name = select(AccountRow.name).where(AccountRow.id == row.account_id).scalar_subquery()
    return Stored(
        payments_at(account_id=account_id, state=state),
        LATEST_PAYMENT,
        orders={
            "account": func.lower(name),
            "received": row.received_on,
            "source": row.source,
            "amount": row.amount,
            "left": UNUSED,
        },
        read=_first,
    )


def refunds(*, state: str) -> Stored[RefundRow]:
    """Return refunds at a state (empty for all), latest first."""
    row = RefundRow
    statement = select(row).join(AccountRow, AccountRow.id == row.account_id)
    if state:
        statement = statement.where(row.status == state)
    return Stored(
        statement,
        (row.requested_at.desc(), row.id),
        orders={
            "account": func.lower(AccountRow.name),
            "asked": row.requested_at,
            "via": row.via,
            "amount": row.amount,
            "state": row.status,
        },
        found_in=(AccountRow.name, row.id, row.reason),
        read=_first,
    )


def reminders_written() -> Stored[tuple[ReminderRow, str]]:
    """Return reminders that were written with the number of their invoice, latest first."""
    row = ReminderRow
    number = func.coalesce(ReceivableRow.number, row.invoice_id)
    statement = (
        select(row, number)
        .join(AccountRow, AccountRow.id == row.account_id)
        .outerjoin(
            ReceivableRow,
            and_(
                ReceivableRow.account_id == row.account_id,
                ReceivableRow.document_id == row.invoice_id,
            ),
        )
    )
    return Stored(
        statement,
        (row.written_at.desc(), row.account_id, row.invoice_id, row.step),
        orders={
            "invoice": number,
            "account": func.lower(AccountRow.name),
            "step": row.step,
            "to": func.lower(row.to),
            "written": row.written_at,
        },
        found_in=(number, AccountRow.name, row.to, row.subject),
        read=tuple,
    )


def stripe_invoices() -> Stored[tuple[StripeInvoiceRow, ReceivableRow]]:
    """Return what Stripe says of pushed invoices, beside what the ledger says, latest first."""
    remote, own = StripeInvoiceRow, ReceivableRow
    statement = (
        select(remote, own)
        .join(own, and_(own.account_id == remote.account_id, own.document_id == remote.invoice_id))
        .join(AccountRow, AccountRow.id == remote.account_id)
    )
    return Stored(
        statement,
        (own.issued_on.desc(), own.number.asc()),
        orders={
            "number": own.number,
            "account": func.lower(AccountRow.name),
            "state": remote.status,
            "remaining": remote.amount_remaining,
            "here": own.total - own.allocated - own.refunded,
            "seen": remote.mirrored_at,
        },
        found_in=(own.number, AccountRow.name, remote.stripe_id, remote.status),
        read=tuple,
    )


def webhooks_seen() -> Stored[WebhookEventRow]:
    """Return the webhooks that came, latest first."""
    row = WebhookEventRow
    return Stored(
        select(row),
        (row.received_at.desc(), row.id),
        orders={
            "event": row.type,
            "about": row.object_id,
            "received": row.received_at,
            "tries": row.tries,
            "outcome": row.outcome,
        },
        found_in=(row.type, row.id, row.object_id, func.coalesce(row.error, "")),
        read=_first,
    )
