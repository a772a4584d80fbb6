"""Statements of account, aged debt, prompt payment, reminders, settlements, the journal."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.disputes.queries import disputed_amounts
from billing.invoices.tables import InvoiceRow
from billing.ledger import queries as ledger
from billing.notifications import messages
from billing.notifications.tables import AnnouncementRow
from billing.payments import debt, operations, reminders, statements
from billing.payments.tables import PaymentRow, ReminderRow
from metering.periods import Month
from tests.billing.payments import makers

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)
BY = {"principal": makers.CLERK, "now": NOW}


@pytest.fixture
def trust(session: Session) -> AccountRow:
    return makers.account(session)


def _pay(session: Session, payment: PaymentRow, invoice: InvoiceRow, amount: str) -> None:
    operations.allocate(
        session,
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        payment_id=payment.id,
        amount=Decimal(amount),
        **BY,
    )


def _disputes(**amounts: str) -> debt.DisputedAmounts:
    def disputed(session: Session, *, account_id: str | None) -> Mapping[str, Decimal]:
        return {invoice: Decimal(amount) for invoice, amount in amounts.items()}

    return disputed


def test_a_statement_shows_what_changed_the_balance_and_not_how_it_was_spread(
    session: Session, trust: AccountRow
) -> None:
    april = makers.issue(session, trust, "100.00", now=datetime(2026, 4, 7, 9, 0, tzinfo=UTC))
    may = makers.issue(session, trust, "50.00")
    payment = makers.stripe_payment(session, trust, "150.00", reference="BACS 7")
    _pay(session, payment, april, "120.00")
    _pay(session, payment, may, "30.00")
    makers.issue(session, trust, "10.00", credits_invoice=may, now=NOW)

    statement = statements.statement_of_account(
        session, account_id=trust.id, first_day=date(2026, 5, 1), end_day=date(2026, 6, 1)
    )

    assert statement.opening == Decimal("120.00")
    assert [
        (row.movement.description, str(row.movement.amount), str(row.balance))
        for row in statement.movements
    ] == [
        (f"Invoice {may.number}", "60.00", "180.00"),
        ("Payment received BACS 7", "-150.00", "30.00"),
        (statement.movements[2].movement.description, "-12.00", "18.00"),
    ]
    assert statement.closing == Decimal("18.00")
    assert [(one.number, one.outstanding) for one in statement.open_invoices] == [
        (may.number, Decimal("30.00"))
    ]


def test_debt_by_age_and_what_is_disputed_of_it(session: Session, trust: AccountRow) -> None:
    for days_ago, net in ((10, "1.00"), (31, "10.00"), (75, "100.00"), (200, "1000.00")):
        makers.issue(session, trust, net, now=NOW - timedelta(days=days_ago))
    queried = makers.issue(session, trust, "5.00", now=NOW - timedelta(days=90))

    (aged,) = debt.aged_debt(
        session, on=date(2026, 5, 21), disputed=_disputes(**{queried.id: "6.00", "inv_x": "9.00"})
    )

    assert [str(amount) for amount in aged.by_bucket.values()] == [
        "1.20",
        "12.00",
        "126.00",
        "0.00",
        "1200.00",
    ]
    assert aged.disputed == Decimal("6.00")
    assert aged.total == Decimal("1339.20")


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (0, "not due"),
        (1, "1 to 30"),
        (30, "1 to 30"),
        (31, "31 to 60"),
        (90, "61 to 90"),
        (91, "over 90"),
    ],
)
def test_ages_meet_without_gap_or_overlap(days: int, bucket: str) -> None:
    assert debt.bucket_of(days) == bucket


def test_debt_at_an_earlier_day_leaves_out_what_was_paid_later(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, "100.00")
    _pay(session, makers.stripe_payment(session, trust, "120.00"), invoice, "120.00")

    assert not debt.open_debts(session, on=date(2026, 5, 21))
    (before,) = debt.open_debts(session, on=date(2026, 5, 20))
    assert before.outstanding == Decimal("120.00")
    assert not debt.open_debts(session, on=date(2026, 5, 4))


def test_prompt_payment_counts_when_the_money_came_not_when_it_was_matched(
    session: Session, trust: AccountRow
) -> None:
    prompt, late = makers.issue(session, trust, "100.00"), makers.issue(session, trust, "300.00")
    on_day_30 = makers.stripe_payment(session, trust, "120.00", received_on=date(2026, 6, 4))
    on_day_31 = makers.stripe_payment(session, trust, "360.00", received_on=date(2026, 6, 5))
    _pay(session, on_day_30, prompt, "120.00")
    _pay(session, on_day_31, late, "360.00")
    makers.issue(session, trust, "7.00")
    written_off = makers.issue(session, trust, "1.00")
    operations.write_off(
        session,
        account_id=trust.id,
        invoice_id=written_off.id,
        amount=Decimal("1.20"),
        reason="small",
        **BY,
    )

    (figures,) = debt.prompt_payment(session, first_day=date(2026, 6, 1), end_day=date(2026, 7, 1))

    assert (figures.paid_count, figures.prompt_count) == (2, 1)
    assert figures.share_by_count == Fraction(1, 2)
    assert figures.share_by_value == Fraction(1, 4)
    assert (figures.unpaid_overdue_count, figures.unpaid_overdue_value) == (1, Decimal("8.40"))
    assert debt.together([figures, figures]).paid_count == 4
    assert debt.together([]).share_by_count is None


def test_what_a_service_earned_and_what_of_it_was_collected(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, {"imaging-archive": "100.00", "messaging": "50.00"})
    paid_in_full = makers.issue(session, trust, {"messaging": "33.33"})
    makers.issue(session, trust, {"messaging": "10.00"}, credits_invoice=invoice)
    payment = makers.stripe_payment(session, trust, "1000.00")
    _pay(session, payment, invoice, "60.00")
    _pay(session, payment, paid_in_full, "40.00")

    archive, messaging = statements.supplier_settlement(
        session, month=Month(2026, 5), on=date(2026, 5, 31)
    )

    assert (archive.service, archive.owed, archive.collected) == (
        "imaging-archive",
        Decimal("100.00"),
        Decimal("33.33"),
    )
    assert (messaging.invoiced, messaging.credited, messaging.earned, messaging.collected) == (
        Decimal("83.33"),
        Decimal("10.00"),
        Decimal("73.33"),
        Decimal("50.00"),
    )


def test_reminders_are_written_once_for_each_step_and_only_the_latest(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, "100.00")  # due on 4 June
    makers.account(session, "RWE")

    def run(on: date, disputed: debt.DisputedAmounts = disputed_amounts) -> list[int]:
        now = datetime(on.year, on.month, on.day, 8, 0, tzinfo=UTC)
        found = reminders.due(session, on=on, disputed=disputed)
        for one in found:
            reminders.write(session, reminder=one, now=now)
        return [one.step for one in found]

    assert run(date(2026, 5, 29)) == []
    assert run(date(2026, 5, 30)) == [-5]
    assert run(date(2026, 5, 30)) == []
    assert run(date(2026, 6, 4)) == []
    assert run(date(2026, 6, 30), _disputes(**{invoice.id: "120.00"})) == []
    assert run(date(2026, 6, 30), _disputes(**{invoice.id: "20.00"})) == [14]
    assert run(date(2026, 6, 30)) == []

    first, second = session.scalars(select(ReminderRow).order_by(ReminderRow.step))
    assert first.subject == f"Invoice {invoice.number} is due on 4 June 2026"
    assert second.subject == f"Invoice {invoice.number} is overdue"
    assert "£100.00 of invoice" in second.body
    assert "was due on 4 June 2026, 26 days ago" in second.body
    assert "The £20.00 that you have queried is not part" in second.body
    told = session.scalars(
        select(AnnouncementRow).where(AnnouncementRow.kind == "invoice.reminder")
    ).all()
    assert sorted(row.subject_id for row in told) == [f"{invoice.id}:-5", f"{invoice.id}:14"]
    letter = messages.write(
        "invoice.reminder",
        next(row.facts for row in told if row.subject_id.endswith(":14")),
        owner_name=trust.name,
        public_url=None,
    )
    assert letter.subject == second.subject
    assert "£100.00" in letter.text
    assert "£20.00" in letter.text


def test_an_account_may_have_its_own_schedule_or_none(session: Session, trust: AccountRow) -> None:
    makers.issue(session, trust, "100.00")
    day_after = date(2026, 6, 5)
    assert [one.step for one in reminders.due(session, on=day_after)] == [1]

    reminders.set_schedule(session, account_id=trust.id, days=[], **BY)
    assert not reminders.due(session, on=day_after)
    reminders.set_schedule(session, account_id=trust.id, days=[7, 0], **BY)
    assert reminders.schedule_of(session, account_id=trust.id) == (0, 7)
    assert [one.step for one in reminders.due(session, on=day_after)] == [0]
    for days in ([1, 1], [-31], [366], list(range(11))):
        with pytest.raises(reminders.ReminderDaysInvalid):
            reminders.set_schedule(session, account_id=trust.id, days=days, **BY)


def test_nobody_is_reminded_of_what_is_paid(session: Session, trust: AccountRow) -> None:
    invoice = makers.issue(session, trust, "100.00")
    _pay(session, makers.stripe_payment(session, trust, "120.00"), invoice, "120.00")

    assert not reminders.due(session, on=date(2026, 6, 30))


def test_the_journal_of_a_month_balances(session: Session, trust: AccountRow) -> None:
    invoice = makers.issue(session, trust, {"imaging-archive": "100.00", "messaging": "50.00"})
    _pay(session, makers.stripe_payment(session, trust, "180.00"), invoice, "180.00")

    lines = ledger.journal(session, first_day=date(2026, 5, 1), end_day=date(2026, 6, 1))

    assert sum(line.debit for line in lines) == sum(line.credit for line in lines) == 540
    rows = statements.journal_rows(lines)
    assert {len(row) for row in rows} == {len(statements.JOURNAL_HEADER)}
    assert [row[4] for row in rows if row[2] == "invoice"] == [
        "receivable",
        "revenue",
        "revenue",
        "vat",
    ]
