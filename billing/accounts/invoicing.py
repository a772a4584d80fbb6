"""How an account is invoiced: its purchase orders and how supplies to it are taxed."""

import re
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts import queries
from billing.accounts.model import TREATMENTS
from billing.accounts.operations import BadDates, note
from billing.accounts.tables import PurchaseOrderRow, VatTreatmentRow
from billing.tariffs import queries as tariff_queries
from metering.kit.errors import Conflict, Invalid
from metering.kit.ids import new_id
from metering.periods import show_date


class TreatmentUnknown(Invalid):
    """VAT treatments are standard, zero, exempt and outside-scope; all but the first give a
    reason."""

    code = "vat-treatment-invalid"
    title = "The VAT treatment is not valid"


class TreatmentOverlaps(Conflict):
    """Another treatment holds for some of those days."""

    code = "vat-treatment-overlaps"
    title = "Another VAT treatment holds then"


class OrderInvalid(Invalid):
    """A purchase order has a number that can be printed, and a value above nought or none."""

    code = "purchase-order-invalid"
    title = "The purchase order is not complete"


_ORDER_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/#-]{0,49}")


def add_purchase_order(
    session: Session,
    *,
    account_id: str,
    number: str,
    starts_on: date,
    principal: str,
    now: datetime,
    ends_on: date | None = None,
    tariff_code: str | None = None,
    value: Decimal | None = None,
    hold_when_spent: bool = False,
) -> PurchaseOrderRow:
    """Record a purchase order to quote on invoices of London dates `[starts_on, ends_on)`.

    Args:
        value: pounds without VAT that it covers.
        hold_when_spent: an invoice beyond the value is held for a person.

    Raises:
        AccountUnknown, TariffUnknown, BadDates, OrderInvalid.
    """
    queries.account(session, account_id=account_id)
    if tariff_code is not None:
        tariff_queries.tariff(session, code=tariff_code)
    if not _ORDER_NUMBER.fullmatch(number.strip()) or (value is not None and value <= 0):
        raise OrderInvalid(
            "Give the order's number, at most 50 letters, digits and signs, and a value above "
            "nought or none."
        )
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("A purchase order ends after it starts.")
    row = PurchaseOrderRow(
        account_id=account_id,
        id=new_id("po", now=now),
        number=number.strip(),
        tariff_code=tariff_code,
        starts_on=starts_on,
        ends_on=ends_on,
        value=value,
        hold_when_spent=hold_when_spent,
        created_at=now,
    )
    session.add(row)
    session.flush()
    note(session, "add purchase order", account_id, principal, now, {"number": row.number})
    return row


def set_vat_treatment(
    session: Session,
    *,
    account_id: str,
    treatment: str,
    reason: str,
    starts_on: date,
    principal: str,
    now: datetime,
    tariff_code: str | None = None,
    ends_on: date | None = None,
) -> VatTreatmentRow:
    """Say how supplies to an account are taxed from `starts_on`, ending an earlier open one.

    Raises:
        AccountUnknown, TariffUnknown, TreatmentUnknown, TreatmentOverlaps, BadDates.
    """
    queries.account(session, account_id=account_id)
    if tariff_code is not None:
        tariff_queries.tariff(session, code=tariff_code)
    if treatment not in TREATMENTS or (treatment != "standard" and not reason.strip()):
        raise TreatmentUnknown(
            f"The treatment is one of {', '.join(TREATMENTS)}; all but standard give a reason."
        )
    if ends_on is not None and ends_on <= starts_on:
        raise BadDates("A treatment ends after it starts.")
    others = session.scalars(
        select(VatTreatmentRow).where(
            VatTreatmentRow.account_id == account_id,
            VatTreatmentRow.tariff_code.is_(None)
            if tariff_code is None
            else VatTreatmentRow.tariff_code == tariff_code,
        )
    ).all()
    for other in others:
        if other.ends_on is None and other.starts_on < starts_on:
            other.ends_on = starts_on
        elif (other.ends_on is None or other.ends_on > starts_on) and (
            ends_on is None or other.starts_on < ends_on
        ):
            raise TreatmentOverlaps(f"Another treatment holds from {show_date(other.starts_on)}.")
    session.flush()
    row = VatTreatmentRow(
        account_id=account_id,
        id=new_id("vat", now=now),
        tariff_code=tariff_code,
        treatment=treatment,
        reason=reason.strip(),
        starts_on=starts_on,
        ends_on=ends_on,
    )
    session.add(row)
    session.flush()
    note(
        session,
        "set VAT treatment",
        account_id,
        principal,
        now,
        {"treatment": treatment, "tariff": tariff_code, "starts_on": str(starts_on)},
    )
    return row
