"""What finance books on the first working day: used, and not invoiced."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing import jobs
from billing.accruals import operations, queries
from billing.runs.work import rate_open_months
from metering.kit.db import Database
from tests.scenarios.story import APRIL, MAY, month_end, service, trusts, uses

# Friday 1 May 2026 is a working day.
FIRST = datetime(2026, 5, 1, 5, 0, tzinfo=UTC)


def amounts(found: "list[queries.Accrual] | object") -> list[tuple[str, str, str]]:
    return [
        (item.ods_code, str(item.usage_month)[:7], str(item.amount))
        for item in found  # type: ignore[attr-defined] - either is a list of accruals
    ]


def test_aprils_use_is_accrued_until_it_is_invoiced(database: Database) -> None:
    service(database)
    trusts(database, "RRK", "RA2")
    uses(database, "RRK", "21")
    uses(database, "RA2", "4")
    assert jobs.take_accruals(database, now=FIRST) == {"rows": 2}
    # Taken once: what comes later belongs to the next month's.
    uses(database, "RRK", "100")
    assert jobs.take_accruals(database, now=FIRST) == {"rows": 0}
    month_end(database, APRIL)
    uses(database, "RRK", "2", at=date(2026, 4, 30))
    uses(database, "RRK", "10", at=date(2026, 5, 3))
    rate_open_months(database, last=MAY, now=datetime(2026, 6, 1, tzinfo=UTC))
    with database.snapshot() as session:
        assert amounts(queries.taken(session, month=APRIL)) == [
            ("RA2", "2026-04", "2.00"),
            ("RRK", "2026-04", "10.50"),
        ]
        # April is invoiced but for what came late; May is not.
        assert amounts(queries.standing(session, month=MAY)) == [
            ("RRK", "2026-04", "1.00"),
            ("RRK", "2026-05", "5.00"),
        ]


def test_accruals_wait_for_the_first_working_day(database: Database) -> None:
    with database.snapshot() as session:
        # 1 August 2026 is a Saturday.
        for day, month in ((1, None), (2, None), (3, "2026-07")):
            due = operations.due(session, now=datetime(2026, 8, day, 6, 0, tzinfo=UTC))
            assert (None if due is None else str(due)) == month


def test_what_was_booked_never_changes(database: Database) -> None:
    service(database)
    trusts(database, "RRK")
    uses(database, "RRK", "21")
    jobs.take_accruals(database, now=FIRST)
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as session:
        session.execute(text("UPDATE accruals SET amount = 0"))
