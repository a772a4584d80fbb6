"""Whose money is it, and for what: suggestions for a bank line, best first. Pure.

The same line, open invoices and payers give the same suggestions in the same order, whatever
order they come in. A suggestion is *certain* only when the payer's own words name invoices
whose open amounts are exactly the money; only those are ever confirmed without a person.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache

from billing.money import NOUGHT, sum_pounds
from billing.payments.bank.model import Remittance, StatementLine
from billing.payments.bank.spelling import (
    Spelling,
    Spellings,
    compact,
    look_of,
    spelling,
    spellings_of,
    words,
)

CERTAIN = 100
MOST_SUGGESTIONS = 5
_REMITTANCE_DAYS = timedelta(days=10)
_WORDS_OF_NAMES = frozenset({"NHS", "TRUST", "FOUNDATION", "THE", "AND", "OF", "UNIVERSITY"})


@dataclass(frozen=True, kw_only=True)
class OpenInvoice:
    """An invoice that leaves something open."""

    account_id: str
    invoice_id: str
    number: str
    outstanding: Decimal
    issued_on: date
    due_on: date
    purchase_order: str = ""


@dataclass(frozen=True, kw_only=True)
class Payer:
    """What is known of an account as a payer.

    Attributes:
        names: its name and ODS code.
        bank_accounts: those from which it has paid before.
    """

    account_id: str
    names: tuple[str, ...]
    bank_accounts: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Share:
    """Part of a bank line for one invoice, or (`invoice_id` None) kept for the account."""

    account_id: str
    invoice_id: str | None
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What a line may be; its shares sum to the line.

    Attributes:
        score: 0 to 100, for order and colour; 100 is certain.
        why: in words.
    """

    score: int
    why: str
    shares: tuple[Share, ...]


@lru_cache(maxsize=65_536)
def _telling_words(name: str) -> frozenset[str]:
    return words(name) - _WORDS_OF_NAMES


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What lines are matched against.

    What is looked up for each line is put in order once: a nation has thousands of open
    invoices and of payers, and a statement thousands of lines.
    """

    invoices: Sequence[OpenInvoice]
    payers: Sequence[Payer]
    remittances: Sequence[Remittance] = field(default=())

    @cached_property
    def _by_due_day(self) -> list[OpenInvoice]:
        return sorted(self.invoices, key=lambda item: (item.due_on, item.number))

    @cached_property
    def _by_number(self) -> dict[str, OpenInvoice]:
        return {compact(item.number): item for item in self._by_due_day}

    @cached_property
    def _number_lengths(self) -> list[int]:
        return sorted({len(number) for number in self._by_number})

    @cached_property
    def _spelt(self) -> list[tuple[Spelling, OpenInvoice]]:
        return [
            (spelling(number, item.purchase_order), item)
            for number, item in self._by_number.items()
        ]

    @cached_property
    def _spellings(self) -> Spellings:
        return spellings_of(tuple(spelt for spelt, _ in self._spelt))

    @cached_property
    def _by_account(self) -> dict[str, list[OpenInvoice]]:
        found: dict[str, list[OpenInvoice]] = defaultdict(list)
        for item in self._by_due_day:
            found[item.account_id].append(item)
        return found

    @cached_property
    def _by_amount(self) -> dict[Decimal, list[OpenInvoice]]:
        found: dict[Decimal, list[OpenInvoice]] = defaultdict(list)
        for item in self._by_due_day:
            found[item.outstanding].append(item)
        return found

    @cached_property
    def _by_bank_account(self) -> dict[str, list[Payer]]:
        found: dict[str, list[Payer]] = defaultdict(list)
        for payer in self.payers:
            for known in {compact(account) for account in payer.bank_accounts}:
                found[known].append(payer)
        return found

    @cached_property
    def _telling(self) -> list[tuple[frozenset[str], str, Payer]]:
        """The words of each payer's names that say whose they are, the name, and the payer."""
        found = []
        for payer in self.payers:
            for name in payer.names:
                telling = _telling_words(name)
                if telling:
                    found.append((telling, name, payer))
        return found


