"""Identifying bank lines: splitting, part-paying, overpaying, returning, undoing, never twice."""

import random
import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.invoices.tables import InvoiceRow
from billing.ledger import queries as ledger
from billing.ledger.model import LedgerAccount
from billing.ledger.tables import ReceivableRow
from billing.payments import clearing, funds, operations, refunds
from billing.payments.bank import imports, lines, outgoing, queries
from billing.payments.bank import operations as bank
from billing.payments.bank.matching import Share
from billing.payments.bank.model import Statement, StatementLine
from billing.payments.bank.tables import BankLineRow
from billing.payments.conservation import check_books
from billing.payments.tables import AllocationRow, PaymentRow
from metering.kit.audit import verify
from metering.kit.db import Database
from metering.kit.errors import Refusal
from metering.kit.tables import AuditEntryRow
from tests.billing.payments import makers

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)
TODAY = date(2026, 5, 21)
BY = {"principal": makers.CLERK, "now": NOW}


def _share(invoice: InvoiceRow, amount: str) -> Share:
    return Share(account_id=invoice.account_id, invoice_id=invoice.id, amount=Decimal(amount))


def _balance(session: Session, account: LedgerAccount) -> Decimal:
    return ledger.trial_balance(session, on=TODAY).balances[account]


def test_the_same_statement_again_adds_nothing(session: Session) -> None:
    line = StatementLine(booked_on=date(2026, 5, 20), amount=Decimal("5.00"), reference="A")
    later = StatementLine(booked_on=date(2026, 5, 21), amount=Decimal("7.00"), reference="B")

    def load(content: bytes, *rows: StatementLine) -> tuple[int, int]:
        made = imports.import_statement(
            session,
            statement=Statement(bank_account="GB33", format="csv", lines=rows),
            content=content,
            file_name="x.csv",
            **BY,
        )
        return made.added, made.known

    assert load(b"1", line, line) == (2, 0)
    assert load(b"1", line, line) == (0, 2)
    assert load(b"2", line, line, later) == (1, 2)
    assert _balance(session, LedgerAccount.CASH) == Decimal("17.00")
    assert _balance(session, LedgerAccount.UNALLOCATED) == Decimal("-17.00")
    assert not check_books(session, on=TODAY)


def test_one_transfer_for_two_trusts_is_split_and_the_rest_kept(session: Session) -> None:
    leicester, leeds = makers.account(session, "RWE"), makers.account(session, "RR8")
    first, second = (
        makers.issue(session, leicester, "100.00"),
        makers.issue(session, leeds, "50.00"),
    )
    (line,) = makers.statement(session, ("200.00", "two trusts"))

    made = bank.confirm(
        session,
        bank_line_id=line,
        shares=[
            _share(first, "120.00"),
            _share(second, "60.00"),
            Share(account_id=leeds.id, invoice_id=None, amount=Decimal("20.00")),
        ],
        **BY,
    )

    assert sorted((payment.amount, funds.left_of(payment)) for payment in made) == [
        (Decimal("80.00"), Decimal("20.00")),
        (Decimal("120.00"), Decimal("0.00")),
    ]
    for invoice in (first, second):
        session.refresh(invoice)
        assert invoice.status == "settled"
    assert not queries.unmatched(session)
    assert not check_books(session, on=TODAY)


def test_what_is_not_identified_waits_in_the_queue(session: Session) -> None:
    trust = makers.account(session)
    invoice = makers.issue(session, trust, "100.00")
    (line,) = makers.statement(session, ("200.00", "?"))

    bank.confirm(session, bank_line_id=line, shares=[_share(invoice, "50.00")], **BY)

    (waiting,) = queries.unmatched(session)
    assert waiting.left == Decimal("150.00")
    with pytest.raises(lines.BankLineIdentified, match=r"£150\.00"):
        bank.confirm(
            session,
            bank_line_id=line,
            shares=[Share(account_id=trust.id, invoice_id=None, amount=Decimal("150.01"))],
            **BY,
        )
    bank.set_aside(session, bank_line_id=line, reason="a grant", **BY)
    assert not queries.unmatched(session)
    assert _balance(session, LedgerAccount.OTHER) == Decimal("-150.00")
    assert not check_books(session, on=TODAY)


