"""A trust queries a line, and what comes of it."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from billing.disputes import operations, queries
from billing.disputes.model import DisputeStatus, Side
from billing.disputes.queries import disputed_amounts
from billing.disputes.tables import DisputeRow
from billing.invoices import queries as invoices
from billing.invoices.credit_notes import NotCreditable
from billing.invoices.model import Invoice
from billing.notifications.tables import AnnouncementRow
from billing.payments import reminders
from billing.payments.debt import aged_debt, open_debts
from billing.payments.statements import statement_of_account
from metering.kit.db import Database
from tests import make
from tests.scenarios import story
from tests.scenarios.story import APRIL, JUNE, MAY, amounts, month_end, trusts, uses

NOW = story.after(APRIL) + timedelta(days=1)
TRUST, CENTRAL = "usr_trust", "usr_central"


@pytest.fixture
def invoice(database: Database) -> Invoice:
    """100 of one and 10 of another: 50.00 and 5.00, 66.00 with VAT."""
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        make.meter(session, code="recalls")
        make.tariff(session, make.price(), make.price(meter="recalls"))
    trusts(database, "RRK", "RA7")
    uses(database, "RRK", "100")
    uses(database, "RRK", "10", meter="recalls")
    uses(database, "RA7", "1")
    return month_end(database, APRIL)["RRK"][0]


def line_of(invoice: Invoice, quantity: int) -> int:
    return next(line.number for line in invoice.lines if line.quantity == quantity)


def query(session: Session, invoice: Invoice, **facts: object) -> DisputeRow:
    said: dict[str, object] = {
        "reason": "quantity",
        "text": "We make it 90: see the register of 30 April.",
        "principal": TRUST,
        "now": NOW,
        "line_number": line_of(invoice, 100),
        **facts,
    }
    return operations.raise_dispute(
        session,
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        **said,  # type: ignore[arg-type]  # facts of the query under test
    )


def test_a_queried_line_is_held_back_from_reminders_until_it_is_decided(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        query(session, invoice)
    after_due = invoice.due_on + timedelta(days=2)
    with database.snapshot() as session:
        (debt,) = open_debts(
            session, on=after_due, account_id=invoice.account_id, disputed=disputed_amounts
        )
        assert (debt.outstanding, debt.disputed) == (Decimal("66.00"), Decimal("60.00"))
        (aged,) = aged_debt(
            session, on=after_due, account_id=invoice.account_id, disputed=disputed_amounts
        )
        assert aged.disputed == Decimal("60.00")
        due = {one.debt.number: one.amount for one in reminders.due(
            session, on=after_due, disputed=disputed_amounts
        )}  # fmt: skip
        assert due[invoice.number or ""] == Decimal("6.00")
        statement = statement_of_account(
            session,
            account_id=invoice.account_id,
            first_day=date(2026, 5, 1),
            end_day=after_due,
            disputed=disputed_amounts,
        )
        assert [debt.disputed for debt in statement.open_invoices] == [Decimal("60.00")]


def test_nobody_is_reminded_of_an_invoice_that_is_queried_whole(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        query(session, invoice, line_number=None, reason="duplicate")
        query(session, invoice)
    with database.snapshot() as session:
        due = reminders.due(
            session, on=invoice.due_on + timedelta(days=2), disputed=disputed_amounts
        )
        assert invoice.number not in [one.debt.number for one in due]
        assert disputed_amounts(session, account_id="acc_other") == {}


def test_the_central_team_credits_what_was_queried(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice, quantity=Decimal(10))
        assert dispute.amount == Decimal("6.00")
        note_id = operations.credit_dispute(
            session,
            account_id=invoice.account_id,
            dispute_id=dispute.id,
            text="You are right: ten were counted twice.",
            basis="concession",
            principal=CENTRAL,
            now=NOW,
        )
    with database.snapshot() as session:
        note = invoices.invoice(session, account_id=invoice.account_id, invoice_id=note_id)
        assert amounts(note) == ("5.00", "1.00", "6.00")
        assert note.credit_reason == "You are right: ten were counted twice."
        found = queries.dispute(session, dispute_id=dispute.id, account_id=invoice.account_id)
        assert (found.status, found.credit_number) == (DisputeStatus.CREDITED, note.number)
        assert (found.line_words, found.respond_by) == ("Studies archived", None)
        assert [message.side for message in found.messages] == [Side.TRUST, Side.CENTRAL]
        assert disputed_amounts(session, account_id=invoice.account_id) == {}
    # Conceded, so never asked for again.
    assert "RRK" not in month_end(database, MAY)


def test_a_whole_invoice_is_credited_to_be_invoiced_again(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice, line_number=None, reason="order")
        operations.credit_dispute(
            session,
            account_id=invoice.account_id,
            dispute_id=dispute.id,
            text="We send it again with your order.",
            basis="rebill",
            principal=CENTRAL,
            now=NOW,
        )
    (again,) = month_end(database, MAY)["RRK"]
    assert amounts(again) == amounts(invoice) == ("55.00", "11.00", "66.00")
    assert "RRK" not in month_end(database, JUNE)


def test_an_explanation_makes_it_owed_again(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice)
        operations.explain_dispute(
            session,
            account_id=invoice.account_id,
            dispute_id=dispute.id,
            text="The register leaves out the night of the 29th.",
            principal=CENTRAL,
            now=NOW,
        )
    with database.snapshot() as session:
        assert disputed_amounts(session, account_id=None) == {}
        (told,) = session.query(AnnouncementRow).filter_by(kind="dispute.answered")
        assert told.facts["outcome"] == "explained"
        assert told.facts["number"] == invoice.number


def test_questions_stop_the_timer_and_answers_start_it_again(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice)
        # 6 May is a Wednesday: five working days on is the next one.
        assert dispute.respond_by == date(2026, 5, 13)
        say = {"account_id": invoice.account_id, "dispute_id": dispute.id}
        operations.write_message(
            session, **say, side=Side.CENTRAL, text="Which day?", principal=CENTRAL, now=NOW
        )
        assert (dispute.status, dispute.respond_by) == ("waiting", None)
        later = NOW + timedelta(days=15)
        operations.write_message(
            session, **say, side=Side.TRUST, text="The 12th.", principal=TRUST, now=later
        )
        # 21 May: the bank holiday of 25 May does not count.
        assert (dispute.status, dispute.respond_by) == ("open", date(2026, 5, 29))
        assert [one.id for one in queries.late(session, today=date(2026, 5, 30))] == [dispute.id]
        assert queries.late(session, today=date(2026, 5, 29)) == []


def test_what_is_withdrawn_or_decided_is_closed_for_good(
    database: Database, invoice: Invoice
) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice)
        with pytest.raises(operations.DisputeOpenAlready):
            query(session, invoice)
        operations.withdraw_dispute(
            session,
            account_id=invoice.account_id,
            dispute_id=dispute.id,
            principal=TRUST,
            now=NOW,
        )
        with pytest.raises(operations.DisputeClosed):
            operations.explain_dispute(
                session,
                account_id=invoice.account_id,
                dispute_id=dispute.id,
                text="No.",
                principal=CENTRAL,
                now=NOW,
            )
        assert query(session, invoice).id != dispute.id
        assert queries.counts(session)[DisputeStatus.WITHDRAWN] == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"reason": "mood"},
        {"text": "  "},
        {"text": "x" * 4_001},
        {"line_number": 9},
        {"quantity": Decimal(101)},
        {"quantity": Decimal(0)},
    ],
)
def test_a_query_is_refused_where_it_says_too_little(
    database: Database, invoice: Invoice, facts: dict[str, object]
) -> None:
    with database.transaction() as session, pytest.raises(operations.DisputeInvalid):
        query(session, invoice, **facts)


def test_no_patient_is_named_in_a_query(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice, text="The scan of 943 476 5919 is not ours")
        found = queries.dispute(session, dispute_id=dispute.id)
        assert found.messages[0].text == "The scan of ********** is not ours"


def test_another_trusts_query_is_not_found(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice)
        with pytest.raises(queries.DisputeUnknown):
            queries.dispute(session, dispute_id=dispute.id, account_id="acc_other")
        with pytest.raises(queries.DisputeUnknown):
            operations.withdraw_dispute(
                session, account_id="acc_other", dispute_id=dispute.id, principal=TRUST, now=NOW
            )


def test_a_credit_note_is_not_queried(database: Database, invoice: Invoice) -> None:
    with database.transaction() as session:
        dispute = query(session, invoice)
        note_id = operations.credit_dispute(
            session,
            account_id=invoice.account_id,
            dispute_id=dispute.id,
            text="Agreed",
            basis="concession",
            principal=CENTRAL,
            now=NOW,
        )
        note = invoices.invoice(session, account_id=invoice.account_id, invoice_id=note_id)
        with pytest.raises(NotCreditable):
            query(session, note, line_number=1)
        with pytest.raises(operations.DisputeInvalid, match="Nothing is left"):
            query(session, invoice)