def suggest(line: StatementLine, against: Ledger) -> tuple[Suggestion, ...]:
    """Return what a line of money that came in may be, best first; none for money that went out."""
    if line.amount <= 0:
        return ()
    found: list[Suggestion] = []
    text = f"{line.reference} {line.details}"
    named = _named(text, against)
    if named:
        found.append(_for_named(line.amount, named))
    found.extend(_for_remittances(line, against))
    if not named:
        found.extend(_for_misspelt(line.amount, text, against))
    payers = _payers(line, against)
    for payer, score, why in payers:
        own = against._by_account.get(payer.account_id, [])
        found.extend(_for_payer(line.amount, own, payer, score, why))
    if not payers:
        exact = against._by_amount.get(line.amount, [])
        score = 40 if len(exact) == 1 else 20
        found.extend(
            Suggestion(
                score=score,
                why=f"Invoice {item.number} is open by exactly this amount",
                shares=(_share(item, line.amount),),
            )
            for item in exact
        )
    return _best(found)


def certain(suggestions: Sequence[Suggestion]) -> Suggestion | None:
    """Return the suggestion that may be confirmed without a person, None where there is doubt."""
    sure = [suggestion for suggestion in suggestions if suggestion.score == CERTAIN]
    return sure[0] if len(sure) == 1 else None


def spread(
    amount: Decimal, invoices: Iterable[OpenInvoice], *, keeper: str | None = None
) -> tuple[Share, ...]:
    """Share `amount` over invoices in order, each up to what it leaves open.

    Args:
        keeper: the account that keeps what is left over; by default that of the first invoice.
    """
    shares: list[Share] = []
    left = amount
    for item in invoices:
        keeper = keeper or item.account_id
        part = min(left, item.outstanding)
        if part > 0:
            shares.append(_share(item, part))
            left -= part
    if left > 0 and keeper is not None:
        shares.append(Share(account_id=keeper, invoice_id=None, amount=left))
    return tuple(shares)


def _named(text: str, against: Ledger) -> list[OpenInvoice]:
    """Return the invoices whose whole number stands in the text, in the order of the text."""
    said = compact(text)
    found: dict[str, tuple[int, str, OpenInvoice]] = {}
    for start in range(len(said)):
        for length in against._number_lengths:
            number = said[start : start + length]
            item = against._by_number.get(number)
            # A longer number that begins with this one is another invoice.
            if item is None or said[start + length : start + length + 1].isdigit():
                continue
            found.setdefault(number, (start, item.number, item))
    return [item for _, _, item in sorted(found.values(), key=lambda place: place[:2])]


def _for_named(amount: Decimal, named: Sequence[OpenInvoice]) -> Suggestion:
    open_sum = sum_pounds([item.outstanding for item in named])
    numbers = ", ".join(item.number for item in named)
    accounts = {item.account_id for item in named}
    if amount == open_sum:
        score, why = CERTAIN, f"The reference names {numbers}, open by exactly this amount"
    elif amount < open_sum:
        score, why = 85, f"The reference names {numbers}; this pays a part"
    else:
        score, why = 80, f"The reference names {numbers}; this is more than is open"
    if len(accounts) > 1 and score == CERTAIN:
        # One payer for several accounts is usual, but a person should see it.
        score = 95
    return Suggestion(score=score, why=why, shares=spread(amount, named))


def _for_remittances(line: StatementLine, against: Ledger) -> Iterable[Suggestion]:
    by_number = against._by_number
    said = compact(f"{line.reference} {line.details} {line.counterparty}")
    for remittance in sorted(
        against.remittances, key=lambda one: (one.paid_on, one.payer, one.reference)
    ):
        near = abs(line.booked_on - remittance.paid_on) <= _REMITTANCE_DAYS
        if remittance.total != line.amount or not near:
            continue
        wanted: dict[str, Decimal] = defaultdict(lambda: NOUGHT)
        for item in remittance.items:
            wanted[compact(item.invoice_number)] += item.amount
        known = [number for number in wanted if number in by_number]
        fits = len(known) == len(wanted) and all(
            NOUGHT < wanted[number] <= by_number[number].outstanding for number in known
        )
        if not fits:
            continue
        reference = compact(remittance.reference)
        recognised = (reference and reference in said) or compact(remittance.payer) in said
        yield Suggestion(
            score=95 if recognised else 75,
            why=f"The remittance advice of {remittance.payer} comes to exactly this amount",
            shares=tuple(_share(by_number[number], wanted[number]) for number in known),
        )