def test_undoing_a_match_opens_everything_again_and_tells_of_both(session: Session) -> None:
    trust = makers.account(session)
    invoice = makers.issue(session, trust, "100.00")
    (line,) = makers.statement(session, ("120.00", invoice.number or ""))
    assert clearing.match_certain(session, **BY) == 1
    (use,) = queries.uses(session, bank_line_id=line)

    bank.undo(session, use_id=use.id, reason="another trust's money", **BY)

    session.refresh(invoice)
    assert invoice.status == "issued"
    (waiting,) = queries.unmatched(session)
    assert waiting.left == Decimal("120.00")
    assert use.undo_reason == "another trust's money"
    assert session.scalar(
        select(AllocationRow.amount).where(AllocationRow.undoes.is_not(None))
    ) == (Decimal("-120.00"))
    entries = session.scalars(select(AuditEntryRow).order_by(AuditEntryRow.position)).all()
    assert "undo use of bank line" in {entry.action for entry in entries}
    assert verify(entries) is None
    with pytest.raises(operations.AlreadyUndone):
        bank.undo(session, use_id=use.id, reason="twice", **BY)
    assert not check_books(session, on=TODAY)
    # The line can be matched afresh.
    bank.confirm(session, bank_line_id=line, shares=[_share(invoice, "120.00")], **BY)
    assert not check_books(session, on=TODAY)


def test_set_aside_and_payout_can_be_undone(session: Session) -> None:
    first, charge = makers.statement(session, ("30.00", "STRIPE"), ("-1.50", "charge"))
    payout = bank.confirm_payout(session, bank_line_id=first, **BY)
    aside = bank.set_aside(session, bank_line_id=charge, reason="bank charge", **BY)
    assert _balance(session, LedgerAccount.STRIPE) == Decimal("-30.00")
    assert _balance(session, LedgerAccount.OTHER) == Decimal("1.50")
    assert not check_books(session, on=TODAY)

    for use in (payout, aside):
        bank.undo(session, use_id=use.id, reason="no", **BY)

    assert _balance(session, LedgerAccount.STRIPE) == 0
    assert len(queries.unmatched(session)) == 2
    assert not check_books(session, on=TODAY)


def test_a_refund_by_bank_is_sent_when_the_statement_shows_it(session: Session) -> None:
    trust = makers.account(session)
    (received,) = makers.statement(session, ("80.00", "by mistake"))
    (payment,) = bank.confirm(
        session,
        bank_line_id=received,
        shares=[Share(account_id=trust.id, invoice_id=None, amount=Decimal("80.00"))],
        **BY,
    )
    refund = refunds.request_refund(
        session,
        account_id=trust.id,
        payment_id=payment.id,
        amount=Decimal("80.00"),
        reason="by mistake",
        **BY,
    )
    wrong, right = makers.statement(session, ("-79.99", "x"), ("-80.00", "refund"))
    facts = {"account_id": trust.id, "refund_id": refund.id, **BY}

    with pytest.raises(outgoing.RefundAmountDiffers):
        outgoing.confirm_refund(session, bank_line_id=wrong, **facts)
    outgoing.confirm_refund(session, bank_line_id=right, **facts)

    assert refund.status == "sent"
    assert _balance(session, LedgerAccount.UNALLOCATED) == Decimal("79.99")
    assert not check_books(session, on=TODAY)
    (use,) = queries.uses(session, bank_line_id=right)
    with pytest.raises(bank.UseNotUndone):
        bank.undo(session, use_id=use.id, reason="no", **BY)


def test_a_payment_that_the_bank_takes_back_opens_its_invoice(session: Session) -> None:
    trust = makers.account(session)
    invoice = makers.issue(session, trust, "100.00")
    (received,) = makers.statement(session, ("120.00", "direct debit"))
    (payment,) = bank.confirm(
        session, bank_line_id=received, shares=[_share(invoice, "120.00")], **BY
    )
    (returned,) = makers.statement(session, ("-120.00", "unpaid"))

    outgoing.confirm_return(
        session,
        bank_line_id=returned,
        account_id=trust.id,
        payment_id=payment.id,
        reason="refer to payer",
        **BY,
    )

    session.refresh(invoice)
    assert invoice.status == "issued"
    assert not queries.unmatched(session)
    assert _balance(session, LedgerAccount.CASH) == 0
    assert _balance(session, LedgerAccount.RECEIVABLE) == Decimal("120.00")
    assert not check_books(session, on=TODAY)


def test_money_that_went_out_pays_no_invoice(session: Session) -> None:
    invoice = makers.issue(session, makers.account(session), "100.00")
    (line,) = makers.statement(session, ("-120.00", "x"))

    with pytest.raises(lines.BankLineDirection):
        bank.confirm(session, bank_line_id=line, shares=[_share(invoice, "120.00")], **BY)


def test_two_lines_that_name_one_invoice_are_not_both_certain(session: Session) -> None:
    invoice = makers.issue(session, makers.account(session), "100.00")
    makers.statement(session, ("120.00", f"{invoice.number} a"), ("120.00", f"{invoice.number} b"))

    assert clearing.match_certain(session, **BY) == 1
    assert clearing.match_certain(session, **BY) == 0
    assert len(queries.unmatched(session)) == 1


