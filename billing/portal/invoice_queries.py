"""Reads of one account's issued invoices and credit notes; drafts are not for trusts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Select, SQLColumnExpression, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from billing.invoices.tables import DocumentRow, InvoiceLineRow, InvoiceRow
from billing.ledger.tables import ReceivableRow
from billing.listing import Direction
from metering.kit.errors import NotFound
from metering.periods import Month, financial_year_start

_SHOWN = ("issued", "settled")
_SIGNED_TOTAL = case((InvoiceRow.kind == "credit-note", -InvoiceRow.total), else_=InvoiceRow.total)
# What of an issued invoice is neither paid nor credited, of a credit note not used.
_LEFT = (
    select(ReceivableRow.total - ReceivableRow.allocated - ReceivableRow.refunded)
    .where(
        ReceivableRow.account_id == InvoiceRow.account_id,
        ReceivableRow.document_id == InvoiceRow.id,
    )
    .scalar_subquery()
)
_ORDERS: Mapping[str, SQLColumnExpression[Any]] = {
    "number": InvoiceRow.number,
    "month": InvoiceRow.month,
    "issued": InvoiceRow.issued_at,
    "due": InvoiceRow.due_on,
    "total": _SIGNED_TOTAL,
}
SORT_KEYS = tuple(_ORDERS)


class NoSuchInvoice(NotFound):
    """The account has no issued invoice with that id."""

    code = "invoice-not-found"
    title = "No such invoice"


class NoSuchDocument(NotFound):
    """The invoice has no document of that name, or it is not made yet."""

    code = "document-not-found"
    title = "No such document"


@dataclass(frozen=True)
class InvoiceFilter:
    """Which invoices a list shows.

    Attributes:
        standing: `to-pay`, `part-paid`, `overdue`, `paid`, `credit`, or empty for all.
        financial_year: of the billed month, by the calendar year in which it starts.
        search: part of a number or of a purchase order.
    """

    standing: str = ""
    financial_year: int | None = None
    search: str = ""


class InvoiceSummary(NamedTuple):
    """One row of the list. `total` is negative on a credit note; `left` is what is still open."""

    id: str
    kind: str
    status: str
    number: str
    month: date
    issued_at: datetime
    due_on: date | None
    purchase_order: str | None
    total: Decimal
    left: Decimal


class Document(NamedTuple):
    """A file made from an invoice; `size` in bytes."""

    name: str
    media_type: str
    size: int


class RelatedInvoice(NamedTuple):
    """A credit note's invoice, or an invoice's credit note."""

    id: str
    number: str | None
    total: Decimal


@dataclass(frozen=True)
class IssuedInvoice:
    """An issued invoice with everything that its page shows.

    Attributes:
        left: what of it is neither paid nor credited, of a credit note not used.
    """

    row: InvoiceRow
    left: Decimal
    lines: Sequence[InvoiceLineRow]
    documents: Sequence[Document]
    credit_notes: Sequence[RelatedInvoice]
    credits: RelatedInvoice | None


def _narrow(
    statement: Select[Any], *, account_id: str, wanted: InvoiceFilter, today: date
) -> Select[Any]:
    statement = statement.where(InvoiceRow.account_id == account_id, InvoiceRow.status.in_(_SHOWN))
    unpaid = and_(InvoiceRow.status == "issued", InvoiceRow.kind == "invoice")
    standings = {
        "to-pay": unpaid,
        "part-paid": and_(unpaid, InvoiceRow.total > _LEFT),
        "overdue": and_(unpaid, InvoiceRow.due_on < today),
        "paid": and_(InvoiceRow.status == "settled", InvoiceRow.kind == "invoice"),
        "credit": InvoiceRow.kind == "credit-note",
    }
    if wanted.standing in standings:
        statement = statement.where(standings[wanted.standing])
    if wanted.financial_year is not None:
        start = financial_year_start(wanted.financial_year)
        statement = statement.where(
            InvoiceRow.month >= start.first_day, InvoiceRow.month < start.shift(12).first_day
        )
    if wanted.search:
        pattern = wanted.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        statement = statement.where(
            or_(
                InvoiceRow.number.ilike(f"%{pattern}%"),
                InvoiceRow.purchase_order.ilike(f"%{pattern}%"),
            )
        )
    return statement


def invoices(
    session: Session,
    *,
    account_id: str,
    wanted: InvoiceFilter,
    today: date,
    sort: str,
    direction: Direction,
    page: int | None,
    page_size: int,
) -> tuple[list[InvoiceSummary], int]:
    """Return a page of the account's invoices, and how many there are on all pages.

    Args:
        sort: one of `SORT_KEYS`.
        page: from 1; None returns all.
    """
    total = session.scalar(
        _narrow(
            select(func.count()).select_from(InvoiceRow),
            account_id=account_id,
            wanted=wanted,
            today=today,
        )
    )
    order = _ORDERS[sort]
    statement = _narrow(
        select(
            InvoiceRow.id,
            InvoiceRow.kind,
            InvoiceRow.status,
            InvoiceRow.number,
            InvoiceRow.month,
            InvoiceRow.issued_at,
            InvoiceRow.due_on,
            InvoiceRow.purchase_order,
            _SIGNED_TOTAL,
            func.coalesce(_LEFT, InvoiceRow.total),
        ),
        account_id=account_id,
        wanted=wanted,
        today=today,
    ).order_by(
        order.desc().nulls_last() if direction == "descending" else order.asc().nulls_last(),
        InvoiceRow.number.desc(),
    )
    if page is not None:
        statement = statement.limit(page_size).offset((page - 1) * page_size)
    return [InvoiceSummary(*row) for row in session.execute(statement)], total or 0


def billed_months(session: Session, *, account_id: str) -> list[Month]:
    """Return the months for which the account has invoices, newest first."""
    months = session.scalars(
        select(InvoiceRow.month)
        .where(InvoiceRow.account_id == account_id, InvoiceRow.status.in_(_SHOWN))
        .distinct()
        .order_by(InvoiceRow.month.desc())
    )
    return [Month.of_day(month) for month in months]


def issued_invoice(session: Session, *, account_id: str, invoice_id: str) -> IssuedInvoice:
    """Return one issued invoice of the account.

    Raises:
        NoSuchInvoice: the account has none with that id, or it is a draft.
    """
    found = session.execute(
        select(InvoiceRow, func.coalesce(_LEFT, InvoiceRow.total)).where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.id == invoice_id,
            InvoiceRow.status.in_(_SHOWN),
        )
    ).first()
    if found is None:
        raise NoSuchInvoice("There is no such invoice.")
    row, left = found
    lines = session.scalars(
        select(InvoiceLineRow)
        .where(InvoiceLineRow.account_id == account_id, InvoiceLineRow.invoice_id == invoice_id)
        .order_by(InvoiceLineRow.number)
    ).all()
    documents = session.execute(
        select(
            DocumentRow.name, DocumentRow.media_type, func.octet_length(DocumentRow.content)
        ).where(DocumentRow.account_id == account_id, DocumentRow.invoice_id == invoice_id)
    )
    related = aliased(InvoiceRow)
    others = session.execute(
        select(related.id, related.number, related.total, related.credits_invoice_id)
        .where(
            related.account_id == account_id,
            related.status.in_(_SHOWN),
            or_(related.credits_invoice_id == invoice_id, related.id == row.credits_invoice_id),
        )
        .order_by(related.number)
    ).all()
    relations = [(RelatedInvoice(*other[:3]), other[3] == invoice_id) for other in others]
    return IssuedInvoice(
        row=row,
        left=left,
        lines=lines,
        documents=[Document(*document) for document in documents],
        credit_notes=[other for other, credits in relations if credits],
        credits=next((other for other, credits in relations if not credits), None),
    )


def document(
    session: Session, *, account_id: str, invoice_id: str, name: str
) -> tuple[str, str, bytes]:
    """Return an issued invoice's number, and the media type and content of one document.

    Raises:
        NoSuchDocument: there is no such invoice of the account, or no such document of it.
    """
    found = session.execute(
        select(InvoiceRow.number, DocumentRow.media_type, DocumentRow.content)
        .join(
            DocumentRow,
            and_(
                DocumentRow.account_id == InvoiceRow.account_id,
                DocumentRow.invoice_id == InvoiceRow.id,
            ),
        )
        .where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.id == invoice_id,
            InvoiceRow.status.in_(_SHOWN),
            DocumentRow.name == name,
        )
    ).first()
    if found is None:
        raise NoSuchDocument("There is no such document.")
    return found[0] or invoice_id, found[1], bytes(found[2])
