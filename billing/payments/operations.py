"""Setting money against invoices, and taking it off again.

Every function works on one account, posts to the ledger and records the act. Sums are guarded
twice: here with a sentence for people, and by the checks on `payments` and `receivables`.
"""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.invoices import posting as invoices
from billing.ledger import operations as ledger
from billing.ledger.model import EntryKind, LedgerAccount, move
from billing.ledger.tables import ReceivableRow
from billing.money import show_pounds
from billing.notifications.operations import announce
from billing.payments.funds import (
    MoreThanAvailable,
    check_reason,
    check_whole,
    document,
    left_of,
    note,
    payment,
    refresh,
)
from billing.payments.tables import AllocationRow, PaymentRow
from metering.kit.errors import Conflict, NotFound
from metering.kit.ids import new_id
from metering.periods import london_day


class AllocationUnknown(NotFound):
    """The account has no such allocation."""

    code = "allocation-unknown"
    title = "No such allocation"


class MoreThanOutstanding(Conflict):
    """An invoice cannot be covered beyond its total."""

    code = "more-than-outstanding"
    title = "More than the invoice leaves open"


class AlreadyUndone(Conflict):
    """It was undone before, or is itself an undoing."""

    code = "already-undone"
    title = "Already undone"


class PaymentInUse(Conflict):
    """A payment is taken back only when nothing of it is set against an invoice or refunded."""

    code = "payment-in-use"
    title = "The payment is in use"


def record_payment(
    session: Session,
    *,
    account_id: str,
    source: str,
    source_ref: str,
    received_on: date,
    amount: Decimal,
    reference: str,
    principal: str,
    now: datetime,
) -> PaymentRow:
    """Recognise money as an account's: from the bank's unidentified money, or from Stripe.

    Args:
        source: `bank` or `stripe`.
        source_ref: the bank line, or Stripe's id of the payment.

    Raises:
        NotWholePennies: see the class.
    """
    check_whole(amount)
    row = PaymentRow(
        account_id=account_id,
        id=new_id("pay", now=now),
        source=source,
        source_ref=source_ref,
        received_on=received_on,
        amount=amount,
        allocated=Decimal("0.00"),
        refunded=Decimal("0.00"),
        reference=reference,
        made_at=now,
        made_by=principal,
    )
    session.add(row)
    session.flush()
    origin = LedgerAccount.UNALLOCATED if source == "bank" else LedgerAccount.STRIPE
    ledger.post(
        session,
        kind=EntryKind.PAYMENT,
        subject_id=row.id,
        description=f"Payment received {reference}".strip(),
        postings=move(
            amount, debit=origin, credit=LedgerAccount.UNALLOCATED, credit_account_id=account_id
        ),
        principal=principal,
        now=now,
    )
    note(session, "record payment", row.id, principal, now, {"amount": str(amount)})
    return row


def take_back_payment(
    session: Session,
    *,
    account_id: str,
    payment_id: str,
    reason: str,
    principal: str,
    now: datetime,
) -> PaymentRow:
    """Undo that money is an account's; it is unidentified again (or gone, for Stripe).

    Raises:
        PaymentUnknown, ReasonMissing.
        PaymentInUse: something of it is allocated or refunded; undo that first.
        AlreadyUndone: it was taken back.
    """
    check_reason(reason)
    row = payment(session, account_id=account_id, payment_id=payment_id)
    if row.reversed_at is not None:
        raise AlreadyUndone("This payment was taken back already.")
    if row.allocated + row.refunded:
        raise PaymentInUse(
            f"{show_pounds(row.allocated + row.refunded)} of this payment is in use; "
            "undo the allocations first."
        )
    row.reversed_at = now
    session.flush()
    ledger.undo(
        session,
        kind=EntryKind.PAYMENT,
        subject_id=payment_id,
        undo_id=payment_id,
        description=f"Payment taken back: {reason}",
        principal=principal,
        now=now,
    )
    note(session, "take back payment", payment_id, principal, now, {"reason": reason})
    return row


def allocate(
    session: Session,
    *,
    account_id: str,
    invoice_id: str,
    amount: Decimal,
    principal: str,
    now: datetime,
    payment_id: str | None = None,
    credit_note_id: str | None = None,
    reason: str = "",
) -> AllocationRow:
    """Set a part of a payment or of a credit note against an invoice; exactly one of the two.

    Raises:
        InvoiceNotOpen, PaymentUnknown, CreditNoteUnknown, NotWholePennies.
        MoreThanOutstanding: the invoice leaves less open.
        MoreThanAvailable: less is left of the payment or credit note.
    """
    check_whole(amount)
    if (payment_id is None) == (credit_note_id is None):
        raise ValueError("an allocation is of a payment or of a credit note")
    invoice = _open_invoice(session, account_id, invoice_id, amount)
    if payment_id is not None:
        source: PaymentRow | ReceivableRow = payment(
            session, account_id=account_id, payment_id=payment_id
        )
        assert isinstance(source, PaymentRow)
        available, effective_on = left_of(source), source.received_on
        account, words = LedgerAccount.UNALLOCATED, "Payment"
    else:
        assert credit_note_id is not None
        source = document(session, account_id, credit_note_id, kind="credit-note")
        available, effective_on = left_of(source), source.issued_on
        account, words = LedgerAccount.CREDIT, f"Credit note {source.number}"
    if amount > available:
        raise MoreThanAvailable(f"{show_pounds(available)} is left, less than what was asked.")
    row = _add_allocation(
        session,
        invoice=invoice,
        amount=amount,
        kind="credit" if payment_id is None else "payment",
        payment_id=payment_id,
        credit_note_id=credit_note_id,
        effective_on=max(effective_on, invoice.issued_on),
        reason=reason,
        principal=principal,
        now=now,
    )
    session.refresh(source)
    ledger.post(
        session,
        kind=EntryKind.ALLOCATION,
        subject_id=row.id,
        description=f"{words} set against invoice {invoice.number}",
        postings=move(
            amount,
            debit=account,
            credit=LedgerAccount.RECEIVABLE,
            debit_account_id=account_id,
            credit_account_id=account_id,
        ),
        principal=principal,
        now=now,
    )
    return row


