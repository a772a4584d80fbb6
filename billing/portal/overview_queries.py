"""Reads for the overview of one account."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.charges.tables import ChargeRow, ParkedUsageRow, RatingRow
from billing.invoices import queries as invoices
from billing.money import NOUGHT, sum_pounds
from billing.portal.changes import Part
from billing.tariffs.tables import TariffRow
from metering.meters.tables import MeterRow
from metering.periods import Month


class ParkedSum(NamedTuple):
    """Usage of a meter that could not be priced, and since when it waits."""

    meter: str
    quantity: Decimal
    unit: str
    since: datetime


def parts_by_month(
    session: Session, *, account_id: str, first: Month, last: Month
) -> dict[Month, list[Part]]:
    """Return what every price came to in each month that has charges."""
    saving = func.greatest(ChargeRow.alone_amount - ChargeRow.amount, NOUGHT)
    rows = session.execute(
        select(
            ChargeRow.month,
            ChargeRow.tariff_code,
            ChargeRow.price_key,
            TariffRow.name,
            func.max(ChargeRow.label),
            func.max(func.coalesce(MeterRow.unit, "")),
            func.sum(ChargeRow.quantity),
            func.sum(ChargeRow.amount),
            func.sum(saving).filter(ChargeRow.alone_amount.is_not(None)),
        )
        .join(TariffRow, TariffRow.code == ChargeRow.tariff_code)
        .outerjoin(MeterRow, MeterRow.code == ChargeRow.meter)
        .where(
            ChargeRow.account_id == account_id,
            ChargeRow.month >= first.first_day,
            ChargeRow.month <= last.first_day,
        )
        .group_by(ChargeRow.month, ChargeRow.tariff_code, ChargeRow.price_key, TariffRow.name)
        .order_by(ChargeRow.month, TariffRow.name, ChargeRow.price_key)
    )
    found: dict[Month, list[Part]] = {}
    for month, tariff, price, service, label, unit, quantity, amount, saved in rows:
        part = Part((tariff, price), service, label, unit, quantity, amount, saved or NOUGHT)
        found.setdefault(Month.of_day(month), []).append(part)
    return found


def rated_at(session: Session, *, account_id: str, month: Month) -> datetime | None:
    """Return when the account's charges of a month were worked out last."""
    return session.scalar(
        select(RatingRow.rated_at).where(
            RatingRow.account_id == account_id, RatingRow.month == month.first_day
        )
    )


def invoiced(session: Session, *, account_id: str, first: Month, last: Month) -> Decimal:
    """Return pounds without VAT that were invoiced for usage of these months."""
    sums = invoices.invoiced_sums(session, account_id=account_id, first=first, last=last)
    return sum_pounds([each.net for each in sums.values()])


def parked(session: Session, *, account_id: str) -> list[ParkedSum]:
    """Return the account's usage that waits for a price, longest waiting first."""
    since = func.min(ParkedUsageRow.parked_at)
    rows = session.execute(
        select(
            func.coalesce(MeterRow.name, ParkedUsageRow.meter),
            func.sum(ParkedUsageRow.quantity),
            func.coalesce(MeterRow.unit, ""),
            since,
        )
        .outerjoin(MeterRow, MeterRow.code == ParkedUsageRow.meter)
        .where(ParkedUsageRow.account_id == account_id)
        .group_by(MeterRow.name, ParkedUsageRow.meter, MeterRow.unit)
        .order_by(since)
    )
    return [ParkedSum(*row) for row in rows]
