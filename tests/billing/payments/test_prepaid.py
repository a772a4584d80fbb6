"""Money paid in advance is drawn by itself, oldest first, when invoices are issued."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.ledger.tables import ReceivableRow
from billing.payments import prepaid
from billing.payments.conservation import check_books
from billing.payments.tables import PaymentRow
from metering.periods import london_day
from tests import make
from tests.billing.payments import makers

NOW = makers.ISSUED + timedelta(days=1)


@pytest.fixture
def trust(session: Session) -> AccountRow:
    make.source(session)
    make.meter(session)
    make.tariff(session)
    return makers.account(session)


def paid(
    session: Session, trust: AccountRow, amount: str, granted_on: date, **facts: date
) -> PaymentRow:
    row = makers.stripe_payment(session, trust, amount)
    prepaid.hold_as_prepaid(
        session,
        account_id=trust.id,
        payment_id=row.id,
        granted_on=granted_on,
        principal=makers.CLERK,
        now=NOW,
        **facts,
    )
    return row


def left(session: Session) -> list[str]:
    session.expire_all()
    rows = session.scalars(select(ReceivableRow).order_by(ReceivableRow.due_on)).all()
    return [str(row.total - row.allocated) for row in rows]


def draw(session: Session, trust: AccountRow) -> int:
    return prepaid.draw(session, account_id=trust.id, principal="job:clear", now=NOW)


def test_the_oldest_credit_pays_the_oldest_debt(session: Session, trust: AccountRow) -> None:
    younger = paid(session, trust, "100.00", date(2026, 4, 20))
    older = paid(session, trust, "50.00", date(2026, 4, 10))
    assert prepaid.to_draw(session) == []
    makers.issue(session, trust, "100.00")
    assert prepaid.to_draw(session) == [trust.id]
    # 120.00 with VAT: 50.00 of the older credit, then 70.00 of the younger.
    assert draw(session, trust) == 2
    assert left(session) == ["0.00"]
    makers.issue(session, trust, "50.00", now=NOW)
    assert draw(session, trust) == 1
    assert left(session) == ["0.00", "30.00"]
    session.refresh(older)
    session.refresh(younger)
    assert (older.allocated, younger.allocated) == (Decimal("50.00"), Decimal("100.00"))
    assert (prepaid.to_draw(session), draw(session, trust)) == ([], 0)
    assert check_books(session, on=london_day(NOW)) == ()


def test_credit_is_drawn_only_between_its_days(session: Session, trust: AccountRow) -> None:
    makers.issue(session, trust, "10.00")
    paid(session, trust, "5.00", date(2026, 4, 1), ends_on=date(2026, 5, 6))
    paid(session, trust, "5.00", date(2026, 5, 7))
    assert draw(session, trust) == 0
    assert left(session) == ["12.00"]


def test_a_payment_is_held_once_and_ends_after_it_begins(
    session: Session, trust: AccountRow
) -> None:
    row = paid(session, trust, "5.00", date(2026, 4, 1))
    with pytest.raises(prepaid.AlreadyPrepaid):
        prepaid.hold_as_prepaid(
            session, account_id=trust.id, payment_id=row.id, principal=makers.CLERK, now=NOW
        )
    with pytest.raises(prepaid.PrepaidDatesInvalid):
        paid(session, trust, "5.00", date(2026, 4, 1), ends_on=date(2026, 4, 1))


def test_credit_pays_nobody_elses_invoices(session: Session, trust: AccountRow) -> None:
    paid(session, trust, "50.00", date(2026, 4, 10))
    other = makers.account(session, code="RWE")
    makers.issue(session, other, "10.00")
    assert prepaid.to_draw(session) == []
    assert (draw(session, trust), draw(session, other)) == (0, 0)
