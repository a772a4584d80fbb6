"""Setting budgets, and warning once when a share is reached."""

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.budgets import queries
from billing.budgets.model import PERS, SHARES, Basis, BudgetInvalid, Standing, checked_shares
from billing.budgets.tables import BudgetRow, BudgetWarningRow
from billing.money import to_pennies
from billing.notifications.operations import announce
from billing.tariffs import queries as tariffs
from metering.kit import audit
from metering.kit.errors import Conflict, FieldError, Invalid
from metering.kit.ids import new_id
from metering.periods import london_day


class BudgetExists(Conflict):
    """There is one budget at a time for the same thing and span; change that one."""

    code = "budget-exists"
    title = "There is such a budget"


class CostCentreInvalid(Invalid):
    """A budget's cost centre is named by 1 to 30 characters."""

    code = "cost-centre-invalid"
    title = "The cost centre is not valid"


def set_budget(
    session: Session,
    *,
    account_id: str,
    per: str,
    amount: Decimal,
    principal: str,
    now: datetime,
    tariff_code: str | None = None,
    cost_centre: str | None = None,
    shares: Iterable[int] = SHARES,
) -> BudgetRow:
    """Begin a budget, from the present month or financial year on.

    Args:
        per: `month` or `financial-year`.
        amount: pounds without VAT.
        tariff_code, cost_centre: what it is for, at most one; everything without.
        shares: percent of the amount at which to warn.

    Raises:
        AccountUnknown, TariffUnknown, BudgetInvalid, BudgetExists.
    """
    accounts.account(session, account_id=account_id)
    if tariff_code is not None:
        tariffs.tariff(session, code=tariff_code)
    if per not in PERS or (tariff_code is not None and cost_centre is not None):
        raise BudgetInvalid(
            "A budget is for a month or a financial year, and for one service or cost centre."
        )
    _check_amount(amount)
    made: BudgetRow | None = session.scalar(
        insert(BudgetRow)
        .values(
            account_id=account_id,
            id=new_id("bud", now=now),
            per=per,
            tariff_code=tariff_code,
            cost_centre=None if cost_centre is None else _named(cost_centre),
            amount=amount,
            shares=checked_shares(shares),
            set_by=principal,
            set_at=now,
        )
        .on_conflict_do_nothing()
        .returning(BudgetRow)
    )
    if made is None:
        raise BudgetExists("There is a budget for that already; change its amount instead.")
    _note(session, "set budget", made, principal, now, {"amount": str(amount), "per": per})
    return made


def change_budget(
    session: Session,
    *,
    account_id: str,
    budget_id: str,
    amount: Decimal,
    shares: Iterable[int],
    principal: str,
    now: datetime,
) -> BudgetRow:
    """Change a budget's amount and shares; warnings given already are not given again.

    Raises:
        BudgetUnknown, BudgetInvalid.
    """
    row = queries.budget(session, account_id=account_id, budget_id=budget_id)
    _check_amount(amount)
    before = row.amount
    row.amount, row.shares = amount, checked_shares(shares)
    session.flush()
    _note(
        session,
        "change budget",
        row,
        principal,
        now,
        {"before": str(before), "amount": str(amount), "shares": row.shares},
    )
    return row


def end_budget(
    session: Session, *, account_id: str, budget_id: str, principal: str, now: datetime
) -> None:
    """End a budget; its warnings stay on record.

    Raises:
        BudgetUnknown: see the class.
    """
    row = queries.budget(session, account_id=account_id, budget_id=budget_id)
    row.ended_at = now
    session.flush()
    _note(session, "end budget", row, principal, now, {})


def warn(session: Session, *, now: datetime) -> int:
    """Warn of every share that a budget has newly reached; return how many were announced.

    Each share of a span is recorded once and for all. Of several reached at once by the same
    basis only the largest is announced.
    """
    announced = 0
    for account_id, found in queries.all_standings(session, today=london_day(now)):
        new = _record(session, account_id, found, now)
        for basis in ("spent", "forecast"):
            shares = [(share, amount) for b, share, amount in new if b == basis]
            if not shares:
                continue
            share, amount = max(shares)
            announce(
                session,
                kind="budget.breached",
                subject_id=f"{found.budget_id}:{found.span.first}:{basis}:{share}",
                account_id=account_id,
                facts={
                    "budget_id": found.budget_id,
                    "month": str(found.span.month),
                    "basis": basis,
                    "threshold_percent": share,
                    "limit": found.amount,
                    "amount": amount,
                },
                now=now,
            )
            announced += 1
    return announced


def _record(
    session: Session, account_id: str, found: Standing, now: datetime
) -> Collection[tuple[Basis, int, Decimal]]:
    reached = found.reached()
    if not reached:
        return ()
    known = set(
        session.execute(
            select(BudgetWarningRow.basis, BudgetWarningRow.share_percent).where(
                BudgetWarningRow.account_id == account_id,
                BudgetWarningRow.budget_id == found.budget_id,
                BudgetWarningRow.starts_on == found.span.starts_on,
            )
        )
    )
    new = [item for item in reached if item[:2] not in known]
    if new:
        session.execute(
            insert(BudgetWarningRow).on_conflict_do_nothing(),
            [
                {
                    "account_id": account_id,
                    "budget_id": found.budget_id,
                    "starts_on": found.span.starts_on,
                    "basis": basis,
                    "share_percent": share,
                    "amount": amount,
                    "warned_at": now,
                }
                for basis, share, amount in new
            ],
        )
    return new


def _check_amount(amount: Decimal) -> None:
    if amount <= 0 or amount != to_pennies(amount):
        detail = "Enter an amount above nought in pounds and pence."
        raise BudgetInvalid(detail, errors=(FieldError("/amount", "amount", detail),))


def _named(cost_centre: str) -> str:
    name = cost_centre.strip()
    if not 1 <= len(name) <= 30:
        detail = "Enter a cost centre of at most 30 characters."
        raise CostCentreInvalid(detail, errors=(FieldError("/cost_centre", "length", detail),))
    return name


def _note(
    session: Session,
    action: str,
    row: BudgetRow,
    principal: str,
    now: datetime,
    facts: dict[str, Any],
) -> None:
    audit.record(
        session,
        now=now,
        principal=principal,
        action=action,
        object_kind="account",
        object_id=row.account_id,
        facts={"budget": row.id, "tariff": row.tariff_code, "cost_centre": row.cost_centre} | facts,
    )
