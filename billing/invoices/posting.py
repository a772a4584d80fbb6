"""From an issued invoice to the ledger, and from what was paid back to its standing."""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.ledger import operations as ledger
from billing.ledger.model import DocumentKind, IssuedDocument
from billing.ledger.tables import LedgerEntryRow
from billing.money import NOUGHT
from metering.periods import london_day

UNASSIGNED = "unassigned"
"""Stands for the service of a line that has none."""


def post_to_ledger(
    session: Session, *, invoice: InvoiceRow, principal: str, now: datetime
) -> LedgerEntryRow:
    """Post an issued invoice or credit note: call it in the transaction that issues it.

    Raises:
        AlreadyPosted: it is in the ledger.
        ValueError: it is a draft.
    """
    if invoice.number is None or invoice.issued_at is None:
        raise ValueError(f"{invoice.id} is not issued")
    by_service: dict[str, Decimal] = defaultdict(lambda: NOUGHT)
    lines = session.execute(
        select(InvoiceLineRow.tariff_code, InvoiceLineRow.net).where(
            InvoiceLineRow.account_id == invoice.account_id,
            InvoiceLineRow.invoice_id == invoice.id,
        )
    )
    for service, net in lines:
        # What no single service earns, such as an organisation-wide minimum.
        by_service[service or UNASSIGNED] += net
    issued_on = london_day(invoice.issued_at)
    entry = ledger.post_issue(
        session,
        document=IssuedDocument(
            account_id=invoice.account_id,
            document_id=invoice.id,
            number=invoice.number,
            kind=DocumentKind(invoice.kind),
            issued_on=issued_on,
            due_on=invoice.due_on or issued_on,
            net_by_service=dict(by_service),
            vat=invoice.vat,
            total=invoice.total,
            credits_document_id=invoice.credits_invoice_id,
        ),
        principal=principal,
        now=now,
    )
    if invoice.total == 0:
        # Nothing will ever be paid on it.
        set_settled(session, account_id=invoice.account_id, invoice_id=invoice.id, settled=True)
    return entry


def set_settled(session: Session, *, account_id: str, invoice_id: str, settled: bool) -> bool:
    """Let an issued invoice's standing follow what covers it; return whether it changed."""
    before, after = ("issued", "settled") if settled else ("settled", "issued")
    changed = session.execute(
        update(InvoiceRow)
        .where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.id == invoice_id,
            InvoiceRow.status == before,
        )
        .values(status=after)
        .returning(InvoiceRow.id)
        .execution_options(synchronize_session="fetch")
    ).all()
    return bool(changed)
