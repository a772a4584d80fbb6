"""Entries balance or are refused, by Python and by the database; nothing is posted twice."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.ledger import operations, queries
from billing.ledger.model import (
    DocumentKind,
    EntryKind,
    IssuedDocument,
    LedgerAccount,
    Posting,
    balance,
    document_postings,
    move,
    reverse,
)
from metering.kit.db import Database

NOW = datetime(2026, 5, 5, 9, 0, tzinfo=UTC)
DOCUMENT = IssuedDocument(
    account_id="acc_1",
    document_id="inv_1",
    number="PG-2627-000001",
    kind=DocumentKind.INVOICE,
    issued_on=date(2026, 5, 5),
    due_on=date(2026, 6, 4),
    net_by_service={"imaging-archive": Decimal("100.00"), "messaging": Decimal("50.00")},
    vat=Decimal("30.00"),
    total=Decimal("180.00"),
)


def test_an_invoice_debits_the_debt_and_credits_revenue_by_service_and_vat() -> None:
    postings = document_postings(DOCUMENT)

    assert [(p.ledger_account.value, p.service, str(p.amount)) for p in postings] == [
        ("receivable", "", "180.00"),
        ("revenue", "imaging-archive", "-100.00"),
        ("revenue", "messaging", "-50.00"),
        ("vat", "", "-30.00"),
    ]
    assert balance(postings) == 0
    assert balance((*postings, *reverse(postings))) == 0


def test_a_credit_note_does_the_opposite_and_waits_as_credit() -> None:
    postings = document_postings(replace(DOCUMENT, kind=DocumentKind.CREDIT_NOTE))

    assert postings[0].ledger_account is LedgerAccount.CREDIT
    assert postings[0].amount == Decimal("-180.00")
    assert balance(postings) == 0


def test_a_document_whose_parts_are_not_its_total_is_no_document() -> None:
    with pytest.raises(ValueError, match="do not make the total"):
        replace(DOCUMENT, vat=Decimal("29.99"))


def test_a_posting_of_part_of_a_penny_or_of_nothing_is_refused() -> None:
    for amount in (Decimal("0.005"), Decimal("0.00")):
        with pytest.raises(ValueError, match="cannot be posted"):
            Posting(ledger_account=LedgerAccount.CASH, amount=amount)


def _post(
    session: Session, subject: str = "x", amount: str = "5.00", *, now: datetime = NOW
) -> None:
    operations.post(
        session,
        kind=EntryKind.SET_ASIDE,
        subject_id=subject,
        description="Bank charge",
        postings=move(Decimal(amount), debit=LedgerAccount.OTHER, credit=LedgerAccount.CASH),
        principal="usr_clerk",
        now=now,
    )


def test_nothing_is_posted_twice(session: Session) -> None:
    _post(session)

    with pytest.raises(operations.AlreadyPosted):
        _post(session, amount="6.00")

    assert queries.trial_balance(session, on=date(2026, 5, 5)).debits == Decimal("5.00")


@pytest.mark.parametrize(
    "tampering",
    [
        # One-sided, a posting missing, and a balanced pair slipped in afterwards.
        "INSERT INTO ledger_postings VALUES ('{entry}', 3, 'cash', NULL, '', 1.00)",
        "INSERT INTO ledger_entries SELECT 'ent_2', 'receipt', 'y', NULL, posted_at, posted_on,"
        " '', 2, 5.00, 'me' FROM ledger_entries",
        "INSERT INTO ledger_postings VALUES ('{entry}', 3, 'cash', NULL, '', 1.00),"
        " ('{entry}', 4, 'other', NULL, '', -1.00)",
        "UPDATE ledger_postings SET amount = amount * 2",
        "DELETE FROM ledger_postings",
        "TRUNCATE ledger_entries CASCADE",
    ],
)
def test_the_database_itself_refuses_an_unbalanced_or_changed_ledger(
    database: Database, tampering: str
) -> None:
    with database.transaction() as session:
        _post(session)
        entry = session.scalar(text("SELECT id FROM ledger_entries"))

    with (
        pytest.raises(DBAPIError, match=r"does not balance|append-only"),
        database.transaction() as session,
    ):
        session.execute(text(tampering.format(entry=entry)))

    with database.snapshot() as session:
        assert queries.trial_balance(session, on=date(2026, 5, 5)).debits == Decimal("5.00")


def test_an_entry_belongs_to_the_london_day_on_which_it_is_posted(session: Session) -> None:
    operations.post(
        session,
        kind=EntryKind.SET_ASIDE,
        subject_id="late",
        description="Just after midnight in London",
        postings=move(Decimal("1.00"), debit=LedgerAccount.OTHER, credit=LedgerAccount.CASH),
        principal="usr_clerk",
        now=datetime(2026, 6, 30, 23, 30, tzinfo=UTC),
    )

    assert queries.trial_balance(session, on=date(2026, 6, 30)).debits == 0
    assert queries.trial_balance(session, on=date(2026, 7, 1)).debits == Decimal("1.00")


def test_a_clock_put_back_over_midnight_posts_into_no_day_that_was_moved_past(
    session: Session,
) -> None:
    for subject, instant in (
        ("before", datetime(2026, 4, 30, 22, 58, tzinfo=UTC)),
        ("after", datetime(2026, 4, 30, 23, 1, tzinfo=UTC)),
        ("put back", datetime(2026, 4, 30, 22, 59, tzinfo=UTC)),
        ("put back by days", datetime(2026, 4, 28, 9, 0, tzinfo=UTC)),
    ):
        _post(session, subject, now=instant)
    days = session.execute(text("SELECT subject_id, posted_on FROM ledger_entries")).all()
    assert {subject: day.isoformat() for subject, day in days} == {
        "before": "2026-04-30",
        "after": "2026-05-01",
        # April's journal may be out: what comes now belongs to May.
        "put back": "2026-05-01",
        "put back by days": "2026-04-28",
    }


def test_the_journal_of_a_period_carries_cost_codes(session: Session) -> None:
    operations.set_codes(session, codes={(LedgerAccount.CASH, ""): ("C1", "90100")})
    _post(session)

    lines = queries.journal(session, first_day=date(2026, 5, 1), end_day=date(2026, 6, 1))

    assert [(line.ledger_account, line.cost_centre, line.debit, line.credit) for line in lines] == [
        ("other", "UNCODED", Decimal("5.00"), Decimal("0.00")),
        ("cash", "C1", Decimal("0.00"), Decimal("5.00")),
    ]
    assert not queries.journal(session, first_day=date(2026, 6, 1), end_day=date(2026, 7, 1))
