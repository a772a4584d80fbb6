"""Statements of account, what each hosted service earned, and the journal of a period."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.disputes.queries import disputed_amounts
from billing.invoices.tables import InvoiceLineRow
from billing.ledger import queries as ledger
from billing.ledger.queries import JournalLine, Movement
from billing.ledger.tables import ReceivableRow
from billing.money import NOUGHT, share_out, sum_pounds
from billing.payments.debt import DisputedAmounts, OpenDebt, open_debts, taken_over_debts
from billing.payments.tables import AllocationRow
from metering.periods import Month, london_midnight


@dataclass(frozen=True, kw_only=True)
class StatementMovement:
    """One line of a statement of account; `balance` is after it."""

    movement: Movement
    balance: Decimal


@dataclass(frozen=True, kw_only=True)
class AccountStatement:
    """What an account owed, what changed it, and what it owes, on London dates [first, end).

    Attributes:
        opening, closing: positive is owed to us; negative is credit that the account has.
        open_invoices: what is still to pay at the end.
        taken_over: what is still to pay of accounts that this one took over by then; it is in
            their balance, not in this one's.
    """

    account_id: str
    first_day: date
    end_day: date
    opening: Decimal
    closing: Decimal
    movements: tuple[StatementMovement, ...]
    open_invoices: tuple[OpenDebt, ...]
    taken_over: tuple[OpenDebt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServiceSettlement:
    """What a hosted service earned from documents issued in a month, in net pounds.

    Attributes:
        invoiced, credited: net, by issue date in the month; `earned` is their difference.
        collected: of `earned`, what accounts have paid by the day the report is made for.
        written_off: of `earned`, what was given up.
        owed: what the central team owes the service: all that it earned.
    """

    service: str
    month: Month
    invoiced: Decimal
    credited: Decimal
    collected: Decimal
    written_off: Decimal

    @property
    def earned(self) -> Decimal:
        """Invoiced less credited."""
        return self.invoiced - self.credited

    # ASSUMPTION: services are paid for what was invoiced, not for what was collected; the
    # central team carries the debt. `collected` is told beside it.
    @property
    def owed(self) -> Decimal:
        """What the service is owed for the month."""
        return self.earned


def statement_of_account(
    session: Session,
    *,
    account_id: str,
    first_day: date,
    end_day: date,
    disputed: DisputedAmounts = disputed_amounts,
) -> AccountStatement:
    """Return the statement of an account for London dates [first_day, end_day)."""
    opening = ledger.account_balance(session, account_id=account_id, before=first_day)
    balance = opening
    rows = []
    for movement in ledger.movements(
        session, account_id=account_id, first_day=first_day, end_day=end_day
    ):
        balance += movement.amount
        rows.append(StatementMovement(movement=movement, balance=balance))
    return AccountStatement(
        account_id=account_id,
        first_day=first_day,
        end_day=end_day,
        opening=opening,
        closing=balance,
        movements=tuple(rows),
        open_invoices=tuple(
            open_debts(
                session, on=end_day - timedelta(days=1), account_id=account_id, disputed=disputed
            )
        ),
        taken_over=tuple(
            taken_over_debts(
                session, on=end_day - timedelta(days=1), account_id=account_id, disputed=disputed
            )
        ),
    )


def supplier_settlement(session: Session, *, month: Month, on: date) -> Sequence[ServiceSettlement]:
    """Return what each hosted service earned from documents issued in `month`, by service.

    Money set against an invoice by the end of `on` is shared over its services by their
    part of the total, VAT with it; what is shown is the net part, so that it compares
    with what was earned.
    """
    revenue = ledger.revenue_by_service(session, first_day=month.first_day, end_day=month.end_day)
    paid = _covered(session, month=month, on=on, kind="payment")
    given_up = _covered(session, month=month, on=on, kind="write-off")
    return [
        ServiceSettlement(
            service=service,
            month=month,
            invoiced=invoiced,
            credited=credited,
            collected=paid.get(service, NOUGHT),
            written_off=given_up.get(service, NOUGHT),
        )
        for service, (invoiced, credited) in revenue.items()
    ]


def _covered(session: Session, *, month: Month, on: date, kind: str) -> dict[str, Decimal]:
    """Return the net pounds by service that payments or write-offs cover of a month's invoices."""
    cut = london_midnight(on + timedelta(days=1))
    covered = (
        select(
            ReceivableRow.account_id,
            ReceivableRow.document_id,
            ReceivableRow.total,
            func.sum(AllocationRow.amount).label("amount"),
        )
        .join(
            AllocationRow,
            (AllocationRow.account_id == ReceivableRow.account_id)
            & (AllocationRow.invoice_id == ReceivableRow.document_id),
        )
        .where(
            ReceivableRow.issued_on >= month.first_day,
            ReceivableRow.issued_on < month.end_day,
            AllocationRow.kind == kind,
            AllocationRow.made_at < cut,
        )
        .group_by(ReceivableRow.account_id, ReceivableRow.document_id, ReceivableRow.total)
        .subquery()
    )
    lines = (InvoiceLineRow.account_id == covered.c.account_id) & (
        InvoiceLineRow.invoice_id == covered.c.document_id
    )
    net = func.sum(InvoiceLineRow.net)
    found: dict[str, Decimal] = defaultdict(lambda: NOUGHT)
    # Most invoices are covered whole, and then their lines need not be told apart.
    for service, amount in session.execute(
        select(InvoiceLineRow.tariff_code, net)
        .join(covered, lines)
        .where(covered.c.amount == covered.c.total)
        .group_by(InvoiceLineRow.tariff_code)
    ):
        found[service] += amount
    nets: dict[tuple[str, str, Decimal, Decimal], dict[str, Decimal]] = defaultdict(dict)
    for account, invoice, total, amount, service, part in session.execute(
        select(
            covered.c.account_id,
            covered.c.document_id,
            covered.c.total,
            covered.c.amount,
            InvoiceLineRow.tariff_code,
            net,
        )
        .join(covered, lines)
        .where(covered.c.amount != covered.c.total)
        .group_by(*covered.c, InvoiceLineRow.tariff_code)
    ):
        nets[account, invoice, total, amount][service] = part
    for (_, _, total, amount), of_services in sorted(nets.items()):
        for service, part in net_part(amount, total=total, nets=of_services).items():
            found[service] += part
    return dict(found)