def test_clerks_who_confirm_the_same_line_at_once_allocate_it_once(database: Database) -> None:
    with database.transaction() as session:
        invoice = makers.issue(session, makers.account(session), "100.00")
        (line,) = makers.statement(session, ("120.00", "x"))
    outcomes: list[str] = []
    together = threading.Barrier(4)

    def confirm() -> None:
        together.wait()
        try:
            with database.transaction() as session:
                bank.confirm(session, bank_line_id=line, shares=[_share(invoice, "120.00")], **BY)
            outcomes.append("done")
        except Refusal as refusal:
            outcomes.append(refusal.code)

    clerks = [threading.Thread(target=confirm) for _ in range(4)]
    for clerk in clerks:
        clerk.start()
    for clerk in clerks:
        clerk.join()

    assert sorted(outcomes) == ["bank-line-identified"] * 3 + ["done"]
    with database.snapshot() as session:
        assert not check_books(session, on=TODAY)


def test_lines_are_never_changed_and_never_identified_twice(session: Session) -> None:
    trust = makers.account(session)
    (line,) = makers.statement(session, ("120.00", "x"))
    bank.confirm(
        session,
        bank_line_id=line,
        shares=[Share(account_id=trust.id, invoice_id=None, amount=Decimal("120.00"))],
        **BY,
    )
    for statement, refusal in (
        ("UPDATE bank_lines SET amount = 999", "cannot be changed"),
        ("UPDATE bank_lines SET identified = 0", "cannot be changed"),
        ("DELETE FROM bank_lines", "cannot be changed"),
        (
            "INSERT INTO bank_line_uses SELECT 'use_2', bank_line_id, kind, account_id, subject_id,"
            " 0.01, reason, made_at, made_by FROM bank_line_uses",
            "identified_at_most_once",
        ),
    ):
        with pytest.raises(DBAPIError, match=refusal), session.begin_nested():
            session.execute(text(statement))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_clerks_do_the_books_hold(session: Session, seed: int) -> None:
    rng = random.Random(seed)
    accounts = [makers.account(session, code) for code in ("RWE", "RR8", "RRK")]
    invoices: list[InvoiceRow] = []
    done = refused = 0

    def pennies() -> Decimal:
        return Decimal(rng.randint(1, 20_000)) / 100

    def step() -> None:
        what = rng.randrange(9)
        account = rng.choice(accounts)
        if what == 0 or not invoices:
            invoices.append(makers.issue(session, account, str(pennies())))
        elif what == 1:
            invoice = rng.choice(invoices)
            owner = next(one for one in accounts if one.id == invoice.account_id)
            makers.issue(session, owner, str(invoice.net), credits_invoice=invoice)
        elif what == 2:
            makers.statement(session, (str(pennies()), rng.choice(invoices).number or ""))
        elif what == 3:
            makers.stripe_payment(session, account, str(pennies()))
        elif what == 4:
            for credit_account, note in clearing.unused_credit(session):
                clearing.apply_credit(session, account_id=credit_account, credit_note_id=note, **BY)
        elif what == 5:
            against = queries.matching_ledger(session)
            waiting = queries.unmatched(session)
            if waiting:
                line = rng.choice(waiting)
                found = queries.suggestions(line, against=against)
                if found:
                    chosen = rng.choice(found)
                    bank.confirm(session, bank_line_id=line.id, shares=chosen.shares, **BY)
        elif what == 6:
            used = session.scalars(select(BankLineRow.id).order_by(BankLineRow.id)).all()
            if used:
                found_uses = queries.uses(session, bank_line_id=rng.choice(used))
                for use in found_uses[:1]:
                    bank.undo(session, use_id=use.id, reason="changed our mind", **BY)
        elif what == 7:
            payments = session.scalars(select(PaymentRow).order_by(PaymentRow.id)).all()
            if payments:
                payment = rng.choice(payments)
                operations.allocate(
                    session,
                    account_id=payment.account_id,
                    invoice_id=rng.choice(invoices).id,
                    payment_id=payment.id,
                    amount=pennies(),
                    **BY,
                )
        else:
            payments = session.scalars(select(PaymentRow).order_by(PaymentRow.id)).all()
            if payments:
                payment = rng.choice(payments)
                refund = refunds.request_refund(
                    session,
                    account_id=payment.account_id,
                    payment_id=payment.id,
                    amount=pennies(),
                    reason="asked for",
                    **BY,
                )
                if refund.via == "stripe":
                    refunds.finish_refund(
                        session,
                        account_id=refund.account_id,
                        refund_id=refund.id,
                        sent=rng.random() < 0.7,
                        **BY,
                    )

    for _ in range(60):
        try:
            with session.begin_nested():
                step()
            done += 1
        except Refusal:
            refused += 1
        session.expire_all()
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))

    assert done > 30
    assert refused
    assert not check_books(session, on=TODAY)
    for row in session.scalars(select(ReceivableRow)):
        assert 0 <= row.allocated + row.refunded <= row.total
    for payment in session.scalars(select(PaymentRow)):
        assert 0 <= payment.allocated + payment.refunded <= payment.amount
