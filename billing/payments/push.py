"""Pushing issued invoices, credit notes and refunds to the gateway, step by step.

Each step is done once (`calls.once`) and may be the last before a crash; the next run goes on
from there. paygo is the truth: before an invoice is made payable its total and VAT at the gateway
are compared with what paygo printed, and a difference stops it for a person.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from billing.ledger.tables import ReceivableRow
from billing.money import NOUGHT, show_pounds
from billing.payments import refunds
from billing.payments.calls import Call, once, refuse
from billing.payments.gateway import (
    Gateway,
    GatewayInvoice,
    GatewayRefused,
    RemoteRefund,
)
from billing.payments.material import gateway_customer, gateway_invoice
from billing.payments.mirror import keep_mirror
from billing.payments.tables import GatewayCallRow, PaymentRow, RefundRow, StripeInvoiceRow
from metering.kit.db import Database

LINES_AT_ONCE = 100
MOST_AT_ONCE = 200
_FINAL = ("open", "paid", "void", "uncollectible")

Pair = tuple[str, str]


def waiting_invoices(session: Session) -> list[Pair]:
    """Return (account, invoice) of open invoices not yet payable at the gateway, oldest first."""
    rows = session.execute(
        select(ReceivableRow.account_id, ReceivableRow.document_id)
        .outerjoin(
            StripeInvoiceRow,
            (StripeInvoiceRow.account_id == ReceivableRow.account_id)
            & (StripeInvoiceRow.invoice_id == ReceivableRow.document_id),
        )
        .where(
            ReceivableRow.kind == "invoice",
            ReceivableRow.allocated < ReceivableRow.total,
            or_(StripeInvoiceRow.status.is_(None), StripeInvoiceRow.status.not_in(_FINAL)),
            ~_refused(ReceivableRow.account_id, ReceivableRow.document_id),
        )
        .order_by(ReceivableRow.issued_on, ReceivableRow.document_id)
        .limit(MOST_AT_ONCE)
    )
    return [(account_id, invoice_id) for account_id, invoice_id in rows]


def waiting_credits(session: Session) -> list[Pair]:
    """Return (account, credit note) of notes that credit a pushed invoice and are not pushed."""
    call = aliased(GatewayCallRow)
    rows = session.execute(
        select(ReceivableRow.account_id, ReceivableRow.document_id)
        .join(
            StripeInvoiceRow,
            (StripeInvoiceRow.account_id == ReceivableRow.account_id)
            & (StripeInvoiceRow.invoice_id == ReceivableRow.credits_document_id),
        )
        .outerjoin(
            call,
            (call.account_id == ReceivableRow.account_id)
            & (call.subject_id == ReceivableRow.document_id)
            & (call.action == "credit-note"),
        )
        .where(
            ReceivableRow.kind == "credit-note",
            ReceivableRow.total > NOUGHT,
            StripeInvoiceRow.status.in_(("open", "paid")),
            or_(call.status.is_(None), call.status == "pending"),
        )
        .order_by(ReceivableRow.issued_on, ReceivableRow.document_id)
        .limit(MOST_AT_ONCE)
    )
    return [(account_id, note_id) for account_id, note_id in rows]


def settled_elsewhere(session: Session) -> list[Pair]:
    """Return (account, invoice) that paygo holds settled and the gateway still asks money for."""
    rows = session.execute(
        select(StripeInvoiceRow.account_id, StripeInvoiceRow.invoice_id)
        .join(
            ReceivableRow,
            (StripeInvoiceRow.account_id == ReceivableRow.account_id)
            & (StripeInvoiceRow.invoice_id == ReceivableRow.document_id),
        )
        .where(
            StripeInvoiceRow.status == "open",
            ReceivableRow.allocated == ReceivableRow.total,
            ~_refused(ReceivableRow.account_id, ReceivableRow.document_id),
        )
        .limit(MOST_AT_ONCE)
    )
    return [(account_id, invoice_id) for account_id, invoice_id in rows]


def waiting_refunds(session: Session) -> list[Pair]:
    """Return (account, refund) by the gateway that are asked for and not finished."""
    rows = session.execute(
        select(RefundRow.account_id, RefundRow.id)
        .where(
            RefundRow.via == "stripe",
            RefundRow.status == "requested",
            ~_refused(RefundRow.account_id, RefundRow.id),
        )
        .order_by(RefundRow.requested_at)
        .limit(MOST_AT_ONCE)
    )
    return [(account_id, refund_id) for account_id, refund_id in rows]


def push_invoice(
    database: Database, gateway: Gateway, *, account_id: str, invoice_id: str, now: datetime
) -> str:
    """Push an issued invoice until it is payable; return the gateway's id of it.

    Raises:
        GatewayUnavailable: the rest is the next run's.
        GatewayRefused: it waits for a person.
    """
    with database.snapshot() as session:
        customer = gateway_customer(session, account_id=account_id)
        invoice = gateway_invoice(session, account_id=account_id, invoice_id=invoice_id, now=now)
    customer_id = once(
        database,
        Call(
            account_id=account_id,
            action="customer",
            subject_id=account_id,
            find=lambda: gateway.find_customer(customer),
            do=lambda key: gateway.create_customer(customer, key=key),
        ),
        now=now,
    )
    remote_id = once(
        database,
        Call(
            account_id=account_id,
            action="invoice",
            subject_id=invoice_id,
            find=lambda: gateway.find_invoice(customer_id, invoice_id),
            do=lambda key: gateway.create_invoice(customer_id, invoice, key=key),
        ),
        now=now,
    )
    for start in range(0, len(invoice.lines), LINES_AT_ONCE):
        _add_lines(database, gateway, invoice, remote_id, start, now)
    finalise = Call(
        account_id=account_id,
        action="finalise",
        subject_id=invoice_id,
        find=lambda: remote_id if gateway.invoice(remote_id).status != "draft" else None,
        do=lambda key: _finalised(gateway, remote_id, key),
    )
    draft = gateway.invoice(remote_id)
    if draft.status == "draft" and (draft.total, draft.vat) != (invoice.total, invoice.vat):
        reason = (
            f"The gateway makes {show_pounds(draft.total)} with {show_pounds(draft.vat)} VAT of "
            f"invoice {invoice.number}, paygo {show_pounds(invoice.total)} with "
            f"{show_pounds(invoice.vat)}; it was not made payable."
        )
        with database.transaction() as session:
            refuse(session, finalise, reason=reason, now=now)
        raise GatewayRefused(reason)
    once(database, finalise, now=now)
    now_there = gateway.invoice(remote_id)
    with database.transaction() as session:
        keep_mirror(
            session, remote=now_there, account_id=account_id, invoice_id=invoice_id, now=now
        )
    return remote_id


def push_credit(
    database: Database, gateway: Gateway, *, account_id: str, credit_note_id: str, now: datetime
) -> str:
    """Push a credit note against the pushed invoice that it credits; return the gateway's id."""
    with database.snapshot() as session:
        note = session.get_one(ReceivableRow, (account_id, credit_note_id))
        assert note.credits_document_id is not None
        mirror = session.get_one(StripeInvoiceRow, (account_id, note.credits_document_id))
    remote = gateway.invoice(mirror.stripe_id)
    credit_id = once(
        database,
        Call(
            account_id=account_id,
            action="credit-note",
            subject_id=credit_note_id,
            find=lambda: gateway.find_credit(remote.id, credit_note_id),
            do=lambda key: gateway.credit(
                remote.id,
                credit_note_id=credit_note_id,
                number=note.number,
                total=note.total,
                remaining=remote.amount_remaining,
                key=key,
            ),
        ),
        now=now,
    )
    after = gateway.invoice(remote.id)
    with database.transaction() as session:
        keep_mirror(
            session, remote=after, account_id=account_id, invoice_id=mirror.invoice_id, now=now
        )
    return credit_id


