"""Allocating, over- and underpaying, crediting, refunding, writing off and undoing."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.invoices.tables import InvoiceRow
from billing.ledger import queries as ledger
from billing.ledger.model import LedgerAccount
from billing.ledger.tables import ReceivableRow
from billing.payments import funds, operations, refunds
from billing.payments.conservation import check_books
from billing.payments.tables import AllocationRow, PaymentRow
from tests.billing.payments import makers

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)
TODAY = date(2026, 5, 21)


@pytest.fixture
def trust(session: Session) -> AccountRow:
    return makers.account(session)


def _allocate(
    session: Session, payment: PaymentRow, invoice: InvoiceRow, amount: str
) -> AllocationRow:
    return operations.allocate(
        session,
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        payment_id=payment.id,
        amount=Decimal(amount),
        principal=makers.CLERK,
        now=NOW,
    )


def _outstanding(session: Session, invoice: InvoiceRow) -> Decimal:
    row = session.get_one(ReceivableRow, (invoice.account_id, invoice.id))
    session.refresh(row)
    return funds.left_of(row)


def _balance(session: Session, account: LedgerAccount) -> Decimal:
    return ledger.trial_balance(session, on=TODAY).balances[account]


def test_an_invoice_is_settled_when_payments_cover_it(session: Session, trust: AccountRow) -> None:
    invoice = makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, trust, "120.00")

    _allocate(session, payment, invoice, "50.00")
    session.refresh(invoice)
    assert invoice.status == "issued"
    assert _outstanding(session, invoice) == Decimal("70.00")
    _allocate(session, payment, invoice, "70.00")
    session.refresh(invoice)

    assert invoice.status == "settled"
    assert _balance(session, LedgerAccount.RECEIVABLE) == 0
    assert _balance(session, LedgerAccount.STRIPE) == Decimal("120.00")
    assert not check_books(session, on=TODAY)


def test_undoing_opens_the_invoice_again_and_leaves_a_trail(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, trust, "120.00")
    made = _allocate(session, payment, invoice, "120.00")

    operations.undo_allocation(
        session,
        account_id=trust.id,
        allocation_id=made.id,
        reason="wrong invoice",
        principal=makers.CLERK,
        now=NOW,
    )

    session.refresh(invoice)
    assert invoice.status == "issued"
    assert _outstanding(session, invoice) == Decimal("120.00")
    assert funds.left_of(payment) == Decimal("120.00")
    assert not check_books(session, on=TODAY)
    with pytest.raises(operations.AlreadyUndone):
        operations.undo_allocation(
            session,
            account_id=trust.id,
            allocation_id=made.id,
            reason="again",
            principal=makers.CLERK,
            now=NOW,
        )


def test_neither_invoice_nor_payment_is_used_beyond_its_amount(
    session: Session, trust: AccountRow
) -> None:
    small, large = makers.issue(session, trust, "10.00"), makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, trust, "50.00")

    with pytest.raises(operations.MoreThanOutstanding, match=r"leaves £12\.00 open"):
        _allocate(session, payment, small, "12.01")
    with pytest.raises(funds.MoreThanAvailable, match=r"£50\.00 is left"):
        _allocate(session, payment, large, "50.01")
    for bad in ("0.00", "-1.00", "0.001"):
        with pytest.raises(funds.NotWholePennies):
            _allocate(session, payment, large, bad)


def test_the_database_refuses_to_allocate_twice_even_without_our_checks(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, trust, "500.00")
    _allocate(session, payment, invoice, "120.00")
    copy = (
        "INSERT INTO allocations SELECT account_id, 'alc_copy', invoice_id, kind, payment_id,"
        " credit_note_id, {amount}, undoes, effective_on, reason, made_at, made_by"
        " FROM allocations"
    )
    for statement, refusal in (
        (copy.format(amount="0.01"), "never_more_than_total"),
        (copy.format(amount="-0.01"), "negative_undoes"),
        ("UPDATE receivables SET allocated = 0", "cannot be changed"),
        ("UPDATE payments SET allocated = 0", "cannot be changed"),
        ("UPDATE payments SET amount = 1000", "cannot be changed"),
        ("UPDATE allocations SET amount = 1", "append-only"),
        ("DELETE FROM payments", "cannot be changed"),
        ("DELETE FROM allocations", "append-only"),
        ("UPDATE payments SET reversed_at = made_at", "reversed_is_unused"),
    ):
        with pytest.raises(DBAPIError, match=refusal), session.begin_nested():
            session.execute(text(statement))


def test_a_credit_note_is_set_against_its_invoice_and_the_rest_refunded(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, trust, "110.00")
    _allocate(session, payment, invoice, "110.00")
    note = makers.issue(session, trust, "25.00", credits_invoice=invoice, now=NOW)
    assert _balance(session, LedgerAccount.CREDIT) == Decimal("-30.00")

    operations.allocate(
        session,
        account_id=trust.id,
        invoice_id=invoice.id,
        credit_note_id=note.id,
        amount=Decimal("10.00"),
        principal=makers.CLERK,
        now=NOW,
    )
    refund = refunds.request_refund(
        session,
        account_id=trust.id,
        credit_note_id=note.id,
        amount=Decimal("20.00"),
        reason="overcharged",
        principal=makers.CLERK,
        now=NOW,
    )
    with pytest.raises(funds.MoreThanAvailable):
        refunds.request_refund(
            session,
            account_id=trust.id,
            credit_note_id=note.id,
            amount=Decimal("0.01"),
            reason="again",
            principal=makers.CLERK,
            now=NOW,
        )
    refunds.finish_refund(
        session,
        account_id=trust.id,
        refund_id=refund.id,
        sent=True,
        principal=makers.CLERK,
        now=NOW,
    )

    session.refresh(invoice)
    assert invoice.status == "settled"
    assert refund.via == "bank"
    assert _balance(session, LedgerAccount.CREDIT) == 0
    assert not check_books(session, on=TODAY)


def test_a_refund_that_fails_frees_its_amount(session: Session, trust: AccountRow) -> None:
    payment = makers.stripe_payment(session, trust, "40.00")
    refund = refunds.request_refund(
        session,
        account_id=trust.id,
        payment_id=payment.id,
        amount=Decimal("40.00"),
        reason="paid twice",
        principal=makers.CLERK,
        now=NOW,
    )
    assert refund.via == "stripe"
    assert funds.left_of(payment) == 0
    for sent in (True, False):
        refunds.finish_refund(
            session,
            account_id=trust.id,
            refund_id=refund.id,
            sent=sent,
            principal=makers.CLERK,
            now=NOW,
        )

    assert funds.left_of(payment) == Decimal("40.00")
    assert not check_books(session, on=TODAY)
    with pytest.raises(refunds.RefundFinished):
        refunds.finish_refund(
            session,
            account_id=trust.id,
            refund_id=refund.id,
            sent=True,
            principal=makers.CLERK,
            now=NOW,
        )


def test_a_debt_written_off_settles_the_invoice_and_can_be_taken_back(
    session: Session, trust: AccountRow
) -> None:
    invoice = makers.issue(session, trust, "10.00")
    made = operations.write_off(
        session,
        account_id=trust.id,
        invoice_id=invoice.id,
        amount=Decimal("12.00"),
        reason="too small to chase",
        principal=makers.CLERK,
        now=NOW,
    )
    session.refresh(invoice)
    assert invoice.status == "settled"
    assert _balance(session, LedgerAccount.WRITE_OFF) == Decimal("12.00")

    operations.undo_allocation(
        session,
        account_id=trust.id,
        allocation_id=made.id,
        reason="they paid",
        principal=makers.CLERK,
        now=NOW,
    )

    session.refresh(invoice)
    assert invoice.status == "issued"
    assert _balance(session, LedgerAccount.WRITE_OFF) == 0
    assert not check_books(session, on=TODAY)


def test_a_payment_in_use_is_not_taken_back(session: Session, trust: AccountRow) -> None:
    invoice = makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, trust, "50.00")
    made = _allocate(session, payment, invoice, "50.00")
    facts = {"account_id": trust.id, "principal": makers.CLERK, "now": NOW, "reason": "bounced"}

    with pytest.raises(operations.PaymentInUse):
        operations.take_back_payment(session, payment_id=payment.id, **facts)
    operations.undo_allocation(session, allocation_id=made.id, **facts)
    operations.take_back_payment(session, payment_id=payment.id, **facts)

    assert funds.left_of(payment) == 0
    assert _balance(session, LedgerAccount.STRIPE) == 0
    assert not check_books(session, on=TODAY)


def test_another_accounts_payment_is_not_found(session: Session, trust: AccountRow) -> None:
    other = makers.account(session, "RWE")
    invoice = makers.issue(session, trust, "100.00")
    payment = makers.stripe_payment(session, other, "120.00")

    with pytest.raises(funds.PaymentUnknown):
        _allocate(session, payment, invoice, "1.00")


def test_the_check_of_the_books_sees_what_is_wrong(session: Session, trust: AccountRow) -> None:
    makers.issue(session, trust, {"imaging-archive": "60.00", "messaging": "40.00"}, post=False)

    found = {difference.what for difference in check_books(session, on=TODAY)}

    assert found == {
        "ledger account receivable",
        "ledger account revenue",
        "ledger account vat",
    }
