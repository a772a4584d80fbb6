"""Reads of invoices: what was invoiced, and what stands where."""

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import case, func, select, tuple_
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.ordering import OrderStanding
from billing.accounts.tables import AccountRow
from billing.invoices.composing import Key
from billing.invoices.content import from_content
from billing.invoices.model import Invoice
from billing.invoices.tables import DocumentRow, InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT
from metering.kit.errors import NotFound
from metering.periods import Month

DONE = ("issued", "settled")


class InvoiceUnknown(NotFound):
    """There is no such invoice on this account."""

    code = "invoice-unknown"
    title = "No such invoice"


class Sum(NamedTuple):
    """What was invoiced for a key, credit notes taken off; `conceded` was given back besides."""

    quantity: Decimal
    net: Decimal
    conceded: Decimal
    meter_code: str

    @property
    def is_nothing(self) -> bool:
        """Whether all that was invoiced was taken back, so that it is as never invoiced."""
        return self.quantity == 0 and self.net == 0


def invoice_row(
    session: Session, *, account_id: str, invoice_id: str, for_update: bool = False
) -> InvoiceRow:
    """Return an invoice or credit note of the account.

    Raises:
        InvoiceUnknown: the account has none with this id.
    """
    statement = select(InvoiceRow).where(
        InvoiceRow.account_id == account_id, InvoiceRow.id == invoice_id
    )
    if for_update:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    row = session.scalar(statement)
    if row is None:
        raise InvoiceUnknown(f"The account has no invoice {invoice_id}.")
    return row


def by_number(session: Session, *, number: str, account_id: str | None = None) -> InvoiceRow:
    """Return the invoice or credit note with a printed number, of one account where given.

    Raises:
        InvoiceUnknown: there is none.
    """
    statement = select(InvoiceRow).where(InvoiceRow.number == number)
    if account_id is not None:
        statement = statement.where(InvoiceRow.account_id == account_id)
    row = session.scalar(statement)
    if row is None:
        raise InvoiceUnknown(f"There is no invoice {number}.")
    return row


def invoice(session: Session, *, account_id: str, invoice_id: str) -> Invoice:
    """Return the whole document.

    Raises:
        InvoiceUnknown: the account has none with this id.
    """
    return read(invoice_row(session, account_id=account_id, invoice_id=invoice_id))


def read(row: InvoiceRow) -> Invoice:
    """Return the document that a row holds."""
    return from_content(
        row.content, status=row.status, seal=row.seal, previous_seal=row.previous_seal
    )


def invoices(
    session: Session,
    *,
    account_id: str | None = None,
    run_id: str | None = None,
    statuses: Collection[str] = DONE,
    month: Month | None = None,
    for_update: bool = False,
) -> Sequence[InvoiceRow]:
    """Return invoices and credit notes, latest issue first, drafts before them.

    Args:
        for_update: of one account alone; they stay locked to the end of the transaction.
    """
    statement = (
        select(InvoiceRow)
        .where(InvoiceRow.status.in_(statuses))
        .order_by(InvoiceRow.issued_at.desc(), InvoiceRow.number.desc(), InvoiceRow.id)
    )
    if account_id is not None:
        statement = statement.where(InvoiceRow.account_id == account_id)
    if run_id is not None:
        statement = statement.where(InvoiceRow.run_id == run_id)
    if month is not None:
        statement = statement.where(InvoiceRow.month == month.first_day)
    if for_update:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return session.scalars(statement).all()


def lines(session: Session, *, account_id: str, invoice_id: str) -> Sequence[InvoiceLineRow]:
    """Return the lines of an invoice in printing order."""
    return session.scalars(
        select(InvoiceLineRow)
        .where(InvoiceLineRow.account_id == account_id, InvoiceLineRow.invoice_id == invoice_id)
        .order_by(InvoiceLineRow.number)
    ).all()


def invoiced_sums(
    session: Session, *, account_id: str, first: Month, last: Month
) -> dict[Key, Sum]:
    """Return what was invoiced, by month, tariff version and price.

    A credit note counts against it unless it is a concession, which leaves the usage
    invoiced and is told apart.
    """
    return invoiced_sums_of(session, account_ids=[account_id], first=first, last=last)[account_id]