def write_off(
    session: Session,
    *,
    account_id: str,
    invoice_id: str,
    amount: Decimal,
    reason: str,
    principal: str,
    now: datetime,
) -> AllocationRow:
    """Give up a part of a debt, VAT included.

    # ASSUMPTION: bad-debt relief on the VAT (VAT Act 1994, s. 36) is claimed outside paygo.

    Raises:
        InvoiceNotOpen, NotWholePennies, ReasonMissing, MoreThanOutstanding.
    """
    check_whole(amount)
    check_reason(reason)
    invoice = _open_invoice(session, account_id, invoice_id, amount)
    row = _add_allocation(
        session,
        invoice=invoice,
        amount=amount,
        kind="write-off",
        payment_id=None,
        credit_note_id=None,
        effective_on=london_day(now),
        reason=reason,
        principal=principal,
        now=now,
    )
    ledger.post(
        session,
        kind=EntryKind.WRITE_OFF,
        subject_id=row.id,
        description=f"Invoice {invoice.number} written off: {reason}",
        postings=move(
            amount,
            debit=LedgerAccount.WRITE_OFF,
            credit=LedgerAccount.RECEIVABLE,
            credit_account_id=account_id,
        ),
        principal=principal,
        now=now,
    )
    return row


def undo_allocation(
    session: Session,
    *,
    account_id: str,
    allocation_id: str,
    reason: str,
    principal: str,
    now: datetime,
) -> AllocationRow:
    """Take an allocation or a write-off back: the opposite row is added, the first one stays.

    Raises:
        AllocationUnknown, ReasonMissing.
        AlreadyUndone: it was undone, or is itself an undoing.
    """
    check_reason(reason)
    made = session.get(AllocationRow, (account_id, allocation_id))
    if made is None:
        raise AllocationUnknown(f"The account has no allocation {allocation_id}.")
    invoice = document(session, account_id, made.invoice_id, kind="invoice")
    undone = session.scalar(
        select(AllocationRow.id).where(
            AllocationRow.account_id == account_id, AllocationRow.undoes == allocation_id
        )
    )
    if undone is not None or made.undoes is not None:
        raise AlreadyUndone("This allocation was undone already.")
    row = _add_allocation(
        session,
        invoice=invoice,
        amount=-made.amount,
        kind=made.kind,
        payment_id=made.payment_id,
        credit_note_id=made.credit_note_id,
        effective_on=made.effective_on,
        reason=reason,
        principal=principal,
        now=now,
        undoes=made.id,
    )
    ledger.undo(
        session,
        kind=EntryKind.WRITE_OFF if made.kind == "write-off" else EntryKind.ALLOCATION,
        subject_id=made.id,
        undo_id=row.id,
        description=f"Taken off invoice {invoice.number}: {reason}",
        principal=principal,
        now=now,
    )
    return row


def settle_if_covered(session: Session, *, account_id: str, invoice_id: str) -> bool:
    """Let the invoice's standing follow its allocations; return whether it changed."""
    row = session.get_one(ReceivableRow, (account_id, invoice_id))
    session.refresh(row)
    return invoices.set_settled(
        session,
        account_id=account_id,
        invoice_id=invoice_id,
        settled=row.allocated == row.total,
    )


def _open_invoice(
    session: Session, account_id: str, invoice_id: str, amount: Decimal
) -> ReceivableRow:
    row = document(session, account_id, invoice_id, kind="invoice")
    if amount > left_of(row):
        raise MoreThanOutstanding(
            f"Invoice {row.number} leaves {show_pounds(left_of(row))} open, less than what was "
            "asked; set the rest against another invoice or leave it unallocated."
        )
    return row


def _add_allocation(
    session: Session,
    *,
    invoice: ReceivableRow,
    amount: Decimal,
    kind: str,
    payment_id: str | None,
    credit_note_id: str | None,
    effective_on: date,
    reason: str,
    principal: str,
    now: datetime,
    undoes: str | None = None,
) -> AllocationRow:
    row = AllocationRow(
        account_id=invoice.account_id,
        id=new_id("alc", now=now),
        invoice_id=invoice.document_id,
        kind=kind,
        payment_id=payment_id,
        credit_note_id=credit_note_id,
        amount=amount,
        undoes=undoes,
        effective_on=effective_on,
        reason=reason,
        made_at=now,
        made_by=principal,
    )
    session.add(row)
    session.flush()
    settled = settle_if_covered(
        session, account_id=invoice.account_id, invoice_id=invoice.document_id
    )
    if settled and kind == "payment" and undoes is None:
        announce(
            session,
            kind="invoice.paid",
            account_id=invoice.account_id,
            subject_id=invoice.document_id,
            facts={
                "invoice_id": invoice.document_id,
                "number": invoice.number,
                "total": invoice.total,
                "paid_on": effective_on,
            },
            now=now,
        )
    refresh(session, invoice.account_id, payment_id, credit_note_id)
    verb = "undo allocation" if undoes else ("write off" if kind == "write-off" else "allocate")
    facts = {"invoice": invoice.number, "amount": str(amount), "reason": reason}
    note(session, verb, row.id, principal, now, facts)
    return row
