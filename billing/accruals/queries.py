"""Reads of accruals: as they stand, and as they were taken."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.accruals.tables import AccrualRow, AccrualTakenRow
from metering.organisations.tables import OrganisationRow
from metering.periods import Month

OPEN_MONTHS = 13
"""How far back usage can still be corrected, the month itself counted."""

_STANDING = text(
    """
    SELECT s.account_id, o.ods_code, a.name, s.tariff_code, s.month, sum(s.amount)
    FROM (
        SELECT account_id, tariff_code, month, amount FROM charges
        WHERE month >= :first AND month <= :last
        UNION ALL
        SELECT l.account_id, l.tariff_code, l.month,
            CASE WHEN i.kind = 'credit-note' THEN l.net ELSE -l.net END
        FROM invoice_lines l
        JOIN invoices i ON i.account_id = l.account_id AND i.id = l.invoice_id
        WHERE l.month >= :first AND l.month <= :last AND i.status IN ('issued', 'settled')
            AND coalesce(i.credit_basis, '') <> 'concession'
    ) s
    JOIN accounts a ON a.id = s.account_id
    JOIN organisations o ON o.id = a.organisation_id
    GROUP BY s.account_id, o.ods_code, a.name, s.tariff_code, s.month
    HAVING sum(s.amount) <> 0
    ORDER BY o.ods_code, s.tariff_code, s.month
    """
)


class Accrual(NamedTuple):
    """Pounds and pence without VAT of a service's use of a month, not yet invoiced.

    Below nought where more was invoiced than is now charged: a credit to come.
    """

    account_id: str
    ods_code: str
    name: str
    tariff_code: str
    usage_month: date
    amount: Decimal


CSV_HEADER = ("Organisation", "Name", "Service", "Month of use", "Not invoiced, without VAT")


def standing(session: Session, *, month: Month) -> list[Accrual]:
    """Return what is charged up to a month's end and not invoiced, as it stands now.

    Charges are as last rated; invoices and credit notes count from issue, whatever month they
    were issued in. A concession gives money back for use that stays invoiced, so it is no
    part of this.
    """
    rows = session.execute(
        _STANDING,
        {
            "first": month.shift(1 - OPEN_MONTHS).first_day,
            "last": month.first_day,
        },
    )
    return [Accrual(*row) for row in rows]


def taken_at(session: Session, *, month: Month) -> datetime | None:
    """Return when a month's accruals were taken, None where they were not."""
    return session.scalar(
        select(AccrualTakenRow.taken_at).where(AccrualTakenRow.month == month.first_day)
    )


def taken(session: Session, *, month: Month, account_id: str | None = None) -> Sequence[Accrual]:
    """Return a month's accruals as they were taken, of one account or of all."""
    statement = (
        select(
            AccrualRow.account_id,
            OrganisationRow.ods_code,
            AccountRow.name,
            AccrualRow.tariff_code,
            AccrualRow.usage_month,
            AccrualRow.amount,
        )
        .join(AccountRow, AccountRow.id == AccrualRow.account_id)
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .where(AccrualRow.month == month.first_day)
        .order_by(OrganisationRow.ods_code, AccrualRow.tariff_code, AccrualRow.usage_month)
    )
    if account_id is not None:
        statement = statement.where(AccrualRow.account_id == account_id)
    return [Accrual(*row) for row in session.execute(statement)]


def csv_rows(rows: Iterable[Accrual]) -> Iterator[Sequence[str]]:
    """Yield the cells under `CSV_HEADER`."""
    for row in rows:
        yield (
            row.ods_code,
            row.name,
            row.tariff_code,
            str(Month.of_day(row.usage_month)),
            f"{row.amount:.2f}",
        )