def invoiced_sums_of(
    session: Session, *, account_ids: Collection[str], first: Month, last: Month
) -> dict[str, dict[Key, Sum]]:
    """Return `invoiced_sums` of each account."""
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    counts = func.coalesce(InvoiceRow.credit_basis, "") != "concession"
    rows = session.execute(
        select(
            InvoiceLineRow.account_id,
            InvoiceLineRow.month,
            InvoiceLineRow.tariff_code,
            InvoiceLineRow.version_id,
            InvoiceLineRow.price_key,
            func.sum(sign * InvoiceLineRow.quantity).filter(counts),
            func.sum(sign * InvoiceLineRow.net).filter(counts),
            func.sum(InvoiceLineRow.net).filter(~counts),
            func.max(InvoiceLineRow.meter),
        )
        .join(
            InvoiceRow,
            (InvoiceRow.account_id == InvoiceLineRow.account_id)
            & (InvoiceRow.id == InvoiceLineRow.invoice_id),
        )
        .where(
            InvoiceLineRow.account_id.in_(account_ids),
            InvoiceRow.status.in_(DONE),
            InvoiceLineRow.month >= first.first_day,
            InvoiceLineRow.month <= last.first_day,
        )
        .group_by(
            InvoiceLineRow.account_id,
            InvoiceLineRow.month,
            InvoiceLineRow.tariff_code,
            InvoiceLineRow.version_id,
            InvoiceLineRow.price_key,
        )
    ).all()
    found: dict[str, dict[Key, Sum]] = {account_id: {} for account_id in account_ids}
    for account_id, month, tariff, version, price, quantity, net, conceded, meter in rows:
        key = Key(
            month=Month.of_day(month), tariff_code=tariff, version_id=version, price_key=price
        )
        found[account_id][key] = Sum(
            quantity or Decimal(0), net or NOUGHT, conceded or NOUGHT, meter
        )
    return found


class BilledLine(NamedTuple):
    """Where a key was invoiced: an issued invoice, and the line's number on it."""

    key: Key
    row: InvoiceRow
    number: int


def billed_lines(
    session: Session, *, account_id: str, keys: Collection[Key]
) -> dict[Key, list[BilledLine]]:
    """Return the lines of issued invoices (not credit notes) for keys, oldest issue first."""
    if not keys:
        return {}
    rows = session.execute(
        select(InvoiceLineRow, InvoiceRow)
        .join(
            InvoiceRow,
            (InvoiceRow.account_id == InvoiceLineRow.account_id)
            & (InvoiceRow.id == InvoiceLineRow.invoice_id),
        )
        .where(
            InvoiceLineRow.account_id == account_id,
            InvoiceRow.status.in_(DONE),
            InvoiceRow.kind == "invoice",
            tuple_(
                InvoiceLineRow.month,
                InvoiceLineRow.tariff_code,
                InvoiceLineRow.version_id,
                InvoiceLineRow.price_key,
            ).in_(
                [
                    (key.month.first_day, key.tariff_code, key.version_id, key.price_key)
                    for key in keys
                ]
            ),
        )
        .order_by(InvoiceRow.issued_at, InvoiceRow.number, InvoiceLineRow.number)
    )
    found: dict[Key, list[BilledLine]] = {}
    for line, row in rows:
        key = Key(
            month=Month.of_day(line.month),
            tariff_code=line.tariff_code,
            version_id=line.version_id,
            price_key=line.price_key,
        )
        found.setdefault(key, []).append(BilledLine(key, row, line.number))
    return found


def spent_on_orders(
    session: Session, *, account_ids: Collection[str]
) -> dict[str, dict[str, Decimal]]:
    """Return pounds without VAT that issued documents took, by account and order's number."""
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    rows = session.execute(
        select(InvoiceRow.account_id, InvoiceRow.purchase_order, func.sum(sign * InvoiceRow.net))
        .where(
            InvoiceRow.account_id.in_(account_ids),
            InvoiceRow.purchase_order.is_not(None),
            InvoiceRow.status.in_(DONE),
        )
        .group_by(InvoiceRow.account_id, InvoiceRow.purchase_order)
    )
    found: dict[str, dict[str, Decimal]] = {account_id: {} for account_id in account_ids}
    for account_id, number, spent in rows:
        found[account_id][number or ""] = spent
    return found


