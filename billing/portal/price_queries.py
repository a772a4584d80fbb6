"""Reads for the price list and the calculator."""

from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.accounts.tables import AgreementRow, LocalAgreementRow
from billing.charges.tables import ChargeRow, PoolTotalRow
from billing.tariffs import queries as tariffs
from billing.tariffs.queries import VersionInForce
from billing.tariffs.tables import TariffRow
from metering.kit.errors import NotFound
from metering.meters.tables import MeterRow
from metering.periods import Month


class NoPrices(NotFound):
    """The service has no prices in force."""

    code = "no-prices-in-force"
    title = "No prices in force"


class PricedService(NamedTuple):
    """A service's prices on a day, and the account's agreement on them where it has one.

    `next_from` is the day on which prices that are already approved take over; `local` what
    two people agreed apart from the prices, for the account or for its group.
    """

    name: str
    version: VersionInForce
    next_from: date | None
    agreement: AgreementRow | None
    local: LocalAgreementRow | None = None


def priced_services(
    session: Session, *, account_id: str, on: date, tariff_code: str | None = None
) -> list[PricedService]:
    """Return prices in force on a London date by service, the account's own services first."""
    names = {row.code: row.name for row in session.scalars(select(TariffRow))}
    own = {
        row.tariff_code: row
        for row in accounts.agreements(session, account_id=account_id, from_day=on)
        if row.starts_on <= on
    }
    # An account has one at a time on a tariff, its own or its group's.
    local = {
        row.tariff_code: row
        for row in accounts.local_agreements(session, from_day=on, to_day=on + timedelta(days=1))
        if (member := own.get(row.tariff_code)) is not None
        and (row.account_id == account_id or row.group_code == member.group_code is not None)
    }
    found: dict[str, PricedService] = {}
    for version in tariffs.in_force(session, from_day=on, to_day=date.max, tariff_code=tariff_code):
        code = version.tariff.code
        if version.tariff.effective_from <= on:
            found[code] = PricedService(names[code], version, None, own.get(code), local.get(code))
        elif code in found and found[code].next_from is None:
            found[code] = found[code]._replace(next_from=version.tariff.effective_from)
    return sorted(found.values(), key=lambda each: (each.agreement is None, each.name))


def units(session: Session) -> dict[str, tuple[str, str]]:
    """Return name and unit of every meter by code."""
    rows = session.execute(select(MeterRow.code, MeterRow.name, MeterRow.unit))
    return {code: (name, unit) for code, name, unit in rows}


def others_in_pool(
    session: Session, *, account_id: str, version: VersionInForce, month: Month
) -> dict[str, Decimal]:
    """Return what the other members of the national pool used in a month, by price key.

    As metered, to nine places; empty where nothing was rated for that month.
    """
    charged = session.execute(
        select(ChargeRow.price_key, ChargeRow.quantity).where(
            ChargeRow.account_id == account_id,
            ChargeRow.month == month.first_day,
            ChargeRow.version_id == version.id,
            ChargeRow.scope == "pool",
        )
    )
    own = {row.price_key: row.quantity for row in charged}
    totals = session.execute(
        select(PoolTotalRow.price_key, PoolTotalRow.joint_quantity).where(
            PoolTotalRow.month == month.first_day,
            PoolTotalRow.version_id == version.id,
            PoolTotalRow.scope == "pool",
        )
    )
    # The joint quantity is in priced units, charges and estimates are as metered.
    divide_by = {
        price.key: price.convert.divide_by
        for price in version.tariff.prices
        if price.convert is not None
    }
    found = {}
    for key, joint in totals:
        metered = joint * divide_by.get(key, Decimal(1)) - own.get(key, Decimal(0))
        found[key] = max(round(metered, _PLACES), Decimal(0))
    return found


_PLACES = 9
