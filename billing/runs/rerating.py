"""Issued invoices rated again, from the readings, agreements and versions that are stored.

It runs the rating engine anew; nothing of the stored charges goes into it. Usage that came
or was withdrawn since, and prices changed since, make an honest difference: the next invoice
corrects it. Told apart from that is the fault: the same inputs, and other pennies.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.charges.inputs import load_inputs, load_usage
from billing.charges.operations import rate_inputs
from billing.charges.tables import ChargeRow, RatingRow
from billing.invoices import queries as invoices
from billing.invoices.composing import Key
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT
from metering.periods import Month


class Standing(StrEnum):
    """How what was invoiced compares with what is rated again."""

    SAME = "same"
    CHANGED = "changed-since"
    FAULT = "fault"


@dataclass(frozen=True, kw_only=True)
class Rerated:
    """One price of one account in one month.

    Attributes:
        invoiced: net pounds over all documents, credits that put usage back taken off.
        charged: what the stored charges say.
        rerated: what the engine says now.
    """

    account_id: str
    ods_code: str
    key: Key
    invoiced: Decimal
    charged: Decimal
    rerated: Decimal
    inputs_unchanged: bool

    @property
    def standing(self) -> Standing:
        """Same pennies, an honest change since, or a fault."""
        if self.inputs_unchanged and self.rerated != self.charged:
            return Standing.FAULT
        return Standing.SAME if self.rerated == self.invoiced else Standing.CHANGED


def invoiced_months(
    session: Session, *, account_id: str | None = None, invoice_id: str | None = None
) -> list[Month]:
    """Return the months that issued lines are about, in order."""
    statement = (
        select(InvoiceLineRow.month)
        .distinct()
        .join(
            InvoiceRow,
            (InvoiceRow.account_id == InvoiceLineRow.account_id)
            & (InvoiceRow.id == InvoiceLineRow.invoice_id),
        )
        .where(InvoiceRow.status.in_(invoices.DONE))
    )
    if account_id is not None:
        statement = statement.where(InvoiceLineRow.account_id == account_id)
    if invoice_id is not None:
        statement = statement.where(InvoiceLineRow.invoice_id == invoice_id)
    return sorted(Month.of_day(day) for day in session.scalars(statement))


def rerate_month(
    session: Session, *, month: Month, account_ids: Collection[str] | None = None
) -> list[Rerated]:
    """Rate a month again for everyone and compare what was invoiced, by account and price.

    Args:
        account_ids: whom to compare; the whole nation is rated either way, since a shared
            price depends on everybody's use.
    """
    inputs = load_inputs(session, month=month)
    result, _ = rate_inputs(inputs, inputs.agreements, load_usage(session, inputs=inputs))
    now: dict[tuple[str, Key], Decimal] = {}
    for charge in result.charges:
        account_id = inputs.account_ids[charge.account]
        key = Key(
            month=month,
            tariff_code=charge.tariff,
            version_id=inputs.version_ids[charge.tariff, charge.version],
            price_key=charge.price_key,
        )
        now[account_id, key] = now.get((account_id, key), NOUGHT) + charge.amount
    charged = _charged(session, month)
    rated = session.execute(
        select(RatingRow.account_id, RatingRow.input_fingerprint).where(
            RatingRow.month == month.first_day
        )
    )
    known: dict[str, str] = dict(rated.all())
    fingerprints = inputs.account_fingerprints()
    found = []
    for code, account_id in sorted(inputs.account_ids.items()):
        if account_ids is not None and account_id not in account_ids:
            continue
        has = invoices.invoiced_sums(session, account_id=account_id, first=month, last=month)
        unchanged = known.get(account_id, "") == fingerprints.get(code, "")
        for key in sorted(has, key=lambda key: (key.tariff_code, key.version_id, key.price_key)):
            found.append(
                Rerated(
                    account_id=account_id,
                    ods_code=code,
                    key=key,
                    invoiced=has[key].net,
                    charged=charged.get((account_id, key), NOUGHT),
                    rerated=now.get((account_id, key), NOUGHT),
                    # While a month is open its shared prices move with everybody's use.
                    inputs_unchanged=unchanged and inputs.is_frozen,
                )
            )
    return found


def rerate_invoice(session: Session, *, account_id: str, invoice_id: str) -> list[Rerated]:
    """Rate again what one issued invoice charges, price by price.

    Raises:
        InvoiceUnknown: the account has none with this id.
    """
    invoices.invoice_row(session, account_id=account_id, invoice_id=invoice_id)
    wanted = {
        (line.month, line.tariff_code, line.version_id, line.price_key)
        for line in invoices.lines(session, account_id=account_id, invoice_id=invoice_id)
    }
    return [
        one
        for month in invoiced_months(session, account_id=account_id, invoice_id=invoice_id)
        for one in rerate_month(session, month=month, account_ids=[account_id])
        if (month.first_day, one.key.tariff_code, one.key.version_id, one.key.price_key) in wanted
    ]


def _charged(session: Session, month: Month) -> dict[tuple[str, Key], Decimal]:
    rows = session.execute(
        select(
            ChargeRow.account_id,
            ChargeRow.tariff_code,
            ChargeRow.version_id,
            ChargeRow.price_key,
            func.sum(ChargeRow.amount),
        )
        .where(ChargeRow.month == month.first_day)
        .group_by(
            ChargeRow.account_id, ChargeRow.tariff_code, ChargeRow.version_id, ChargeRow.price_key
        )
    )
    return {
        (account_id, Key(month=month, tariff_code=tariff, version_id=version, price_key=price)): net
        for account_id, tariff, version, price, net in rows
    }
