"""Reads for the pages of budgets and cost centres."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from billing.accounts.tables import AgreementRow, PurchaseOrderRow
from billing.invoices.queries import DONE
from billing.invoices.tables import InvoiceRow
from billing.money import NOUGHT
from billing.tariffs.tables import TariffRow
from metering.meters.tables import MeterRow


def tariff_names(session: Session) -> dict[str, str]:
    """Return the name of every service by the code of its tariff."""
    rows = session.execute(select(TariffRow.code, TariffRow.name))
    return {row.code: row.name for row in rows}


def borne(session: Session, *, account_id: str) -> list[tuple[str, str, str, str]]:
    """Return what a cost centre can bear: tariff code, its name, meter code, its name.

    Of the services that the account is or was on, by name.
    """
    own = (
        select(AgreementRow.tariff_code)
        .where(AgreementRow.account_id == account_id)
        .distinct()
        .subquery()
    )
    rows = session.execute(
        select(TariffRow.code, TariffRow.name, MeterRow.code, MeterRow.name)
        .join(own, own.c.tariff_code == TariffRow.code)
        .join(MeterRow, MeterRow.source_id == TariffRow.source_id)
        .order_by(TariffRow.name, MeterRow.name)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


class OrderUse(NamedTuple):
    """A purchase order, and pounds without VAT that issued invoices took from it."""

    number: str
    service: str | None
    starts_on: date
    ends_on: date | None
    value: Decimal | None
    spent: Decimal


def order_use(session: Session, *, account_id: str) -> list[OrderUse]:
    """Return the account's purchase orders, the latest to begin first."""
    sign = case((InvoiceRow.kind == "credit-note", -1), else_=1)
    spent = (
        select(
            InvoiceRow.purchase_order.label("number"), func.sum(sign * InvoiceRow.net).label("s")
        )
        .where(InvoiceRow.account_id == account_id, InvoiceRow.status.in_(DONE))
        .group_by(InvoiceRow.purchase_order)
        .subquery()
    )
    rows = session.execute(
        select(
            PurchaseOrderRow.number,
            TariffRow.name,
            PurchaseOrderRow.starts_on,
            PurchaseOrderRow.ends_on,
            PurchaseOrderRow.value,
            spent.c.s,
        )
        .outerjoin(TariffRow, TariffRow.code == PurchaseOrderRow.tariff_code)
        .outerjoin(spent, spent.c.number == PurchaseOrderRow.number)
        .where(PurchaseOrderRow.account_id == account_id)
        .order_by(PurchaseOrderRow.starts_on.desc(), PurchaseOrderRow.number)
    )
    return [OrderUse(row[0], row[1], row[2], row[3], row[4], row[5] or NOUGHT) for row in rows]
