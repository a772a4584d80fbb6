"""What the gateway is told of an account and of an invoice: the figures that were printed."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT, vat_on
from billing.payments.gateway import GatewayCustomer, GatewayInvoice, GatewayLine
from metering.periods import london_day


def gateway_customer(session: Session, *, account_id: str) -> GatewayCustomer:
    """Return an account as the gateway is told of it."""
    account = session.get_one(AccountRow, account_id)
    return GatewayCustomer(
        account_id=account_id,
        name=account.name,
        email=account.email,
        address=tuple(account.address),
        postcode=account.postcode,
    )


def gateway_invoice(
    session: Session, *, account_id: str, invoice_id: str, now: datetime
) -> GatewayInvoice:
    """Return an issued invoice as the gateway is told of it: the same figures as printed."""
    row = session.get_one(InvoiceRow, (account_id, invoice_id))
    lines = session.scalars(
        select(InvoiceLineRow)
        .where(InvoiceLineRow.account_id == account_id, InvoiceLineRow.invoice_id == invoice_id)
        .order_by(InvoiceLineRow.number)
    ).all()
    vat = vat_by_line([(line.number, line.net, line.vat_rate_percent) for line in lines])
    assert row.number is not None
    today = london_day(now)
    return GatewayInvoice(
        account_id=account_id,
        invoice_id=invoice_id,
        number=row.number,
        # The gateway refuses a due date that has passed.
        due_on=max(row.due_on or today, today),
        total=row.total,
        vat=row.vat,
        lines=tuple(
            GatewayLine(
                number=line.number,
                description=line.description,
                net=line.net,
                vat=vat[line.number],
                vat_rate_percent=line.vat_rate_percent,
            )
            for line in lines
        ),
    )


def vat_by_line(
    lines: Sequence[tuple[int, Decimal, Decimal]],
) -> dict[int, Decimal]:
    """Share each rate's VAT over its lines, so that the shares sum to what is printed.

    Each line gets what the VAT on the lines up to it grows by: exact in sum, with negative
    lines too, and never more than a penny from its own VAT.

    Args:
        lines: number, net pounds, rate in per cent.
    """
    running: dict[Decimal, Decimal] = defaultdict(lambda: NOUGHT)
    shares = {}
    for number, net, rate in lines:
        before = vat_on(running[rate], rate_percent=rate)
        running[rate] += net
        shares[number] = vat_on(running[rate], rate_percent=rate) - before
    return shares
