"""Reading the ledger: balances at a date, statements of an account, the journal of a period."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.ledger.model import OWED_BY_ACCOUNT, LedgerAccount, TrialBalance
from billing.ledger.tables import LedgerCodeRow, LedgerEntryRow, LedgerPostingRow
from billing.money import NOUGHT

UNCODED = "UNCODED"
"""Stands where a ledger account has no cost codes, for the receiving ledger to refuse."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What an entry did to an account's balance; positive makes the debt larger."""

    entry_id: str
    kind: str
    on: date
    description: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class JournalLine:
    """One debit or credit of the journal; the other of the two is nought."""

    entry_id: str
    kind: str
    posted_on: date
    description: str
    ledger_account: str
    service: str
    account_id: str | None
    cost_centre: str
    subjective_code: str
    debit: Decimal
    credit: Decimal


def trial_balance(session: Session, *, on: date) -> TrialBalance:
    """Return every balance at the end of the London date `on`."""
    statement = select(
        LedgerPostingRow.ledger_account,
        LedgerPostingRow.service,
        func.sum(LedgerPostingRow.amount),
    ).group_by(LedgerPostingRow.ledger_account, LedgerPostingRow.service)
    later = select(LedgerEntryRow.id).where(LedgerEntryRow.posted_on > on).limit(1)
    if session.scalar(later) is not None:
        statement = statement.join(
            LedgerEntryRow, LedgerEntryRow.id == LedgerPostingRow.entry_id
        ).where(LedgerEntryRow.posted_on <= on)
    # Otherwise every posting counts, and an index alone has all that is added up.
    rows = session.execute(statement)
    balances = dict.fromkeys(LedgerAccount, NOUGHT)
    revenue: dict[str, Decimal] = {}
    for name, service, amount in rows:
        balances[LedgerAccount(name)] += amount
        if name == LedgerAccount.REVENUE:
            revenue[service] = NOUGHT - amount
    return TrialBalance(on=on, balances=balances, revenue_by_service=dict(sorted(revenue.items())))


