"""What clears by itself: documents not yet in the ledger, credit notes, certain matches."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from billing.invoices import posting
from billing.invoices.tables import InvoiceRow
from billing.ledger.tables import ReceivableRow
from billing.payments import operations
from billing.payments.bank import operations as bank
from billing.payments.bank import queries as bank_queries
from billing.payments.bank.matching import certain
from billing.payments.funds import left_of

MOST_AT_ONCE = 500


def unposted(session: Session) -> list[tuple[str, str]]:
    """Return (account, document) of issued documents that are not in the ledger.

    There are none when each was posted as it was issued; after a restore or an import there
    may be.
    """
    rows = session.execute(
        select(InvoiceRow.account_id, InvoiceRow.id)
        .outerjoin(
            ReceivableRow,
            (ReceivableRow.account_id == InvoiceRow.account_id)
            & (ReceivableRow.document_id == InvoiceRow.id),
        )
        .where(InvoiceRow.number.is_not(None), ReceivableRow.document_id.is_(None))
        .order_by(InvoiceRow.issued_at, InvoiceRow.id)
        .limit(MOST_AT_ONCE)
    )
    return [(account_id, document_id) for account_id, document_id in rows]


def post_document(
    session: Session, *, account_id: str, document_id: str, principal: str, now: datetime
) -> None:
    """Post one issued document that is not in the ledger.

    Raises:
        AlreadyPosted: another did it meanwhile.
    """
    row = session.get_one(InvoiceRow, (account_id, document_id))
    posting.post_to_ledger(session, invoice=row, principal=principal, now=now)


def unused_credit(session: Session) -> list[tuple[str, str]]:
    """Return (account, credit note) where credit is left and its invoice is open."""
    credited = aliased(ReceivableRow)
    rows = session.execute(
        select(ReceivableRow.account_id, ReceivableRow.document_id)
        .join(
            credited,
            (credited.account_id == ReceivableRow.account_id)
            & (credited.document_id == ReceivableRow.credits_document_id),
        )
        .where(
            ReceivableRow.kind == "credit-note",
            ReceivableRow.allocated + ReceivableRow.refunded < ReceivableRow.total,
            credited.allocated < credited.total,
        )
        .order_by(ReceivableRow.issued_on, ReceivableRow.document_id)
        .limit(MOST_AT_ONCE)
    )
    return [(account_id, document_id) for account_id, document_id in rows]


def apply_credit(
    session: Session, *, account_id: str, credit_note_id: str, principal: str, now: datetime
) -> bool:
    """Set a credit note against the invoice that it credits, as far as both go.

    What is left waits for a person: it is set against another invoice, or refunded.
    """
    note = session.get_one(ReceivableRow, (account_id, credit_note_id), populate_existing=True)
    if note.credits_document_id is None:
        return False
    invoice = session.get_one(
        ReceivableRow, (account_id, note.credits_document_id), populate_existing=True
    )
    amount = min(left_of(note), left_of(invoice))
    if amount <= 0:
        return False
    operations.allocate(
        session,
        account_id=account_id,
        invoice_id=invoice.document_id,
        credit_note_id=credit_note_id,
        amount=amount,
        reason="credits this invoice",
        principal=principal,
        now=now,
    )
    return True


def match_certain(session: Session, *, principal: str, now: datetime) -> int:
    """Confirm each unmatched line whose match is certain; return how many were.

    Lines are taken one at a time against what is still open, so two lines that name the same
    invoice cannot both be certain of it.
    """
    confirmed = 0
    against = bank_queries.matching_ledger(session)
    for line in bank_queries.unmatched(session, limit=MOST_AT_ONCE):
        suggestion = certain(bank_queries.suggestions(line, against=against))
        if suggestion is None:
            continue
        bank.confirm(
            session,
            bank_line_id=line.id,
            shares=suggestion.shares,
            reason=suggestion.why,
            principal=principal,
            now=now,
        )
        confirmed += 1
        against = bank_queries.matching_ledger(session)
    return confirmed
