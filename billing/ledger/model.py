"""Entries as accountants write them: pure values that balance or do not exist.

A debit is positive and a credit negative, so an entry balances when its postings sum to nought.

| ledger account | holds | usual side |
|---|---|---|
| receivable | what accounts owe on invoices | debit |
| credit | credit notes not yet used | credit |
| unallocated | money received and not yet set against an invoice | credit |
| revenue | invoiced net of VAT, by service | credit |
| vat | VAT on it | credit |
| cash | money in the bank | debit |
| stripe | money held at Stripe until it is paid out | debit |
| write-off | debts given up | debit |
| other | bank movements that are not about accounts: charges, interest, transfers | either |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum

from billing.money import NOUGHT, sum_pounds, to_pennies


class LedgerAccount(StrEnum):
    """The chart of accounts, in the order of printing."""

    RECEIVABLE = "receivable"
    CREDIT = "credit"
    UNALLOCATED = "unallocated"
    CASH = "cash"
    STRIPE = "stripe"
    REVENUE = "revenue"
    VAT = "vat"
    WRITE_OFF = "write-off"
    OTHER = "other"


OWED_BY_ACCOUNT = (LedgerAccount.RECEIVABLE, LedgerAccount.CREDIT, LedgerAccount.UNALLOCATED)
"""Together these are an account's balance: what it owes less what it is owed."""


class EntryKind(StrEnum):
    """What happened."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"
    RECEIPT = "receipt"
    """A line of a bank statement, in or out, before anyone knows whose it is."""
    PAYMENT = "payment"
    """Money is recognised as an account's."""
    ALLOCATION = "allocation"
    REFUND = "refund"
    WRITE_OFF = "write-off"
    SET_ASIDE = "set-aside"
    PAYOUT = "payout"
    UNDO = "undo"


class DocumentKind(StrEnum):
    """Which issued document is posted."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"


@dataclass(frozen=True, kw_only=True)
class Posting:
    """One side of an entry.

    Attributes:
        amount: pounds and pence; a debit positive, a credit negative, never nought.
        account_id: whom it is about, None for the central team's own.
        service: the tariff code, on revenue alone.
    """

    ledger_account: LedgerAccount
    amount: Decimal
    account_id: str | None = None
    service: str = ""

    def __post_init__(self) -> None:
        if self.amount == 0 or self.amount != to_pennies(self.amount):
            raise ValueError(f"{self.amount} cannot be posted: whole pennies, not nought")


@dataclass(frozen=True, kw_only=True)
class IssuedDocument:
    """What the ledger must know of an invoice or credit note at issue.

    Attributes:
        net_by_service: net pounds by tariff code, as printed; positive on a credit note too.
        total: net and VAT together, never negative.
        credits_document_id: on a credit note, the invoice that it credits.

    Raises:
        ValueError: the parts are not the total.
    """

    account_id: str
    document_id: str
    number: str
    kind: DocumentKind
    issued_on: date
    due_on: date
    net_by_service: Mapping[str, Decimal]
    vat: Decimal
    total: Decimal
    credits_document_id: str | None = None

    def __post_init__(self) -> None:
        if sum_pounds(list(self.net_by_service.values())) + self.vat != self.total:
            raise ValueError(f"{self.number}: net by service and VAT do not make the total")
        if self.total < 0:
            raise ValueError(f"{self.number}: a document of less than nothing is a credit note")


def balance(postings: Iterable[Posting]) -> Decimal:
    """Return the sum of the postings: nought when they balance."""
    return sum((posting.amount for posting in postings), NOUGHT)


def document_postings(document: IssuedDocument) -> tuple[Posting, ...]:
    """Return what issuing posts: the debt against revenue by service and VAT, or the reverse."""
    credit_note = document.kind is DocumentKind.CREDIT_NOTE
    sign = -1 if credit_note else 1
    owed = LedgerAccount.CREDIT if credit_note else LedgerAccount.RECEIVABLE
    amounts = [
        (owed, document.total, ""),
        *(
            (LedgerAccount.REVENUE, -net, service)
            for service, net in sorted(document.net_by_service.items())
        ),
        (LedgerAccount.VAT, -document.vat, ""),
    ]
    return tuple(
        Posting(
            ledger_account=ledger_account,
            amount=sign * amount,
            account_id=document.account_id,
            service=service,
        )
        for ledger_account, amount, service in amounts
        if amount
    )


def move(
    amount: Decimal,
    *,
    debit: LedgerAccount,
    credit: LedgerAccount,
    debit_account_id: str | None = None,
    credit_account_id: str | None = None,
) -> tuple[Posting, Posting]:
    """Return the two postings that move `amount` from `credit` to `debit`."""
    return (
        Posting(ledger_account=debit, amount=amount, account_id=debit_account_id),
        Posting(ledger_account=credit, amount=-amount, account_id=credit_account_id),
    )


def reverse(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """Return the postings that undo these."""
    return tuple(replace(posting, amount=-posting.amount) for posting in postings)


@dataclass(frozen=True, kw_only=True)
class TrialBalance:
    """Every ledger account's balance at the end of a London day; debits positive.

    Attributes:
        revenue_by_service: credits shown positive, as people read revenue.
    """

    on: date
    balances: Mapping[LedgerAccount, Decimal]
    revenue_by_service: Mapping[str, Decimal]

    @property
    def debits(self) -> Decimal:
        """The sum of the accounts whose balance is a debit."""
        return sum_pounds([amount for amount in self.balances.values() if amount > 0])

    @property
    def credits(self) -> Decimal:
        """The sum of the accounts whose balance is a credit, shown positive."""
        return sum_pounds([-amount for amount in self.balances.values() if amount < 0])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where ledger and documents disagree."""

    what: str
    ledger: Decimal
    documents: Decimal


def differences(pairs: Sequence[tuple[str, Decimal, Decimal]]) -> tuple[Difference, ...]:
    """Return the pairs (what, in the ledger, in the documents) that are not equal."""
    return tuple(
        Difference(what=what, ledger=ledger, documents=documents)
        for what, ledger, documents in pairs
        if ledger != documents
    )