def balances_by_account(
    session: Session, *, on: date, ledger_account: LedgerAccount
) -> dict[str | None, Decimal]:
    """Return the balance of one ledger account by payer at the end of `on`."""
    rows = session.execute(
        select(LedgerPostingRow.account_id, func.sum(LedgerPostingRow.amount))
        .join(LedgerEntryRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(
            LedgerEntryRow.posted_on <= on,
            LedgerPostingRow.ledger_account == ledger_account.value,
        )
        .group_by(LedgerPostingRow.account_id)
    )
    return dict(rows.all())


def account_balance(session: Session, *, account_id: str, before: date) -> Decimal:
    """Return what the account owed at the start of the London date `before`, less its credit."""
    amount = session.scalar(
        select(func.sum(LedgerPostingRow.amount))
        .join(LedgerEntryRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(
            LedgerPostingRow.account_id == account_id,
            LedgerPostingRow.ledger_account.in_([account.value for account in OWED_BY_ACCOUNT]),
            LedgerEntryRow.posted_on < before,
        )
    )
    return NOUGHT if amount is None else amount


def movements(
    session: Session, *, account_id: str, first_day: date, end_day: date
) -> Sequence[Movement]:
    """Return what changed the account's balance on London dates [first_day, end_day).

    Setting a payment or a credit note against an invoice changes no balance and is left out.
    """
    amount = func.sum(LedgerPostingRow.amount)
    rows = session.execute(
        select(
            LedgerEntryRow.id,
            LedgerEntryRow.kind,
            LedgerEntryRow.posted_on,
            LedgerEntryRow.description,
            amount,
        )
        .join(LedgerPostingRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(
            LedgerPostingRow.account_id == account_id,
            LedgerPostingRow.ledger_account.in_([account.value for account in OWED_BY_ACCOUNT]),
            LedgerEntryRow.posted_on >= first_day,
            LedgerEntryRow.posted_on < end_day,
        )
        .group_by(LedgerEntryRow.id)
        .having(amount != NOUGHT)
        .order_by(LedgerEntryRow.posted_at, LedgerEntryRow.id)
    )
    return [
        Movement(entry_id=entry_id, kind=kind, on=on, description=words, amount=moved)
        for entry_id, kind, on, words, moved in rows
    ]


def journal(
    session: Session,
    *,
    first_day: date,
    end_day: date,
    limit: int | None = None,
    offset: int = 0,
) -> Sequence[JournalLine]:
    """Return postings on London dates [first_day, end_day) with their cost codes, in order.

    Args:
        limit: at most so many, None for all of them.
        offset: after so many.
    """
    codes = _codes(session)
    rows = session.execute(
        select(
            LedgerEntryRow.id,
            LedgerEntryRow.kind,
            LedgerEntryRow.posted_on,
            LedgerEntryRow.description,
            LedgerPostingRow.ledger_account,
            LedgerPostingRow.service,
            LedgerPostingRow.account_id,
            LedgerPostingRow.amount,
        )
        .join(LedgerPostingRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(LedgerEntryRow.posted_on >= first_day, LedgerEntryRow.posted_on < end_day)
        .order_by(LedgerEntryRow.posted_at, LedgerEntryRow.id, LedgerPostingRow.number)
        .limit(limit)
        .offset(offset)
    )
    lines = []
    for entry_id, kind, posted_on, description, ledger_account, service, account_id, amount in rows:
        coding = _coding(codes, ledger_account, service)
        lines.append(
            JournalLine(
                entry_id=entry_id,
                kind=kind,
                posted_on=posted_on,
                description=description,
                ledger_account=ledger_account,
                service=service,
                account_id=account_id,
                cost_centre=coding[0],
                subjective_code=coding[1],
                debit=max(amount, NOUGHT),
                credit=max(-amount, NOUGHT),
            )
        )
    return lines


@dataclass(frozen=True, kw_only=True)
class JournalSums:
    """What a journal comes to, without its lines.

    Attributes:
        uncoded: ledger accounts and services that have no cost codes.
    """

    lines: int
    debits: Decimal
    credits: Decimal
    uncoded: frozenset[tuple[str, str]]


def journal_sums(session: Session, *, first_day: date, end_day: date) -> JournalSums:
    """Return how many postings `journal` gives of these days, and what they come to."""
    amount = LedgerPostingRow.amount
    rows = session.execute(
        select(
            LedgerPostingRow.ledger_account,
            LedgerPostingRow.service,
            func.count(),
            func.coalesce(func.sum(amount).filter(amount > NOUGHT), NOUGHT),
            func.coalesce(func.sum(-amount).filter(amount < NOUGHT), NOUGHT),
        )
        .join(LedgerEntryRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(LedgerEntryRow.posted_on >= first_day, LedgerEntryRow.posted_on < end_day)
        .group_by(LedgerPostingRow.ledger_account, LedgerPostingRow.service)
    ).all()
    codes = _codes(session)
    return JournalSums(
        lines=sum(row[2] for row in rows),
        debits=sum((row[3] for row in rows), NOUGHT),
        credits=sum((row[4] for row in rows), NOUGHT),
        uncoded=frozenset(
            (row[0], row[1]) for row in rows if UNCODED in _coding(codes, row[0], row[1])
        ),
    )


_Codes = dict[tuple[str, str], tuple[str, str]]


def codes(session: Session) -> Sequence[LedgerCodeRow]:
    """Return the cost codes that are set, by ledger account and service."""
    return session.scalars(
        select(LedgerCodeRow).order_by(LedgerCodeRow.ledger_account, LedgerCodeRow.service)
    ).all()


def _codes(session: Session) -> _Codes:
    return {
        (row.ledger_account, row.service): (row.cost_centre, row.subjective_code)
        for row in codes(session)
    }


def _coding(codes: _Codes, ledger_account: str, service: str) -> tuple[str, str]:
    """Return the codes of a service, else those of the whole ledger account."""
    return codes.get((ledger_account, service)) or codes.get(
        (ledger_account, ""), (UNCODED, UNCODED)
    )


def revenue_by_service(
    session: Session, *, first_day: date, end_day: date
) -> dict[str, tuple[Decimal, Decimal]]:
    """Return (invoiced, credited) net pounds by service on London dates [first_day, end_day)."""
    rows = session.execute(
        select(LedgerPostingRow.service, LedgerEntryRow.kind, func.sum(LedgerPostingRow.amount))
        .join(LedgerEntryRow, LedgerEntryRow.id == LedgerPostingRow.entry_id)
        .where(
            LedgerPostingRow.ledger_account == LedgerAccount.REVENUE.value,
            LedgerEntryRow.posted_on >= first_day,
            LedgerEntryRow.posted_on < end_day,
        )
        .group_by(LedgerPostingRow.service, LedgerEntryRow.kind)
    )
    found: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (NOUGHT, NOUGHT))
    for service, kind, amount in rows:
        invoiced, credited = found[service]
        if kind == "credit-note":
            found[service] = (invoiced, credited + amount)
        else:
            found[service] = (invoiced - amount, credited)
    return dict(sorted(found.items()))
