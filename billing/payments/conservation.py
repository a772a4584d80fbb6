"""The check that no penny is made or lost: ledger against documents, payments and bank lines."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session

from billing.invoices.tables import InvoiceRow
from billing.ledger import queries as ledger
from billing.ledger.model import Difference, LedgerAccount, differences
from billing.ledger.tables import ReceivableRow
from billing.money import NOUGHT
from billing.payments.bank.tables import BankLineRow, BankLineUseRow
from billing.payments.tables import AllocationRow, PaymentRow, RefundRow
from metering.periods import london_midnight


def check_books(session: Session, *, on: date) -> Sequence[Difference]:
    """Return where the ledger at the end of the London date `on` is not what happened.

    Each ledger account is worked out a second time from invoices, bank lines, payments,
    allocations and refunds; then the running sums on payments and documents from their
    allocations. Nothing returned means that the books are right.
    """
    cut = london_midnight(on + timedelta(days=1))
    balances = ledger.trial_balance(session, on=on).balances
    expected = _expected(session, cut)
    pairs = [(f"ledger account {name}", balances[name], expected[name]) for name in LedgerAccount]
    pairs.append(("sum of all balances", sum(balances.values(), NOUGHT), NOUGHT))
    return (*differences(pairs), *_running_sums(session))


def _expected(session: Session, cut: datetime) -> dict[LedgerAccount, Decimal]:
    def total(column: ColumnElement[Any], *where: ColumnElement[bool]) -> Decimal:
        amount = session.scalar(select(func.sum(column)).where(*where))
        return NOUGHT if amount is None else Decimal(amount)

    def documents(column: ColumnElement[Any], kind: str) -> Decimal:
        return total(column, InvoiceRow.kind == kind, InvoiceRow.issued_at < cut)

    def allocated(kind: str) -> Decimal:
        return total(
            AllocationRow.amount.expression, AllocationRow.kind == kind, AllocationRow.made_at < cut
        )

    def refunded(*where: ColumnElement[bool]) -> Decimal:
        return total(
            RefundRow.amount.expression,
            RefundRow.sent_at < cut,
            or_(RefundRow.failed_at.is_(None), RefundRow.failed_at >= cut),
            *where,
        )

    def used(kind: str) -> Decimal:
        return total(
            BankLineUseRow.amount.expression,
            BankLineUseRow.kind == kind,
            BankLineUseRow.made_at < cut,
            or_(BankLineUseRow.undone_at.is_(None), BankLineUseRow.undone_at >= cut),
        )

    invoiced, credited = (
        {
            name: documents(column, kind)
            for name, column in (
                ("net", InvoiceRow.net.expression),
                ("vat", InvoiceRow.vat.expression),
                ("total", InvoiceRow.total.expression),
            )
        }
        for kind in ("invoice", "credit-note")
    )
    lines = total(BankLineRow.amount.expression, BankLineRow.imported_at < cut)
    by_stripe = total(
        PaymentRow.amount.expression,
        PaymentRow.source == "stripe",
        PaymentRow.made_at < cut,
        or_(PaymentRow.reversed_at.is_(None), PaymentRow.reversed_at >= cut),
    )
    paid, credit_used, written_off = map(allocated, ("payment", "credit", "write-off"))
    stripe_refunds = refunded(RefundRow.via == "stripe")
    credit_refunds = refunded(RefundRow.credit_note_id.is_not(None))
    set_aside, payouts = used("set-aside"), used("payout")
    return {
        LedgerAccount.RECEIVABLE: invoiced["total"] - paid - credit_used - written_off,
        LedgerAccount.CREDIT: credit_used + credit_refunds - credited["total"],
        LedgerAccount.REVENUE: credited["net"] - invoiced["net"],
        LedgerAccount.VAT: credited["vat"] - invoiced["vat"],
        LedgerAccount.CASH: lines,
        LedgerAccount.UNALLOCATED: (
            paid + stripe_refunds - credit_refunds + set_aside + payouts - lines - by_stripe
        ),
        LedgerAccount.STRIPE: by_stripe - stripe_refunds - payouts,
        LedgerAccount.WRITE_OFF: written_off,
        LedgerAccount.OTHER: -set_aside,
    }


def _running_sums(session: Session) -> tuple[Difference, ...]:
    """Compare the sums that triggers keep with the rows that they are sums of."""
    live = (RefundRow.status != "failed",)
    checks: list[tuple[str, Select[Any], Select[Any]]] = [
        (
            "allocated on invoices",
            select(func.sum(ReceivableRow.allocated)).where(ReceivableRow.kind == "invoice"),
            select(func.sum(AllocationRow.amount)),
        ),
        (
            "allocated on credit notes",
            select(func.sum(ReceivableRow.allocated)).where(ReceivableRow.kind == "credit-note"),
            select(func.sum(AllocationRow.amount)).where(AllocationRow.kind == "credit"),
        ),
        (
            "allocated on payments",
            select(func.sum(PaymentRow.allocated)),
            select(func.sum(AllocationRow.amount)).where(AllocationRow.kind == "payment"),
        ),
        (
            "refunded on payments",
            select(func.sum(PaymentRow.refunded)),
            select(func.sum(RefundRow.amount)).where(RefundRow.payment_id.is_not(None), *live),
        ),
        (
            "refunded on credit notes",
            select(func.sum(ReceivableRow.refunded)),
            select(func.sum(RefundRow.amount)).where(RefundRow.credit_note_id.is_not(None), *live),
        ),
        (
            "identified on bank lines",
            select(func.sum(BankLineRow.identified)),
            select(func.sum(BankLineUseRow.amount)).where(BankLineUseRow.undone_at.is_(None)),
        ),
        (
            "bank lines identified as payments",
            select(func.sum(BankLineUseRow.amount)).where(
                BankLineUseRow.kind == "payment", BankLineUseRow.undone_at.is_(None)
            ),
            select(func.sum(PaymentRow.amount)).where(
                PaymentRow.source == "bank", PaymentRow.reversed_at.is_(None)
            ),
        ),
        (
            "invoices settled",
            select(func.count())
            .select_from(InvoiceRow)
            .where(InvoiceRow.kind == "invoice", InvoiceRow.status == "settled"),
            select(
                func.sum(case((ReceivableRow.allocated == ReceivableRow.total, 1), else_=0))
            ).where(ReceivableRow.kind == "invoice"),
        ),
    ]
    return differences(
        [
            (what, Decimal(session.scalar(kept) or 0), Decimal(session.scalar(rows) or 0))
            for what, kept, rows in checks
        ]
    )
