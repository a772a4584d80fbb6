"""Reads for the money pages: lines, imports, payments, refunds and what Stripe says, with names."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from billing.accounts.tables import AccountRow
from billing.ledger.tables import ReceivableRow
from billing.money import NOUGHT
from billing.payments.bank.tables import (
    BankLineRow,
    BankLineUseRow,
    BankStatementRow,
    RemittanceAdviceRow,
)
from billing.payments.funds import PaymentUnknown
from billing.payments.tables import (
    AllocationRow,
    GatewayCallRow,
    PaymentRow,
    RefundRow,
    ReminderRow,
)
from metering.organisations.tables import OrganisationRow
from metering.periods import london_midnight

MOST_CHOICES = 300


@dataclass(frozen=True, kw_only=True)
class Payer:
    """An account as the money pages name it."""

    id: str
    name: str
    ods_code: str
    email: str
    closed: bool

    @property
    def label(self) -> str:
        """Name and code: `Leeds Teaching Hospitals NHS Trust (RR8)`."""
        return f"{self.name} ({self.ods_code})"


UNKNOWN = Payer(id="", name="No account", ods_code="", email="", closed=False)


class Payers(dict[str, Payer]):
    """Accounts by id, by name; what is no account is named so."""

    def __missing__(self, account_id: str) -> Payer:
        return UNKNOWN

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Accounts for a list box; none when they are more than anybody reads through.

        Then the ODS code is asked for, see `named`.
        """
        if len(self) > MOST_CHOICES:
            return []
        return [(payer.id, payer.label) for payer in self.values()]

    def named(self, said: str) -> str:
        """Return the id of the account that an id or ODS code names, else what was said."""
        if not said or said in self:
            return said
        code = said.strip().upper()
        return next((payer.id for payer in self.values() if payer.ods_code == code), said)


def payers(session: Session) -> Payers:
    """Return every account by id, in the order of their names."""
    rows = session.execute(
        select(
            AccountRow.id,
            AccountRow.name,
            AccountRow.email,
            AccountRow.closed_at,
            OrganisationRow.ods_code,
        )
        .join(OrganisationRow, OrganisationRow.id == AccountRow.organisation_id)
        .order_by(AccountRow.name, AccountRow.id)
    )
    return Payers(
        (
            row.id,
            Payer(
                id=row.id,
                name=row.name,
                ods_code=row.ods_code,
                email=row.email,
                closed=row.closed_at is not None,
            ),
        )
        for row in rows
    )


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What of the bank's money nobody has explained.

    Attributes:
        lines, came_in, went_out: unmatched lines, and what of them is left, both positive.
        refused_calls: calls that Stripe refused and that wait for a person.
    """

    lines: int
    came_in: Decimal
    went_out: Decimal
    refused_calls: int


def waiting(session: Session) -> Waiting:
    """Return what waits for somebody to match it."""
    left = BankLineRow.amount - BankLineRow.identified
    row = session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(left).filter(BankLineRow.amount > NOUGHT), NOUGHT),
            func.coalesce(func.sum(left).filter(BankLineRow.amount < NOUGHT), NOUGHT),
        ).where(BankLineRow.identified != BankLineRow.amount)
    ).one()
    refused = session.scalar(
        select(func.count()).select_from(GatewayCallRow).where(GatewayCallRow.status == "refused")
    )
    return Waiting(lines=row[0], came_in=row[1], went_out=-row[2], refused_calls=refused or 0)


def statement_imports(session: Session) -> Sequence[tuple[BankStatementRow, int]]:
    """Return each imported statement with how many of its lines were new, latest first."""
    added = (
        select(BankLineRow.statement_id, func.count().label("added"))
        .group_by(BankLineRow.statement_id)
        .subquery()
    )
    rows = session.execute(
        select(BankStatementRow, func.coalesce(added.c.added, 0))
        .outerjoin(added, added.c.statement_id == BankStatementRow.id)
        .order_by(BankStatementRow.imported_at.desc(), BankStatementRow.id)
    )
    return [(row, count) for row, count in rows]


def remittance_imports(session: Session) -> Sequence[RemittanceAdviceRow]:
    """Return imported remittance advices, latest first."""
    return session.scalars(
        select(RemittanceAdviceRow).order_by(
            RemittanceAdviceRow.imported_at.desc(), RemittanceAdviceRow.id
        )
    ).all()


def open_receivables(
    session: Session, *, account_id: str, kind: str = "invoice"
) -> Sequence[ReceivableRow]:
    """Return an account's invoices (or credit notes) of which something is left, oldest first."""
    return session.scalars(
        select(ReceivableRow)
        .where(
            ReceivableRow.account_id == account_id,
            ReceivableRow.kind == kind,
            ReceivableRow.allocated + ReceivableRow.refunded < ReceivableRow.total,
        )
        .order_by(ReceivableRow.due_on, ReceivableRow.number)
    ).all()


def receivable(session: Session, *, account_id: str, document_id: str) -> ReceivableRow | None:
    """Return one issued document as money, None where there is none."""
    return session.get(ReceivableRow, (account_id, document_id))


def numbers(session: Session, *, document_ids: Sequence[str | None]) -> dict[str, str]:
    """Return the numbers of issued documents by id."""
    wanted = sorted({one for one in document_ids if one})
    if not wanted:
        return {}
    rows = session.execute(
        select(ReceivableRow.document_id, ReceivableRow.number).where(
            ReceivableRow.document_id.in_(wanted)
        )
    )
    return {row.document_id: row.number for row in rows}


