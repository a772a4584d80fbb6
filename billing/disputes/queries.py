"""Reads of disputes: the trust's own, the central team's inbox, what is held back."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from billing.accounts.tables import AccountRow
from billing.disputes.model import STILL_OPEN, Dispute, DisputeStatus, Message, Side
from billing.disputes.tables import DisputeMessageRow, DisputeRow
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT
from metering.kit.errors import NotFound
from metering.organisations.tables import OrganisationRow

_OPEN = tuple(status.value for status in STILL_OPEN)


class DisputeUnknown(NotFound):
    """The account has no such query."""

    code = "dispute-unknown"
    title = "No such query"


def dispute_row(session: Session, *, account_id: str, dispute_id: str) -> DisputeRow:
    """Return a dispute of the account, locked to the end of the transaction.

    Raises:
        DisputeUnknown: the account has none with this id.
    """
    row = session.scalar(
        select(DisputeRow)
        .where(DisputeRow.account_id == account_id, DisputeRow.id == dispute_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise DisputeUnknown(f"The account has no query {dispute_id}.")
    return row


def dispute(session: Session, *, dispute_id: str, account_id: str | None = None) -> Dispute:
    """Return a dispute with its messages; of one account where given, as the portal must.

    Raises:
        DisputeUnknown: there is none.
    """
    statement = _disputes().where(DisputeRow.id == dispute_id)
    if account_id is not None:
        statement = statement.where(DisputeRow.account_id == account_id)
    found = session.execute(statement).first()
    if found is None:
        raise DisputeUnknown(f"There is no query {dispute_id}.")
    one = _read(found)
    written = session.scalars(
        select(DisputeMessageRow)
        .where(
            DisputeMessageRow.account_id == one.account_id,
            DisputeMessageRow.dispute_id == dispute_id,
        )
        .order_by(DisputeMessageRow.number)
    )
    return replace(
        one,
        messages=tuple(
            Message(side=Side(row.side), by=row.by, text=row.text, written_at=row.written_at)
            for row in written
        ),
    )


def disputes(
    session: Session,
    *,
    account_id: str | None = None,
    invoice_id: str | None = None,
    statuses: Collection[DisputeStatus] = tuple(DisputeStatus),
    limit: int | None = None,
    offset: int = 0,
) -> list[Dispute]:
    """Return disputes without their messages: the next to answer first, then by age."""
    statement = _disputes().where(DisputeRow.status.in_([status.value for status in statuses]))
    if account_id is not None:
        statement = statement.where(DisputeRow.account_id == account_id)
    if invoice_id is not None:
        statement = statement.where(DisputeRow.invoice_id == invoice_id)
    statement = statement.order_by(
        DisputeRow.respond_by.asc().nulls_last(), DisputeRow.raised_at.desc(), DisputeRow.id
    )
    return [_read(row) for row in session.execute(statement.limit(limit).offset(offset))]


def counts(session: Session, *, account_id: str | None = None) -> dict[DisputeStatus, int]:
    """Return how many disputes are at each status, of one account or of all."""
    statement = select(DisputeRow.status, func.count()).group_by(DisputeRow.status)
    if account_id is not None:
        statement = statement.where(DisputeRow.account_id == account_id)
    found = {DisputeStatus(status): count for status, count in session.execute(statement)}
    return {status: found.get(status, 0) for status in DisputeStatus}


def late(session: Session, *, today: date) -> list[Dispute]:
    """Return disputes that should have been answered before the London date `today`."""
    statement = _disputes().where(DisputeRow.status == "open", DisputeRow.respond_by < today)
    rows = session.execute(statement.order_by(DisputeRow.respond_by, DisputeRow.id))
    return [_read(row) for row in rows]


def disputed_amounts(session: Session, *, account_id: str | None) -> Mapping[str, Decimal]:
    """Return disputed pounds by invoice id: a `billing.payments.debt.DisputedAmounts`.

    A dispute of the whole invoice and of its lines together hold back no more than the
    invoice; whoever asks bounds them by what is outstanding.
    """
    statement = (
        select(DisputeRow.invoice_id, func.sum(DisputeRow.amount))
        .where(DisputeRow.status.in_(_OPEN))
        .group_by(DisputeRow.invoice_id)
    )
    if account_id is not None:
        statement = statement.where(DisputeRow.account_id == account_id)
    return {invoice_id: amount or NOUGHT for invoice_id, amount in session.execute(statement)}


def disputed_amounts_on(
    session: Session, *, account_id: str | None, before: datetime
) -> Mapping[str, Decimal]:
    """Return disputed pounds by invoice id as they were just before an instant."""
    statement = (
        select(DisputeRow.invoice_id, func.sum(DisputeRow.amount))
        .where(
            DisputeRow.raised_at < before,
            or_(DisputeRow.decided_at.is_(None), DisputeRow.decided_at >= before),
        )
        .group_by(DisputeRow.invoice_id)
    )
    if account_id is not None:
        statement = statement.where(DisputeRow.account_id == account_id)
    return {invoice_id: amount or NOUGHT for invoice_id, amount in session.execute(statement)}


def _disputes() -> Select[DisputeRow, str, str, str | None, str, str | None]:
    note = aliased(InvoiceRow)
    return (
        select(
            DisputeRow,
            OrganisationRow.ods_code,
            AccountRow.name,
            InvoiceRow.number,
            InvoiceLineRow.description,
            note.number,
        )
        .join(AccountRow, AccountRow.id == DisputeRow.account_id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .join(
            InvoiceRow,
            (InvoiceRow.account_id == DisputeRow.account_id)
            & (InvoiceRow.id == DisputeRow.invoice_id),
        )
        .outerjoin(
            InvoiceLineRow,
            (InvoiceLineRow.account_id == DisputeRow.account_id)
            & (InvoiceLineRow.invoice_id == DisputeRow.invoice_id)
            & (InvoiceLineRow.number == DisputeRow.line_number),
        )
        .outerjoin(
            note,
            (note.account_id == DisputeRow.account_id) & (note.id == DisputeRow.credit_note_id),
        )
    )


def _read(found: Row[DisputeRow, str, str, str | None, str, str | None]) -> Dispute:
    row, ods_code, name, number, line_words, credit_number = found
    return Dispute(
        id=row.id,
        account_id=row.account_id,
        ods_code=ods_code,
        account_name=name,
        invoice_id=row.invoice_id,
        invoice_number=number or "",
        line_number=row.line_number,
        line_words=line_words or "",
        reason=row.reason,
        quantity=row.quantity,
        amount=row.amount,
        status=DisputeStatus(row.status),
        raised_by=row.raised_by,
        raised_at=row.raised_at,
        respond_by=row.respond_by,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        credit_note_id=row.credit_note_id,
        credit_number=credit_number,
    )
