"""Budgets in pounds: what is spent, what is foretold, and one warning for each share."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from billing.accounts.allocating import set_allocation
from billing.accounts.allocation import CostShare
from billing.accounts.tables import AccountRow
from billing.budgets import operations, queries
from billing.budgets.model import BudgetInvalid
from billing.budgets.tables import BudgetRow
from billing.charges.operations import rate_charges
from billing.forecasts.operations import make_forecasts
from billing.notifications.tables import AnnouncementRow
from metering.periods import Month
from tests import make

MAY, JUNE = Month(2026, 5), Month(2026, 6)
NOW = datetime(2026, 6, 15, 6, 0, tzinfo=UTC)
TODAY = date(2026, 6, 15)


@pytest.fixture
def trust(session: Session) -> AccountRow:
    """A trust that used 10 a day, 5.00 a day, from 1 May to 14 June."""
    make.source(session)
    make.meter(session)
    make.tariff(session)
    trust = make.account(session)
    make.agreement(session, account=trust)
    for offset in range(45):
        make.usage(session, quantity="10", at=date(2026, 5, 1) + timedelta(days=offset))
    for month in (MAY, JUNE):
        rate_charges(session, month=month, now=NOW)
    make_forecasts(session, now=NOW)
    return trust


def budget(session: Session, trust: AccountRow, amount: str, **facts: object) -> BudgetRow:
    return operations.set_budget(
        session,
        account_id=trust.id,
        per=str(facts.pop("per", "month")),
        amount=Decimal(amount),
        principal="usr_editor",
        now=NOW,
        **facts,  # type: ignore[arg-type] - a maker's
    )


def told(session: Session) -> list[tuple[str, int, str]]:
    rows = session.scalars(select(AnnouncementRow).order_by(AnnouncementRow.id)).all()
    return sorted(
        (row.facts["basis"], row.facts["threshold_percent"], row.facts["amount"]) for row in rows
    )


def test_a_month_half_spent_and_foretold_to_pass(session: Session, trust: AccountRow) -> None:
    made = budget(session, trust, "130.00")
    (found,) = queries.standings(session, today=TODAY, account_id=trust.id)
    assert (str(found.spent), str(found.forecast), str(found.left)) == ("70.00", "150.00", "60.00")
    assert (found.spent_percent, found.colour) == (53, "orange")
    assert found.words == (
        "£70.00 of £130.00 (53%) is spent in June 2026, and the forecast is £20.00 above the "
        "budget."
    )
    assert operations.warn(session, now=NOW) == 2
    assert told(session) == [("forecast", 100, "150.00"), ("spent", 50, "70.00")]
    assert operations.warn(session, now=NOW + timedelta(hours=1)) == 0
    assert {(w.basis, w.share_percent) for w in queries.warnings(session, account_id=trust.id)} == {
        ("spent", 50),
        ("forecast", 100),
    }
    operations.change_budget(
        session,
        account_id=trust.id,
        budget_id=made.id,
        amount=Decimal("60.00"),
        shares=[50, 80, 100],
        principal="usr_editor",
        now=NOW,
    )
    # Two more shares at once are one message.
    assert operations.warn(session, now=NOW + timedelta(hours=2)) == 1
    assert told(session)[-1] == ("spent", 100, "70.00")


def test_a_financial_year_counts_earlier_months_and_those_to_come(
    session: Session, trust: AccountRow
) -> None:
    budget(session, trust, "2000.00", per="financial-year")
    (found,) = queries.standings(session, today=TODAY, account_id=trust.id)
    assert found.span.name == "2026/27"
    # May's 155.00 and June's 70.00; then June's 150.00 in each of ten months.
    assert (str(found.spent), str(found.forecast)) == ("225.00", "1655.00")


def allocate(session: Session, trust: AccountRow, *shares: tuple[str, str], **facts: Any) -> None:
    set_allocation(
        session,
        account_id=trust.id,
        tariff_code="imaging-archive",
        shares=[
            CostShare(cost_centre=centre, subjective_code=None, percent=Decimal(percent))
            for centre, percent in shares
        ],
        principal="usr_editor",
        now=NOW,
        **{"starts_on": date(2026, 4, 1)} | facts,
    )


def test_a_cost_centre_bears_its_share_of_what_is_allocated(
    session: Session, trust: AccountRow
) -> None:
    def spent() -> str:
        (found,) = queries.standings(session, today=TODAY, account_id=trust.id)
        assert found.scope == "RAD 1"
        return f"{found.spent} {found.forecast}"

    budget(session, trust, "100.00", cost_centre="RAD 1")
    assert spent() == "0.00 0.00"
    allocate(session, trust, ("RAD 1", "100"))
    whole = spent()
    assert whole.startswith("70.00 ")
    # 50 in the hundred are passed, and the forecast is above the budget.
    operations.warn(session, now=NOW)
    said = [(basis, share) for basis, share, _ in told(session)]
    assert said == [("forecast", 100), ("spent", 50)]
    allocate(session, trust, ("RAD 1", "30"), ("RAD 2", "70"), meter="studies-archived")
    # 30% of June's 70.00, and of what is expected.
    assert spent() == f"21.00 {Decimal(whole.split()[1]) * 30 / 100:.2f}"
    allocate(session, trust, ("RAD 2", "100"), meter="studies-archived", starts_on=date(2026, 6, 1))
    assert spent() == "0.00 0.00"


def test_a_years_budget_follows_the_rule_of_each_month(session: Session, trust: AccountRow) -> None:
    budget(session, trust, "2000.00", per="financial-year", cost_centre="RAD 1")
    allocate(session, trust, ("RAD 1", "50"), ("RAD 2", "50"))
    allocate(session, trust, ("RAD 1", "100"), starts_on=date(2026, 6, 1))
    (found,) = queries.standings(session, today=TODAY, account_id=trust.id)
    # Half of May's 155.00, and all of June's 70.00.
    assert str(found.spent) == "147.50"


def test_budgets_that_cannot_be(session: Session, trust: AccountRow) -> None:
    made = budget(session, trust, "100.00", tariff_code="imaging-archive")
    with pytest.raises(operations.BudgetExists):
        budget(session, trust, "90.00", tariff_code="imaging-archive")
    with pytest.raises(BudgetInvalid):
        budget(session, trust, "0.00")
    with pytest.raises(BudgetInvalid):
        budget(session, trust, "1.00", shares=[0])
    with pytest.raises(BudgetInvalid):
        budget(session, trust, "1.00", per="week")
    operations.end_budget(
        session, account_id=trust.id, budget_id=made.id, principal="usr_editor", now=NOW
    )
    assert queries.standings(session, today=TODAY, account_id=trust.id) == []
    assert operations.warn(session, now=NOW) == 0
    budget(session, trust, "90.00", tariff_code="imaging-archive")


def test_the_standings_of_one_account_read_no_other(session: Session, trust: AccountRow) -> None:
    other = make.account(session, code="RA2")
    budget(session, trust, "100")
    budget(session, other, "100")
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    event.listen(session.get_bind(), "before_cursor_execute", note)
    try:
        found = queries.all_standings(session, today=TODAY, account_ids=[trust.id])
    finally:
        event.remove(session.get_bind(), "before_cursor_execute", note)
    assert [account_id for account_id, _ in found] == [trust.id]
    assert len(queries.all_standings(session, today=TODAY)) == 2
    assert len(said) >= 3
    assert all("account_id IN" in statement for statement in said)
