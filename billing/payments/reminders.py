"""Reminders of invoices that are due: written once for each step, never of what is disputed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.accounts.queries import heirs
from billing.accounts.tables import AccountRow
from billing.disputes.queries import disputed_amounts
from billing.money import show_pounds
from billing.notifications.operations import announce
from billing.payments.debt import DisputedAmounts, OpenDebt, open_debts
from billing.payments.funds import note
from billing.payments.tables import ReminderRow, ReminderScheduleRow
from metering.kit.errors import Invalid
from metering.periods import london_day, show_date

USUAL_DAYS = (-5, 1, 14, 30)
"""Days after the due date; negative is before it."""


class ReminderDaysInvalid(Invalid):
    """A schedule has at most ten different steps, from 30 days before to 365 after the due date."""

    code = "reminder-days-invalid"
    title = "The reminder schedule is not valid"


@dataclass(frozen=True, kw_only=True)
class Due:
    """A reminder to write.

    Attributes:
        step: the step of the schedule that was reached, days after the due date.
        amount: what is open and not disputed.
    """

    debt: OpenDebt
    step: int
    amount: Decimal


def set_schedule(
    session: Session, *, account_id: str, days: Sequence[int], principal: str, now: datetime
) -> tuple[int, ...]:
    """Set when an account is reminded; no days at all means never.

    Raises:
        ReminderDaysInvalid: see the class.
    """
    steps = tuple(sorted(days))
    if len(set(steps)) != len(steps) or len(steps) > 10 or any(not -30 <= d <= 365 for d in steps):
        raise ReminderDaysInvalid(
            "Give at most ten different days, from -30 (before) to 365 (after the due date)."
        )
    values = {"days": list(steps), "changed_at": now, "changed_by": principal}
    session.execute(
        insert(ReminderScheduleRow)
        .values(account_id=account_id, **values)
        .on_conflict_do_update(index_elements=["account_id"], set_=values)
    )
    note(session, "set reminder schedule", account_id, principal, now, {"days": list(steps)})
    return steps


def schedule_of(session: Session, *, account_id: str) -> tuple[int, ...]:
    """Return the account's own schedule, or the usual one."""
    days = session.scalar(
        select(ReminderScheduleRow.days).where(ReminderScheduleRow.account_id == account_id)
    )
    return USUAL_DAYS if days is None else tuple(days)


def step_reached(schedule: Sequence[int], *, due_on: date, on: date) -> int | None:
    """Return the latest step of a schedule that is reached on a day, None before the first.

    >>> step_reached((-5, 1, 14), due_on=date(2026, 6, 4), on=date(2026, 6, 10))
    1
    """
    reached = [step for step in schedule if step <= (on - due_on).days]
    return max(reached, default=None)


def due(
    session: Session, *, on: date, disputed: DisputedAmounts = disputed_amounts
) -> Sequence[Due]:
    """Return the reminders to write on the London date `on`.

    Only the latest step is written when several have passed (nobody gets four letters on
    one day), and none where all that is open is disputed.
    """
    schedules = {
        row.account_id: tuple(row.days) for row in session.scalars(select(ReminderScheduleRow))
    }
    written: dict[tuple[str, str], int] = {}
    for account_id, invoice_id, last_step in session.execute(
        select(ReminderRow.account_id, ReminderRow.invoice_id, ReminderRow.step)
    ):
        key = (account_id, invoice_id)
        written[key] = max(last_step, written.get(key, last_step))
    found = []
    for debt in open_debts(session, on=on, disputed=disputed):
        schedule = schedules.get(debt.account_id, USUAL_DAYS)
        step = step_reached(schedule, due_on=debt.due_on, on=on)
        last = written.get((debt.account_id, debt.invoice_id))
        if step is None or (last is not None and step <= last) or debt.undisputed <= 0:
            continue
        found.append(Due(debt=debt, step=step, amount=debt.undisputed))
    return found


def write(session: Session, *, reminder: Due, now: datetime) -> ReminderRow | None:
    """Write one reminder and announce it in the same transaction; None when it was written."""
    account = session.get_one(AccountRow, reminder.debt.account_id)
    taken_over_by = heirs(session, account_id=account.id)
    if taken_over_by:
        # Whoever took the account over pays what it left open.
        account = taken_over_by[-1].account
    made = session.execute(
        insert(ReminderRow)
        .values(
            account_id=reminder.debt.account_id,
            invoice_id=reminder.debt.invoice_id,
            step=reminder.step,
            to=account.email,
            subject=subject_of(reminder),
            body=body_of(reminder, name=account.name, on=london_day(now)),
            written_at=now,
            sent_at=now,
        )
        .on_conflict_do_nothing()
        .returning(ReminderRow.account_id)
    ).first()
    if made is None:
        return None
    announce(
        session,
        kind="invoice.reminder",
        account_id=account.id,
        subject_id=f"{reminder.debt.invoice_id}:{reminder.step}",
        facts={
            "invoice_id": reminder.debt.invoice_id,
            "number": reminder.debt.number,
            "amount": reminder.amount,
            "disputed": reminder.debt.disputed,
            "due_on": reminder.debt.due_on,
            "days_overdue": reminder.debt.days_overdue,
        },
        now=now,
    )
    key = (reminder.debt.account_id, reminder.debt.invoice_id, reminder.step)
    return session.get_one(ReminderRow, key)


def subject_of(reminder: Due) -> str:
    """Return the subject line."""
    if reminder.step <= 0:
        return f"Invoice {reminder.debt.number} is due on {show_date(reminder.debt.due_on)}"
    return f"Invoice {reminder.debt.number} is overdue"


def body_of(reminder: Due, *, name: str, on: date) -> str:
    """Return the letter, in plain text."""
    debt = reminder.debt
    if on > debt.due_on:
        when = f"was due on {show_date(debt.due_on)}, {(on - debt.due_on).days} days ago"
    else:
        when = f"is due on {show_date(debt.due_on)}"
    lines = [
        f"To the finance team of {name}",
        "",
        f"{show_pounds(reminder.amount)} of invoice {debt.number}, issued on "
        f"{show_date(debt.issued_on)}, {when}.",
    ]
    if debt.disputed:
        lines.append(
            f"The {show_pounds(debt.disputed)} that you have queried is not part of this reminder."
        )
    lines += [
        "",
        f"Please pay it quoting {debt.number}. If you have paid in the last few days, "
        "thank you; there is nothing more to do.",
        "If something on the invoice is wrong, raise a query on its page, "
        "and we will stop reminding you of that part.",
    ]
    return "\n".join(lines) + "\n"
