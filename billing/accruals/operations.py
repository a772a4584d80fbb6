"""Taking a month's accruals: once, on the first working day after it."""

from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from billing.accruals import queries
from billing.accruals.tables import AccrualRow, AccrualTakenRow
from billing.money import sum_pounds
from billing.working_days import working_day
from metering.kit import audit
from metering.periods import Month, london_day


def due(session: Session, *, now: datetime) -> Month | None:
    """Return the month whose accruals are to be taken now, None where none is due.

    It is last month's, from the first working day of this month on, until they are taken.
    """
    today = london_day(now)
    this_month = Month.of_day(today)
    if today < working_day(this_month, 1):
        return None
    month = this_month.previous
    return None if queries.taken_at(session, month=month) is not None else month


def take_accruals(session: Session, *, month: Month, principal: str, now: datetime) -> int | None:
    """Keep what stands uninvoiced at a month's end; return how many rows, None if taken before.

    Rate the month first. What is taken never changes: late usage belongs to the next month's.
    """
    claimed = session.execute(
        upsert(AccrualTakenRow)
        .values(month=month.first_day, taken_at=now, taken_by=principal)
        .on_conflict_do_nothing()
        .returning(AccrualTakenRow.month)
    ).all()
    if not claimed:
        return None
    found = queries.standing(session, month=month)
    if found:
        session.execute(
            insert(AccrualRow),
            [
                {
                    "account_id": item.account_id,
                    "month": month.first_day,
                    "tariff_code": item.tariff_code,
                    "usage_month": item.usage_month,
                    "amount": item.amount,
                    "taken_at": now,
                }
                for item in found
            ],
        )
    audit.record(
        session,
        now=now,
        principal=principal,
        action="take accruals",
        object_kind="month",
        object_id=str(month),
        facts={"rows": len(found), "total": str(sum_pounds([item.amount for item in found]))},
    )
    return len(found)