def _for_misspelt(amount: Decimal, text: str, against: Ledger) -> Iterable[Suggestion]:
    said = compact(text)
    looks = look_of(said)
    figures = {run.lstrip("0") or "0" for run in re.findall(r"\d+", text)}
    almost = against._spellings.almost(said)
    for place in against._spellings.places(said, almost, figures):
        (number, look, tail, order), item = against._spelt[place]
        exact = item.outstanding == amount
        if look in looks or number in almost:
            score, why = (80 if exact else 50), f"The reference almost names {item.number}"
        elif exact and tail in figures:
            score, why = 65, f"The reference ends as {item.number} does, and the amount is exact"
        elif order and order in said:
            score, why = (75 if exact else 45), f"The reference names the order of {item.number}"
        else:
            continue
        yield Suggestion(score=score, why=why, shares=spread(amount, [item]))


def _payers(line: StatementLine, against: Ledger) -> list[tuple[Payer, int, str]]:
    """Return the accounts that the money may be from, with a score and the reason."""
    account = compact(line.counterparty_account)
    by_account = against._by_bank_account.get(account, []) if account else []
    if by_account:
        return [(payer, 70, "It has paid from this bank account before") for payer in by_account]
    found: dict[str, tuple[Payer, int, str]] = {}
    said = words(f"{line.counterparty} {line.reference}")
    for telling, name, payer in against._telling:
        if telling <= said:
            found.setdefault(payer.account_id, (payer, 60, f"The payer is named like {name}"))
    return [found[account_id] for account_id in sorted(found)]


def _for_payer(
    amount: Decimal, own: Sequence[OpenInvoice], payer: Payer, score: int, why: str
) -> Iterable[Suggestion]:
    exact = [item for item in own if item.outstanding == amount]
    for item in exact:
        yield Suggestion(
            score=score + (15 if len(exact) == 1 else 5),
            why=f"{why}; {item.number} is open by exactly this amount",
            shares=(_share(item, amount),),
        )
    oldest: list[OpenInvoice] = []
    for item in own:
        oldest.append(item)
        if len(oldest) > 1 and sum_pounds([one.outstanding for one in oldest]) == amount:
            yield Suggestion(
                score=score + 10,
                why=f"{why}; the {len(oldest)} oldest invoices come to exactly this amount",
                shares=spread(amount, oldest),
            )
    if not exact:
        yield Suggestion(
            score=score - 25,
            why=f"{why}; set against the oldest invoices",
            shares=spread(amount, own, keeper=payer.account_id),
        )


def _share(item: OpenInvoice, amount: Decimal) -> Share:
    return Share(account_id=item.account_id, invoice_id=item.invoice_id, amount=amount)


def _best(found: Iterable[Suggestion]) -> tuple[Suggestion, ...]:
    """Return the best few, of equal shares only the best, in an order that is always the same."""
    by_shares: dict[tuple[Share, ...], Suggestion] = {}
    for suggestion in sorted(found, key=_order):
        by_shares.setdefault(suggestion.shares, suggestion)
    return tuple(sorted(by_shares.values(), key=_order)[:MOST_SUGGESTIONS])


def _order(suggestion: Suggestion) -> tuple[int, str, tuple[tuple[str, str, Decimal], ...]]:
    shares = tuple(
        (share.account_id, share.invoice_id or "", share.amount) for share in suggestion.shares
    )
    return (-suggestion.score, suggestion.why, shares)
