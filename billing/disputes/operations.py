"""A trust queries a line; both sides write; the central team credits it or explains it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.disputes import queries
from billing.disputes.model import (
    REASONS,
    RESPONSE_DAYS,
    STILL_OPEN,
    DisputeStatus,
    Side,
    clean_text,
    disputed_amount,
)
from billing.disputes.tables import DisputeMessageRow, DisputeRow
from billing.invoices import queries as invoices
from billing.invoices.credit_notes import Basis, Creditable, credit_invoice, creditable
from billing.money import NOUGHT
from billing.notifications.operations import announce
from billing.working_days import working_days_after
from metering.kit import audit
from metering.kit.errors import Conflict, FieldError, Invalid
from metering.kit.ids import new_id
from metering.periods import london_day


class DisputeInvalid(Invalid):
    """A query names a reason, says what is wrong, and is about a line that has something left."""

    code = "dispute-invalid"
    title = "The query is not complete"


class DisputeOpenAlready(Conflict):
    """The line, or the invoice, is queried already; write to that query."""

    code = "dispute-open-already"
    title = "It is queried already"


class DisputeClosed(Conflict):
    """The query is decided or withdrawn; raise another if something is still wrong."""

    code = "dispute-closed"
    title = "The query is closed"


def raise_dispute(
    session: Session,
    *,
    account_id: str,
    invoice_id: str,
    reason: str,
    text: str,
    principal: str,
    now: datetime,
    line_number: int | None = None,
    quantity: Decimal | None = None,
    response_days: int = RESPONSE_DAYS,
) -> DisputeRow:
    """Raise a query about an issued invoice or one line of it.

    What it disputes is not chased until it is closed. The central team is told by email.

    Args:
        reason: a key of `model.REASONS`.
        text: what is wrong and what shows it; NHS numbers in it are masked.
        line_number: the line; None for the whole invoice.
        quantity: how much of the line's quantity is wrong; None for all of it.
        response_days: working days in which the central team answers.

    Raises:
        InvoiceUnknown; NotCreditable (a draft or credit note); DisputeInvalid;
        DisputeOpenAlready.
    """
    row = invoices.invoice_row(
        session, account_id=account_id, invoice_id=invoice_id, for_update=True
    )
    left = creditable(session, account_id=account_id, invoice_id=invoice_id)
    written = _text(text)
    if reason not in REASONS:
        raise DisputeInvalid(
            "Choose what is wrong.", errors=(FieldError("/reason", "required", "Choose one."),)
        )
    if line_number is None:
        gone = invoices.credited_total(session, account_id=account_id, invoice_id=invoice_id)
        amount = max(row.total - gone, NOUGHT)
    else:
        amount = _line_amount(left, line_number, quantity)
    for other in queries.disputes(
        session, account_id=account_id, invoice_id=invoice_id, statuses=tuple(STILL_OPEN)
    ):
        if other.line_number == line_number:
            raise DisputeOpenAlready(f"Query {other.id} about it is open.")
    dispute = DisputeRow(
        account_id=account_id,
        id=new_id("dsp", now=now),
        invoice_id=invoice_id,
        line_number=line_number,
        reason=reason,
        quantity=quantity,
        amount=amount,
        status=DisputeStatus.OPEN.value,
        raised_by=principal,
        raised_at=now,
        response_days=response_days,
        respond_by=working_days_after(london_day(now), response_days),
        decided_by=None,
        decided_at=None,
        credit_note_id=None,
    )
    session.add(dispute)
    session.flush()
    message = _write(session, dispute, Side.TRUST, written, principal, now)
    _tell_central(session, dispute, what="raised", message=message, now=now)
    _note(session, "raise query", dispute, principal, now, {"amount": str(amount)})
    return dispute


def write_message(
    session: Session,
    *,
    account_id: str,
    dispute_id: str,
    side: Side,
    text: str,
    principal: str,
    now: datetime,
) -> None:
    """Write to the other side of an open query.

    The central team's message asks the trust something and stops the timer; the trust's
    starts it again.

    Raises:
        DisputeUnknown; DisputeClosed; DisputeInvalid.
    """
    dispute = _open(session, account_id, dispute_id)
    written = _text(text)
    message = _write(session, dispute, side, written, principal, now)
    if side is Side.CENTRAL:
        dispute.status, dispute.respond_by = DisputeStatus.WAITING.value, None
        session.flush()
        _announce(session, dispute, outcome="question", now=now)
    elif dispute.status == DisputeStatus.WAITING:
        dispute.status = DisputeStatus.OPEN.value
        dispute.respond_by = working_days_after(london_day(now), dispute.response_days)
        session.flush()
    if side is Side.TRUST:
        _tell_central(session, dispute, what="replied", message=message, now=now)
    _note(session, "write to query", dispute, principal, now, {"side": side.value})


def withdraw_dispute(
    session: Session, *, account_id: str, dispute_id: str, principal: str, now: datetime
) -> None:
    """Take a query back; what it held back is owed again.

    Raises:
        DisputeUnknown; DisputeClosed.
    """
    dispute = _open(session, account_id, dispute_id)
    _close(session, dispute, DisputeStatus.WITHDRAWN, principal, now)
    _note(session, "withdraw query", dispute, principal, now, {})


def explain_dispute(
    session: Session,
    *,
    account_id: str,
    dispute_id: str,
    text: str,
    principal: str,
    now: datetime,
) -> None:
    """Decide that the invoice is right, and say why.

    Raises:
        DisputeUnknown; DisputeClosed; DisputeInvalid.
    """
    dispute = _open(session, account_id, dispute_id)
    _write(session, dispute, Side.CENTRAL, _text(text), principal, now)
    _close(session, dispute, DisputeStatus.EXPLAINED, principal, now)
    _announce(session, dispute, outcome="explained", now=now)
    _note(session, "explain query", dispute, principal, now, {})


def credit_dispute(
    session: Session,
    *,
    account_id: str,
    dispute_id: str,
    text: str,
    basis: Basis,
    principal: str,
    now: datetime,
    lines: Mapping[int, Decimal | None] | None = None,
) -> str:
    """Decide that the trust is right: issue a credit note and return its id.

    Args:
        text: the answer, also printed on the note as its reason.
        basis: `concession` or `rebill`, see `credit_notes.Basis`.
        lines: by line number the quantity to credit, None for all that is left of the line;
            without it what was disputed: its quantity, its line, or the whole invoice.

    Raises:
        DisputeUnknown; DisputeClosed; DisputeInvalid; CreditInvalid; CreditTooLarge.
    """
    dispute = _open(session, account_id, dispute_id)
    written = _text(text)
    if lines is None and dispute.line_number is not None:
        lines = {dispute.line_number: dispute.quantity}
    note = credit_invoice(
        session,
        account_id=account_id,
        invoice_id=dispute.invoice_id,
        reason=written[:200],
        basis=basis,
        principal=principal,
        now=now,
        lines=lines,
    )
    _write(session, dispute, Side.CENTRAL, written, principal, now)
    dispute.credit_note_id = note.id
    _close(session, dispute, DisputeStatus.CREDITED, principal, now)
    _announce(session, dispute, outcome="credited", now=now)
    _note(
        session,
        "credit query",
        dispute,
        principal,
        now,
        {"credit_note": note.number, "total": str(note.total)},
    )
    return note.id


def _line_amount(left: list[Creditable], number: int, quantity: Decimal | None) -> Decimal:
    for item in left:
        if item.line.number == number:
            break
    else:
        raise DisputeInvalid(f"The invoice has no line {number}.")
    if item.net <= 0:
        raise DisputeInvalid(f"Nothing is left to pay of line {number}.")
    if quantity is not None and not 0 < quantity <= item.quantity:
        raise DisputeInvalid(
            f"Give a quantity above nought and not more than {item.quantity.normalize():f}.",
            errors=(FieldError("/quantity", "out-of-range", "It is not part of the line's."),),
        )
    return disputed_amount(
        net=item.net,
        quantity=item.quantity,
        of_quantity=quantity,
        vat_rate_percent=item.line.vat_rate_percent,
    )


def _text(text: str) -> str:
    try:
        return clean_text(text)
    except ValueError as error:
        raise DisputeInvalid(
            str(error), errors=(FieldError("/text", "bad-length", str(error)),)
        ) from None


def _open(session: Session, account_id: str, dispute_id: str) -> DisputeRow:
    dispute = queries.dispute_row(session, account_id=account_id, dispute_id=dispute_id)
    if dispute.status not in STILL_OPEN:
        raise DisputeClosed(f"The query is {dispute.status}.")
    return dispute


def _close(
    session: Session, dispute: DisputeRow, status: DisputeStatus, principal: str, now: datetime
) -> None:
    dispute.status, dispute.respond_by = status.value, None
    dispute.decided_by, dispute.decided_at = principal, now
    session.flush()


def _write(
    session: Session, dispute: DisputeRow, side: Side, text: str, principal: str, now: datetime
) -> int:
    """Keep a message and return its number."""
    # The dispute's row is locked, or new: numbers have neither gap nor repeat.
    before = session.scalar(
        select(func.count()).where(
            DisputeMessageRow.account_id == dispute.account_id,
            DisputeMessageRow.dispute_id == dispute.id,
        )
    )
    number = (before or 0) + 1
    session.add(
        DisputeMessageRow(
            account_id=dispute.account_id,
            dispute_id=dispute.id,
            number=number,
            side=side.value,
            by=principal,
            text=text,
            written_at=now,
        )
    )
    session.flush()
    return number


def _tell_central(
    session: Session, dispute: DisputeRow, *, what: str, message: int, now: datetime
) -> None:
    row = invoices.invoice_row(
        session, account_id=dispute.account_id, invoice_id=dispute.invoice_id
    )
    announce(
        session,
        kind="dispute.raised",
        account_id=dispute.account_id,
        subject_id=f"{dispute.id}/{message}",
        facts={
            "dispute_id": dispute.id,
            "invoice_id": dispute.invoice_id,
            "number": row.number,
            "what": what,
            "reason": dispute.reason,
            "amount": dispute.amount,
            "respond_by": dispute.respond_by,
        },
        now=now,
    )


def _announce(session: Session, dispute: DisputeRow, *, outcome: str, now: datetime) -> None:
    row = invoices.invoice_row(
        session, account_id=dispute.account_id, invoice_id=dispute.invoice_id
    )
    announce(
        session,
        kind="dispute.answered",
        account_id=dispute.account_id,
        # A query may be asked back about more than once.
        subject_id=f"{dispute.id}/{now.isoformat()}",
        facts={
            "dispute_id": dispute.id,
            "invoice_id": dispute.invoice_id,
            "number": row.number,
            "outcome": outcome,
        },
        now=now,
    )


def _note(
    session: Session,
    action: str,
    dispute: DisputeRow,
    principal: str,
    now: datetime,
    facts: dict[str, Any],
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="query",
        object_id=dispute.id,
        facts={"account": dispute.account_id, "invoice": dispute.invoice_id, **facts},
    )