def net_part(amount: Decimal, *, total: Decimal, nets: dict[str, Decimal]) -> dict[str, Decimal]:
    """Share what covers an invoice over its services, leaving out the part that is VAT.

    Exact when all of it is covered; in part, by largest remainder over services and VAT.
    """
    if amount == total:
        return dict(nets)
    if amount <= 0:
        return {}
    vat = total - sum_pounds(list(nets.values()))
    # A service whose lines come to less than nothing takes no share of what was paid.
    weights = {service: max(net, NOUGHT) for service, net in nets.items()} | {"": max(vat, NOUGHT)}
    shares = share_out(amount, weights)
    shares.pop("")
    return shares


JOURNAL_HEADER = (
    "Entry",
    "Posted on",
    "Kind",
    "Description",
    "Ledger account",
    "Account",
    "Service",
    "Cost centre",
    "Subjective code",
    "Debit (GBP)",
    "Credit (GBP)",
)


def journal_rows(lines: Sequence[JournalLine]) -> list[tuple[str | date, ...]]:
    """Return the journal as rows of a sheet under `JOURNAL_HEADER`."""
    return [
        (
            line.entry_id,
            line.posted_on,
            line.kind,
            line.description,
            line.ledger_account,
            line.account_id or "",
            line.service,
            line.cost_centre,
            line.subjective_code,
            f"{line.debit:.2f}",
            f"{line.credit:.2f}",
        )
        for line in lines
    ]
