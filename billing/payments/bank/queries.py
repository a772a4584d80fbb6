"""Bank lines that wait to be matched, and what they may be."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.invoices.tables import InvoiceRow
from billing.ledger.tables import ReceivableRow
from billing.payments.bank.matching import Ledger, OpenInvoice, Payer, Suggestion, suggest
from billing.payments.bank.model import Remittance, RemittanceItem, StatementLine
from billing.payments.bank.tables import BankLineRow, BankLineUseRow, RemittanceAdviceRow
from metering.organisations.tables import OrganisationRow


@dataclass(frozen=True, kw_only=True)
class Unmatched:
    """A bank line that is not wholly identified.

    Attributes:
        amount: of the whole line, positive when it came in.
        left: what is not identified, with the sign of `amount`.
    """

    id: str
    booked_on: date
    amount: Decimal
    left: Decimal
    counterparty: str
    counterparty_account: str
    reference: str
    details: str


def unmatched(session: Session, *, limit: int = 200) -> Sequence[Unmatched]:
    """Return the lines that wait to be matched, oldest first."""
    rows = session.scalars(
        select(BankLineRow)
        .where(BankLineRow.identified != BankLineRow.amount)
        .order_by(BankLineRow.booked_on, BankLineRow.id)
        .limit(limit)
    )
    return [as_unmatched(row) for row in rows]


def line(session: Session, *, bank_line_id: str) -> Unmatched | None:
    """Return one line, None where there is none."""
    row = session.get(BankLineRow, bank_line_id)
    return None if row is None else as_unmatched(row)


def uses(session: Session, *, bank_line_id: str) -> Sequence[BankLineUseRow]:
    """Return what was said of a line, first to last, undone or not."""
    return session.scalars(
        select(BankLineUseRow)
        .where(BankLineUseRow.bank_line_id == bank_line_id)
        .order_by(BankLineUseRow.made_at, BankLineUseRow.id)
    ).all()


def line_of_payment(session: Session, *, payment_id: str) -> str | None:
    """Return the bank line that was confirmed as a payment, undone or not; None for Stripe's."""
    return session.scalar(
        select(BankLineUseRow.bank_line_id)
        .where(BankLineUseRow.subject_id == payment_id, BankLineUseRow.kind == "payment")
        .limit(1)
    )


def suggestions(of: Unmatched, *, against: Ledger) -> tuple[Suggestion, ...]:
    """Return what the rest of a line may be, best first."""
    return suggest(
        StatementLine(
            booked_on=of.booked_on,
            amount=of.left,
            counterparty=of.counterparty,
            counterparty_account=of.counterparty_account,
            reference=of.reference,
            details=of.details,
        ),
        against,
    )


def matching_ledger(session: Session) -> Ledger:
    """Return what lines are matched against: open invoices, payers, recent advices."""
    rows = session.execute(
        select(
            ReceivableRow.account_id,
            ReceivableRow.document_id,
            ReceivableRow.number,
            ReceivableRow.total - ReceivableRow.allocated,
            ReceivableRow.issued_on,
            ReceivableRow.due_on,
            InvoiceRow.purchase_order,
        )
        .join(
            InvoiceRow,
            (InvoiceRow.account_id == ReceivableRow.account_id)
            & (InvoiceRow.id == ReceivableRow.document_id),
        )
        .where(ReceivableRow.kind == "invoice", ReceivableRow.allocated < ReceivableRow.total)
    )
    invoices = [
        OpenInvoice(
            account_id=account_id,
            invoice_id=invoice_id,
            number=number,
            outstanding=outstanding,
            issued_on=issued_on,
            due_on=due_on,
            purchase_order=order or "",
        )
        for account_id, invoice_id, number, outstanding, issued_on, due_on, order in rows
    ]
    paid_from: dict[str, set[str]] = defaultdict(set)
    for account_id, bank_account in session.execute(
        select(BankLineUseRow.account_id, BankLineRow.counterparty_account)
        .join(BankLineRow, BankLineRow.id == BankLineUseRow.bank_line_id)
        .where(
            BankLineUseRow.kind == "payment",
            BankLineUseRow.undone_at.is_(None),
            BankLineRow.counterparty_account != "",
        )
        .distinct()
    ):
        if account_id is not None:
            paid_from[account_id].add(bank_account)
    payers = [
        Payer(
            account_id=account_id,
            names=(name, ods_code),
            bank_accounts=frozenset(paid_from.get(account_id, ())),
        )
        for account_id, name, ods_code in session.execute(
            select(AccountRow.id, AccountRow.name, OrganisationRow.ods_code)
            .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
            .order_by(AccountRow.id)
        )
    ]
    remittances = [
        Remittance(
            payer=row.payer,
            reference=row.reference,
            paid_on=row.paid_on,
            items=tuple(
                RemittanceItem(
                    invoice_number=item["invoice_number"], amount=Decimal(item["amount"])
                )
                for item in row.items
            ),
        )
        for row in session.scalars(select(RemittanceAdviceRow).order_by(RemittanceAdviceRow.id))
    ]
    return Ledger(invoices=invoices, payers=payers, remittances=remittances)


def as_unmatched(row: BankLineRow) -> Unmatched:
    """Return a line with what of it is left."""
    return Unmatched(
        id=row.id,
        booked_on=row.booked_on,
        amount=row.amount,
        left=row.amount - row.identified,
        counterparty=row.counterparty,
        counterparty_account=row.counterparty_account,
        reference=row.reference,
        details=row.details,
    )
