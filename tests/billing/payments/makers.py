"""Makers for stories about money: an account, its issued invoices, payments, statements.

Issued invoices are written as rows, posted as issuing posts them: what is printed on them is
the business of `billing.invoices`, and these tests begin where it ends.
"""

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.invoices import posting
from billing.invoices.model import Treatment
from billing.invoices.tables import InvoiceLineRow, InvoiceRow
from billing.money import NOUGHT, sum_pounds, vat_on
from billing.payments import operations
from billing.payments.bank import imports
from billing.payments.bank.model import Statement, StatementLine, line_keys
from billing.payments.bank.tables import BankLineRow
from billing.payments.tables import PaymentRow
from metering.kit.ids import new_id
from metering.periods import london_day
from tests import make

ISSUED = datetime(2026, 5, 5, 9, 0, tzinfo=UTC)
CLERK = "usr_clerk"
_numbers = itertools.count(1)


def issue(
    session: Session,
    account: AccountRow,
    nets: Mapping[str, str] | str = "100.00",
    *,
    now: datetime = ISSUED,
    number: str | None = None,
    vat: Treatment = Treatment.STANDARD,
    credits_invoice: InvoiceRow | None = None,
    post: bool = True,
) -> InvoiceRow:
    """Issue an invoice (or, with `credits_invoice`, a credit note) of net pounds by service."""
    by_service = {"imaging-archive": nets} if isinstance(nets, str) else nets
    net = sum_pounds([Decimal(amount) for amount in by_service.values()])
    rate = Decimal(20) if vat is Treatment.STANDARD else Decimal(0)
    tax = vat_on(net, rate_percent=rate) if rate else NOUGHT
    credit = credits_invoice is not None
    row = InvoiceRow(
        account_id=account.id,
        id=new_id("inv", now=now),
        run_id=None,
        kind="credit-note" if credit else "invoice",
        status="draft",
        month=date(2026, 4, 1),
        series="PC" if credit else "PG",
        number=None,
        issued_at=None,
        tax_point=london_day(now),
        due_on=london_day(now) + timedelta(days=account.payment_terms_days),
        purchase_order=None,
        net=net,
        vat=tax,
        total=net + tax,
        pool_saving=NOUGHT,
        content={},
        credits_invoice_id=credits_invoice.id if credits_invoice is not None else None,
        credit_basis="concession" if credit else None,
        created_at=now,
    )
    session.add(row)
    session.flush()
    for place, (service, amount) in enumerate(sorted(by_service.items()), start=1):
        session.add(
            InvoiceLineRow(
                account_id=account.id,
                invoice_id=row.id,
                number=place,
                kind="usage",
                month=date(2026, 4, 1),
                tariff_code=service,
                version_id="tfv_example",
                price_key="studies",
                meter="studies-archived",
                description=f"Use of {service}",
                dimensions={},
                unit="studies",
                quantity=Decimal(1),
                first_on=date(2026, 4, 1),
                end_on=date(2026, 5, 1),
                net=Decimal(amount),
                vat_treatment=vat.value,
                vat_rate_percent=rate,
                pool_saving=None,
                working=[],
            )
        )
    session.flush()
    series = "PC" if credit else "PG"
    row.number = number or f"{series}-2627-{next(_numbers):06d}"
    row.status, row.issued_at, row.seal, row.previous_seal = "issued", now, "0" * 64, "0" * 64
    session.flush()
    if post:
        posting.post_to_ledger(session, invoice=row, principal=CLERK, now=now)
    return row


def account(session: Session, code: str = "RRK", **facts: object) -> AccountRow:
    """Open an account."""
    return make.account(session, code=code, **facts)


def account_of(session: Session, invoice: InvoiceRow) -> AccountRow:
    """Return the account that an invoice is for."""
    return session.get_one(AccountRow, invoice.account_id)


def stripe_payment(
    session: Session,
    account: AccountRow,
    amount: str,
    *,
    received_on: date = date(2026, 5, 20),
    now: datetime = datetime(2026, 5, 20, 12, 0, tzinfo=UTC),
    reference: str = "",
) -> PaymentRow:
    """Record a payment that came through Stripe."""
    return operations.record_payment(
        session,
        account_id=account.id,
        source="stripe",
        source_ref=f"inpay_{next(_numbers)}",
        received_on=received_on,
        amount=Decimal(amount),
        reference=reference,
        principal=CLERK,
        now=now,
    )


def statement(
    session: Session,
    *lines: tuple[str, str],
    booked_on: date = date(2026, 5, 20),
    now: datetime = datetime(2026, 5, 21, 8, 0, tzinfo=UTC),
    payer: str = "",
    payer_account: str = "",
) -> tuple[str, ...]:
    """Import a statement of (amount, reference) lines; return the new lines' ids, in order."""
    number = next(_numbers)
    read = Statement(
        bank_account="GB33BUKB20201555555555",
        format="csv",
        lines=tuple(
            StatementLine(
                booked_on=booked_on,
                amount=Decimal(amount),
                reference=reference,
                counterparty=payer,
                counterparty_account=payer_account,
                bank_reference=f"B{number}-{place}",
            )
            for place, (amount, reference) in enumerate(lines)
        ),
    )
    made = imports.import_statement(
        session,
        statement=read,
        content=str(number).encode(),
        file_name="may.csv",
        principal=CLERK,
        now=now,
    )
    assert made.added == len(lines)
    keys = line_keys(read.lines)
    by_key = {
        row.line_key: row.id
        for row in session.scalars(
            select(BankLineRow).where(BankLineRow.statement_id == made.statement_id)
        )
    }
    return tuple(by_key[key] for key in keys)