def close_elsewhere(
    database: Database, gateway: Gateway, *, account_id: str, invoice_id: str, now: datetime
) -> None:
    """Tell the gateway that an invoice was settled by other means, so that nobody pays twice."""
    with database.snapshot() as session:
        remote_id = session.get_one(StripeInvoiceRow, (account_id, invoice_id)).stripe_id

    def close(key: str) -> str:
        gateway.mark_paid_elsewhere(remote_id, key=key)
        return remote_id

    if gateway.invoice(remote_id).status == "open":
        once(
            database,
            Call(
                account_id=account_id,
                action="paid-elsewhere",
                subject_id=invoice_id,
                find=lambda: remote_id if gateway.invoice(remote_id).status == "paid" else None,
                do=close,
            ),
            now=now,
        )
    after = gateway.invoice(remote_id)
    with database.transaction() as session:
        keep_mirror(session, remote=after, account_id=account_id, invoice_id=invoice_id, now=now)


def push_refund(
    database: Database,
    gateway: Gateway,
    *,
    account_id: str,
    refund_id: str,
    principal: str,
    now: datetime,
) -> RemoteRefund:
    """Have the gateway give money back, or look how far it is; record when it is finished."""
    with database.snapshot() as session:
        refund = session.get_one(RefundRow, (account_id, refund_id))
        assert refund.payment_id is not None
        paid_by = session.get_one(PaymentRow, (account_id, refund.payment_id)).source_ref

    def find() -> str | None:
        found = gateway.find_refund(paid_by, refund_id)
        return None if found is None else found.id

    remote_id = once(
        database,
        Call(
            account_id=account_id,
            action="refund",
            subject_id=refund_id,
            find=find,
            do=lambda key: (
                gateway.refund(
                    paid_by,
                    account_id=account_id,
                    refund_id=refund_id,
                    amount=refund.amount,
                    key=key,
                ).id
            ),
        ),
        now=now,
    )
    remote = gateway.read_refund(remote_id)
    with database.transaction() as session:
        follow_refund(
            session,
            remote=remote,
            account_id=account_id,
            refund_id=refund_id,
            principal=principal,
            now=now,
        )
    return remote


