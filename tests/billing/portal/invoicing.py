"""Issued invoices for tests of pages, with their lines and documents."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.documents.render import DOCUMENTS, render_all
from billing.invoices.model import (
    Invoice,
    InvoiceKind,
    InvoiceStatus,
    Line,
    canonical_content,
    seal,
)
from billing.invoices.tables import DocumentRow, InvoiceLineRow, InvoiceRow
from metering.periods import Month
from tests.billing.documents.samples import BUYER, compose, line, plain_line, usage

APRIL = Month(2026, 4)
ISSUED = datetime(2026, 5, 5, 8, 30, tzinfo=UTC)


def lines() -> tuple[Line, ...]:
    """A pooled line, a line at one price, a flat amount and a correction."""
    return (
        line(),
        plain_line("1240.50", "2481", "0.50"),
        plain_line(
            "250.00",
            "1",
            "250",
            service="Patient index",
            description="Connection to the patient index",
            unit="month",
            meter="",
            dimensions="",
            cos_heading=None,
            working=(),
            charge_id=None,
        ),
    )


def issue(
    session: Session,
    *,
    account: AccountRow,
    number: str = "PG-2627-000123",
    month: Month = APRIL,
    due_on: date = date(2026, 6, 4),
    settled: bool = False,
    documents: bool = True,
    of: Sequence[Line] | None = None,
    meter: str = "studies-archived",
    dimensions: dict[str, str] | None = None,
    credits: str | None = None,
    **facts: object,
) -> str:
    """Write an issued invoice of an account; return its id."""
    told = lines() if of is None else tuple(of)
    invoice_id = "inv_" + number.replace("-", "")
    if credits is not None:
        facts = {
            "kind": InvoiceKind.CREDIT_NOTE,
            "series": "PC",
            "credits_number": "PG-2627-000123",
            "credits_issued_on": date(2026, 5, 5),
            "credit_reason": "240 studies were reported twice",
            "pay_to": None,
        } | facts
    draft = compose(
        *told,
        id=invoice_id,
        account_id=account.id,
        month=month,
        due_on=due_on,
        buyer=replace(BUYER, name=account.name),
        **facts,
    )
    named = replace(draft, number=number, issued_at=ISSUED)
    invoice = replace(named, status=InvoiceStatus.ISSUED, seal=seal(canonical_content(named), None))
    _write(session, invoice, settled=settled, meter=meter, dimensions=dimensions, credits=credits)
    if documents:
        for name, content in render_all(invoice, usage()).items():
            session.add(
                DocumentRow(
                    account_id=account.id,
                    invoice_id=invoice_id,
                    name=name,
                    media_type=DOCUMENTS[name].media_type,
                    content=content,
                    sha256="0" * 64,
                    made_at=ISSUED,
                )
            )
    session.flush()
    return invoice_id


def _write(
    session: Session,
    invoice: Invoice,
    *,
    settled: bool,
    meter: str,
    dimensions: dict[str, str] | None,
    credits: str | None,
) -> None:
    row = InvoiceRow(
        account_id=invoice.account_id,
        id=invoice.id,
        run_id=None,
        kind=invoice.kind,
        status="draft",
        month=invoice.month.first_day,
        series=invoice.series,
        number=None,
        issued_at=None,
        tax_point=invoice.tax_point,
        due_on=invoice.due_on,
        purchase_order=invoice.purchase_order.number if invoice.purchase_order else None,
        net=invoice.net,
        vat=invoice.vat,
        total=invoice.total,
        pool_saving=invoice.pool_saving,
        content=json.loads(canonical_content(invoice)),
        seal=None,
        previous_seal=None,
        credits_invoice_id=credits,
        credit_basis=None if credits is None else "concession",
        created_at=ISSUED,
    )
    session.add(row)
    session.flush()
    for each in invoice.lines:
        session.add(
            InvoiceLineRow(
                account_id=invoice.account_id,
                invoice_id=invoice.id,
                number=each.number,
                kind=each.kind,
                month=invoice.month.first_day,
                tariff_code="imaging-archive",
                version_id="trv_example",
                price_key="studies-archived",
                meter=meter if each.meter else "",
                description=each.description,
                dimensions=dimensions or {},
                unit=each.unit,
                quantity=each.quantity or Decimal(0),
                first_on=each.first_day,
                end_on=each.end_day,
                net=each.net,
                vat_treatment=each.treatment,
                vat_rate_percent=each.vat_rate_percent,
                pool_saving=each.pool_saving,
                charge_id=each.charge_id,
                credits_line=None,
                working=list(each.working),
            )
        )
    session.flush()
    row.number, row.issued_at, row.seal = invoice.number, invoice.issued_at, invoice.seal
    row.status = "issued"
    session.flush()
    if settled:
        row.status = "settled"
        session.flush()
