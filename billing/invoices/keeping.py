"""Keeping drafts: the document, its lines and the usage behind them; and throwing them away."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import Connection
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from billing.invoices.backing import usage_to_keep
from billing.invoices.composing import LineKey
from billing.invoices.content import to_content
from billing.invoices.model import Invoice, Line
from billing.invoices.tables import InvoiceLineRow, InvoiceRow, InvoiceUsageRow
from billing.invoices.usage_words import UsageWords


def keep_draft(
    session: Session,
    *,
    invoice: Invoice,
    keys: Sequence[LineKey],
    now: datetime,
    run_id: str | None = None,
    credits_invoice_id: str | None = None,
    credit_basis: str | None = None,
    credits_lines: Sequence[int] = (),
    words: UsageWords | None = None,
) -> InvoiceRow:
    """Keep a composed document as a draft with its lines and the usage behind them.

    Args:
        keys: of the lines, in order.
        credits_lines: on a credit note, the lines of the invoice that its lines credit.
        words: kept from one draft to the next where there are many.
    """
    usage = usage_to_keep(
        session, invoice=invoice, keys=keys, words=UsageWords() if words is None else words
    )
    content = to_content(invoice)
    if usage is not None:
        content["usage_sha256"] = usage.sha256
    row = InvoiceRow(
        account_id=invoice.account_id,
        id=invoice.id,
        run_id=run_id,
        kind=invoice.kind.value,
        status="draft",
        month=invoice.month.first_day,
        series=invoice.series,
        number=None,
        issued_at=None,
        tax_point=invoice.tax_point,
        due_on=invoice.due_on,
        purchase_order=None if invoice.purchase_order is None else invoice.purchase_order.number,
        net=invoice.net,
        vat=invoice.vat,
        total=invoice.total,
        pool_saving=invoice.pool_saving,
        content=content,
        seal=None,
        previous_seal=None,
        credits_invoice_id=credits_invoice_id,
        credit_basis=credit_basis,
        created_at=now,
    )
    session.add(row)
    if usage is not None:
        session.add(
            InvoiceUsageRow(
                account_id=invoice.account_id,
                invoice_id=invoice.id,
                content=usage.content,
                sha256=usage.sha256,
            )
        )
    session.flush()
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, Connection)
    columns = ", ".join(_LINE_COLUMNS)
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY invoice_lines ({columns}) FROM STDIN") as copy,
    ):
        for line, key in zip(invoice.lines, keys, strict=True):
            credits_line = credits_lines[line.number - 1] if credits_lines else None
            copy.write_row(_line_row(invoice, line, key, credits_line=credits_line))
    return row


_LINE_COLUMNS = (
    "account_id",
    "invoice_id",
    "number",
    "kind",
    "month",
    "tariff_code",
    "version_id",
    "price_key",
    "meter",
    "description",
    "dimensions",
    "unit",
    "quantity",
    "first_on",
    "end_on",
    "net",
    "vat_treatment",
    "vat_rate_percent",
    "pool_saving",
    "charge_id",
    "credits_line",
    "cost_centre",
    "subjective_code",
    "working",
)


def _line_row(
    invoice: Invoice, line: Line, where: LineKey, *, credits_line: int | None
) -> tuple[Any, ...]:
    return (
        invoice.account_id,
        invoice.id,
        line.number,
        line.kind.value,
        where.key.month.first_day,
        where.key.tariff_code,
        where.key.version_id,
        where.key.price_key,
        where.meter_code,
        line.description,
        json.dumps(where.dimensions),
        line.unit,
        line.quantity if line.quantity is not None else Decimal(0),
        line.first_day,
        line.end_day,
        line.net,
        line.treatment.value,
        line.vat_rate_percent,
        line.pool_saving,
        line.charge_id,
        credits_line,
        line.cost_centre,
        line.subjective_code,
        json.dumps(list(line.working), ensure_ascii=False),
    )


def discard_drafts(session: Session, *, account_id: str, run_id: str) -> int:
    """Remove the account's drafts of a run; return how many there were."""
    ids = session.scalars(
        select(InvoiceRow.id).where(
            InvoiceRow.account_id == account_id,
            InvoiceRow.run_id == run_id,
            InvoiceRow.status == "draft",
        )
    ).all()
    if ids:
        for part in (InvoiceUsageRow, InvoiceLineRow):
            session.execute(
                delete(part).where(part.account_id == account_id, part.invoice_id.in_(ids))
            )
        session.execute(
            delete(InvoiceRow).where(InvoiceRow.account_id == account_id, InvoiceRow.id.in_(ids))
        )
    session.expunge_all()
    return len(ids)