def follow_refund(
    session: Session,
    *,
    remote: RemoteRefund,
    account_id: str,
    refund_id: str,
    principal: str,
    now: datetime,
) -> bool:
    """Let paygo's refund stand as the gateway's does; return whether it changed."""
    row = session.get(RefundRow, (account_id, refund_id), with_for_update=True)
    if row is None or row.status == "failed" or remote.status == "pending":
        return False
    sent = remote.status == "succeeded"
    if sent and row.status == "sent":
        return False
    refunds.finish_refund(
        session,
        account_id=account_id,
        refund_id=refund_id,
        sent=sent,
        remote_id=remote.id,
        principal=principal,
        now=now,
    )
    return True


def _add_lines(
    database: Database,
    gateway: Gateway,
    invoice: GatewayInvoice,
    remote_id: str,
    start: int,
    now: datetime,
) -> None:
    some = invoice.lines[start : start + LINES_AT_ONCE]

    def find() -> str | None:
        there = gateway.line_numbers(remote_id)
        return remote_id if there >= {line.number for line in some} else None

    def add(key: str) -> str:
        gateway.add_lines(remote_id, some, key=key)
        return remote_id

    once(
        database,
        Call(
            account_id=invoice.account_id,
            action=f"lines-{start}",
            subject_id=invoice.invoice_id,
            find=find,
            do=add,
        ),
        now=now,
    )


def _finalised(gateway: Gateway, remote_id: str, key: str) -> str:
    gateway.finalise(remote_id, key=key)
    return remote_id


def _refused(
    account_id: InstrumentedAttribute[str], subject_id: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    call = aliased(GatewayCallRow)
    return exists().where(
        call.account_id == account_id, call.subject_id == subject_id, call.status == "refused"
    )