def orders_standing(
    session: Session,
    *,
    account_id: str,
    on: date,
    numbers: Collection[str] | None = None,
) -> list[OrderStanding]:
    """Return the account's purchase orders, what is used of each, and where each stands on a day.

    Args:
        on: the London date to judge by.
        numbers: only these.
    """
    spent = spent_on_orders(session, account_ids=[account_id])[account_id]
    return [
        OrderStanding(
            order=order,
            used=spent.get(order.number, NOUGHT),
            on=on,
        )
        for order in accounts.orders(session, account_id=account_id)
        if numbers is None or order.number in numbers
    ]


def credited(
    session: Session, *, account_id: str, invoice_id: str
) -> dict[int, tuple[Decimal, Decimal]]:
    """Return quantity and pounds that credit notes took off each line of an invoice."""
    rows = session.execute(
        select(
            InvoiceLineRow.credits_line,
            func.sum(InvoiceLineRow.quantity),
            func.sum(InvoiceLineRow.net),
        )
        .join(
            InvoiceRow,
            (InvoiceRow.account_id == InvoiceLineRow.account_id)
            & (InvoiceRow.id == InvoiceLineRow.invoice_id),
        )
        .where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.credits_invoice_id == invoice_id,
            InvoiceRow.status.in_(DONE),
            InvoiceLineRow.credits_line.is_not(None),
        )
        .group_by(InvoiceLineRow.credits_line)
    )
    return {line: (quantity, net) for line, quantity, net in rows if line is not None}


def credited_total(session: Session, *, account_id: str, invoice_id: str) -> Decimal:
    """Return pounds, VAT included, of every credit note that credits the invoice."""
    return (
        session.scalar(
            select(func.sum(InvoiceRow.total)).where(
                InvoiceRow.account_id == account_id,
                InvoiceRow.credits_invoice_id == invoice_id,
                InvoiceRow.status.in_(DONE),
            )
        )
        or NOUGHT
    )


def without_documents(session: Session, *, limit: int) -> list[tuple[str, str]]:
    """Return account and invoice ids of issued documents whose files are not made yet."""
    rows = session.execute(
        select(InvoiceRow.account_id, InvoiceRow.id)
        .outerjoin(
            DocumentRow,
            (DocumentRow.account_id == InvoiceRow.account_id)
            & (DocumentRow.invoice_id == InvoiceRow.id),
        )
        .where(InvoiceRow.status.in_(DONE), DocumentRow.name.is_(None))
        .order_by(InvoiceRow.issued_at, InvoiceRow.id)
        .limit(limit)
    )
    return [(account_id, invoice_id) for account_id, invoice_id in rows]


def kept_document(
    session: Session, *, account_id: str, invoice_id: str, name: str
) -> tuple[str, str, bytes] | None:
    """Return number, media type and content of a document, None while it is not made yet."""
    found = session.execute(
        select(InvoiceRow.number, DocumentRow.media_type, DocumentRow.content)
        .join(
            DocumentRow,
            (DocumentRow.account_id == InvoiceRow.account_id)
            & (DocumentRow.invoice_id == InvoiceRow.id),
        )
        .where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.id == invoice_id,
            DocumentRow.name == name,
        )
    ).first()
    if found is None:
        return None
    number, media_type, content = found
    assert number is not None  # documents are made of issued invoices only
    return number, media_type, content


def last_months_net(
    session: Session, *, month: Month, account_id: str | None = None
) -> dict[str, Decimal]:
    """Return each account's net invoiced by the run of a month, credit notes taken off."""
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    statement = (
        select(InvoiceRow.account_id, func.sum(sign * InvoiceRow.net))
        .join(AccountRow, AccountRow.id == InvoiceRow.account_id)
        .where(
            InvoiceRow.month == month.first_day,
            InvoiceRow.run_id.is_not(None),
            InvoiceRow.status.in_(DONE),
        )
        .group_by(InvoiceRow.account_id)
    )
    if account_id is not None:
        statement = statement.where(InvoiceRow.account_id == account_id)
    return {row[0]: row[1] for row in session.execute(statement)}
