"""Mirroring the gateway: signed events stored once, then looked up, never believed.

An event only says what to look at again. The job asks the gateway how the invoice or refund
stands now and follows that, so events may come late, twice or in any order.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.ledger.tables import ReceivableRow
from billing.payments import operations
from billing.payments.funds import left_of
from billing.payments.gateway import GatewayEvent, RemoteInvoice
from billing.payments.tables import PaymentRow, StripeInvoiceRow, WebhookEventRow

MOST_TRIES = 20
STALE = timedelta(hours=12)
"""An open invoice not looked at for so long is looked at anyway: a webhook may be lost."""


def store_event(session: Session, *, event: GatewayEvent, now: datetime) -> bool:
    """Keep a signed event as it came; return whether it is new."""
    made = session.execute(
        insert(WebhookEventRow)
        .values(
            id=event.id,
            type=event.type,
            object_id=event.object_id,
            content=event.content,
            received_at=now,
            outcome="waiting" if event.object_kind else "ignored",
            tries=0,
        )
        .on_conflict_do_nothing()
        .returning(WebhookEventRow.id)
    ).first()
    return made is not None


def waiting_events(session: Session, *, limit: int = 500) -> list[WebhookEventRow]:
    """Return the events that wait to be applied, in order of arrival."""
    return list(
        session.scalars(
            select(WebhookEventRow)
            .where(WebhookEventRow.outcome == "waiting")
            .order_by(WebhookEventRow.received_at, WebhookEventRow.id)
            .limit(limit)
        )
    )


def about(row: WebhookEventRow) -> str:
    """Return whether an event that waits tells of an `invoice` or of a `refund`."""
    return "refund" if row.content["data"]["object"]["object"] == "refund" else "invoice"


def finish_event(
    session: Session, *, event_id: str, outcome: str, now: datetime, error: str | None = None
) -> None:
    """Record how applying an event went; `failed` after many tries, else it waits again."""
    row = session.get_one(WebhookEventRow, event_id, with_for_update=True)
    row.tries += 1
    row.error = error
    if outcome == "failed" and row.tries < MOST_TRIES:
        row.outcome = "waiting"
    else:
        row.outcome, row.applied_at = outcome, now
    session.flush()


def follow_invoice(
    session: Session, *, remote: RemoteInvoice, principal: str, now: datetime
) -> int:
    """Mirror an invoice and recognise the payments that are new; return how many those were.

    A payment is set against its invoice as far as that is open; the rest stays the
    account's, for a person to refund or use.
    """
    invoice = session.get(
        ReceivableRow,
        (remote.account_id, remote.invoice_id),
        with_for_update=True,
        populate_existing=True,
    )
    if invoice is None:
        return 0
    keep_mirror(
        session,
        remote=remote,
        account_id=remote.account_id,
        invoice_id=remote.invoice_id,
        now=now,
    )
    new = 0
    for paid in sorted(remote.payments, key=lambda one: (one.paid_on, one.id)):
        # The lock on the invoice keeps two applications of one payment apart.
        known = session.scalar(
            select(PaymentRow.id).where(
                PaymentRow.account_id == remote.account_id,
                PaymentRow.source == "stripe",
                PaymentRow.source_ref == paid.id,
            )
        )
        if known is not None:
            continue
        payment = operations.record_payment(
            session,
            account_id=remote.account_id,
            source="stripe",
            source_ref=paid.id,
            received_on=paid.paid_on,
            amount=paid.amount,
            reference=f"for {invoice.number}",
            principal=principal,
            now=now,
        )
        amount: Decimal = min(paid.amount, left_of(invoice))
        if amount > 0:
            operations.allocate(
                session,
                account_id=remote.account_id,
                invoice_id=remote.invoice_id,
                payment_id=payment.id,
                amount=amount,
                reason="paid through Stripe",
                principal=principal,
                now=now,
            )
        new += 1
    return new


def keep_mirror(
    session: Session, *, remote: RemoteInvoice, account_id: str, invoice_id: str, now: datetime
) -> None:
    """Keep what the gateway says of an invoice."""
    said = {
        "stripe_id": remote.id,
        "status": remote.status,
        "amount_remaining": remote.amount_remaining,
        "hosted_url": remote.hosted_url,
        "mirrored_at": now,
    }
    session.execute(
        insert(StripeInvoiceRow)
        .values(account_id=account_id, invoice_id=invoice_id, **said)
        .on_conflict_do_update(index_elements=["account_id", "invoice_id"], set_=said)
    )


def stale_invoices(session: Session, *, now: datetime, limit: int = 500) -> list[str]:
    """Return the gateway's ids of open invoices not looked at for long, longest first."""
    return list(
        session.scalars(
            select(StripeInvoiceRow.stripe_id)
            .where(StripeInvoiceRow.status == "open", StripeInvoiceRow.mirrored_at < now - STALE)
            .order_by(StripeInvoiceRow.mirrored_at, StripeInvoiceRow.stripe_id)
            .limit(limit)
        )
    )