UNUSED = PaymentRow.amount - PaymentRow.allocated - PaymentRow.refunded
LATEST_PAYMENT = (PaymentRow.received_on.desc(), PaymentRow.id.desc())


def payments_at(*, account_id: str, state: str) -> Select[PaymentRow]:
    """Return payments as a statement that is not in order yet.

    Args:
        account_id: of one account alone; empty for all.
        state: `left` keeps those of which something is unused, `back` those taken back.
    """
    statement = select(PaymentRow)
    if account_id:
        statement = statement.where(PaymentRow.account_id == account_id)
    if state == "left":
        statement = statement.where(PaymentRow.reversed_at.is_(None), UNUSED > NOUGHT)
    elif state == "back":
        statement = statement.where(PaymentRow.reversed_at.is_not(None))
    return statement


def unused_payments(session: Session, *, account_id: str) -> Sequence[PaymentRow]:
    """Return an account's payments of which something is unused, the latest first."""
    statement = payments_at(account_id=account_id, state="left")
    return session.scalars(statement.order_by(*LATEST_PAYMENT)).all()


def unused_sum(session: Session) -> Decimal:
    """Return pounds that are unused of all payments."""
    statement = payments_at(account_id="", state="left")
    return session.scalar(statement.with_only_columns(func.sum(UNUSED))) or NOUGHT


def payment(session: Session, *, account_id: str, payment_id: str) -> PaymentRow:
    """Return one payment.

    Raises:
        PaymentUnknown: the account has no such payment.
    """
    row = session.get(PaymentRow, (account_id, payment_id))
    if row is None:
        raise PaymentUnknown(f"The account has no payment {payment_id}.")
    return row


def allocations(
    session: Session, *, account_id: str, payment_id: str | None = None
) -> Sequence[AllocationRow]:
    """Return an account's allocations (of one payment), undone ones too, first to last."""
    statement = select(AllocationRow).where(AllocationRow.account_id == account_id)
    if payment_id is not None:
        statement = statement.where(AllocationRow.payment_id == payment_id)
    return session.scalars(statement.order_by(AllocationRow.made_at, AllocationRow.id)).all()


def write_offs(session: Session, *, account_id: str) -> Sequence[AllocationRow]:
    """Return the write-offs of an account, undone ones too, first to last."""
    return session.scalars(
        select(AllocationRow)
        .where(AllocationRow.account_id == account_id, AllocationRow.kind == "write-off")
        .order_by(AllocationRow.made_at, AllocationRow.id)
    ).all()


def refunds(
    session: Session, *, account_id: str = "", payment_id: str = "", state: str = ""
) -> Sequence[RefundRow]:
    """Return refunds, latest first."""
    statement = select(RefundRow).order_by(RefundRow.requested_at.desc(), RefundRow.id)
    if account_id:
        statement = statement.where(RefundRow.account_id == account_id)
    if payment_id:
        statement = statement.where(RefundRow.payment_id == payment_id)
    if state:
        statement = statement.where(RefundRow.status == state)
    return session.scalars(statement).all()


def refunds_of_amount(session: Session, *, amount: Decimal, status: str) -> Sequence[RefundRow]:
    """Return bank refunds of an amount that are `requested` or `sent`, oldest first."""
    return session.scalars(
        select(RefundRow)
        .where(RefundRow.via == "bank", RefundRow.status == status, RefundRow.amount == amount)
        .order_by(RefundRow.requested_at, RefundRow.id)
    ).all()


def payments_of_amount(session: Session, *, amount: Decimal) -> Sequence[PaymentRow]:
    """Return payments by bank of an amount that stand and were not refunded, latest first."""
    return session.scalars(
        select(PaymentRow)
        .where(
            PaymentRow.source == "bank",
            PaymentRow.reversed_at.is_(None),
            PaymentRow.refunded == NOUGHT,
            PaymentRow.amount == amount,
        )
        .order_by(PaymentRow.received_on.desc(), PaymentRow.id)
        .limit(20)
    ).all()


def uses_of_payment(session: Session, *, payment_id: str) -> Sequence[BankLineUseRow]:
    """Return the uses of bank lines that are about one payment."""
    return session.scalars(
        select(BankLineUseRow).where(BankLineUseRow.subject_id == payment_id)
    ).all()


def reminders_written(session: Session, *, account_id: str) -> Sequence[ReminderRow]:
    """Return reminders that were written to an account, latest first."""
    return session.scalars(
        select(ReminderRow)
        .where(ReminderRow.account_id == account_id)
        .order_by(ReminderRow.written_at.desc(), ReminderRow.invoice_id)
    ).all()


def pending_calls(session: Session) -> int:
    """Return how many calls to Stripe may or may not have happened and are asked about again."""
    return (
        session.scalar(
            select(func.count())
            .select_from(GatewayCallRow)
            .where(GatewayCallRow.status == "pending")
        )
        or 0
    )


def last_bank_account(session: Session) -> str | None:
    """Return our bank account of the latest import, None before the first."""
    return session.scalar(
        select(BankLineRow.bank_account)
        .order_by(BankLineRow.imported_at.desc(), BankLineRow.id)
        .limit(1)
    )


def bank_total(session: Session, *, on: date) -> Decimal:
    """Return what all bank lines that were imported by the end of a London date come to."""
    cut = london_midnight(on + timedelta(days=1))
    total = session.scalar(
        select(func.coalesce(func.sum(BankLineRow.amount), NOUGHT)).where(
            BankLineRow.imported_at < cut
        )
    )
    return NOUGHT if total is None else total
