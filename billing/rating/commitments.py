"""Commitments: the shortfall against a promised spend, and prepaid credits.

What counts as spent is every charge of the tariff under the terms, as rounded. A
monthly commitment is settled each month; a financial-year one in March, or in
the month in which its terms (or the account's agreement) end. A group's
commitment is joint: its shortfall is shared by what each member spent, evenly
where nobody spent anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from billing.money import NOUGHT, round_together, sum_pounds, to_pennies
from billing.rating.model import Charge, LocalTerms, Position
from billing.rating.numbers import NONE, Exact, add, divide, multiply, subtract
from billing.rating.proration import for_days
from billing.rating.segments import Segment
from billing.rating.working import Step
from metering.periods import Month

PositionKey = tuple[str | None, str | None, str, str]


def shortfalls(
    month: Month,
    segments: Iterable[Segment],
    spending: Mapping[tuple[str, str, str], Decimal],
    known: Mapping[PositionKey, Position],
) -> tuple[list[Charge], dict[PositionKey, Position]]:
    """Return the shortfall charges of the month, and pounds spent so far in the year.

    Args:
        segments: of every account in the month whose terms have a commitment.
        spending: pounds and pence charged in the month by account, tariff and terms.
        known: positions before the month; those of commitments hold pounds spent.
    """
    promised: dict[PositionKey, list[Segment]] = {}
    for segment in segments:
        terms = segment.terms
        if terms is not None and terms.commitment is not None:
            account = segment.account if terms.group is None else None
            key = (account, terms.group, segment.tariff.code, f"commitment/{terms.code}")
            promised.setdefault(key, []).append(segment)
    found: list[Charge] = []
    positions: dict[PositionKey, Position] = {}
    for key in sorted(promised, key=str):
        held = promised[key]
        terms = held[0].terms
        assert terms is not None
        assert terms.commitment is not None
        members = {segment.account: segment for segment in held}
        spent = {
            account: spending.get((account, key[2], terms.code), NOUGHT) for account in members
        }
        total: Exact = sum_pounds(list(spent.values()))
        committed: Exact = terms.commitment.amount
        if terms.commitment.per == "month":
            committed = for_days(terms.commitment.amount, _days(held, terms, month), month)
        else:
            before = known.get(key)
            total = add(total, NONE if before is None else before.billable)
            positions[key] = Position(*key, NONE, total)
            if not _ends(held, terms, month):
                continue
        short = subtract(committed, total)
        if short > 0:
            found.extend(_charges(key[3], terms, members, spent, committed, total, short))
    return found, positions


def _days(held: Sequence[Segment], terms: LocalTerms, month: Month) -> int:
    if terms.group is None:
        return sum(segment.days for segment in held)
    first = max(terms.days.first_day, month.first_day)
    end = min(terms.days.end_day or date.max, month.end_day)
    return (end - first).days


def _ends(held: Sequence[Segment], terms: LocalTerms, month: Month) -> bool:
    ends = [terms.days.end_day]
    if terms.group is None:
        ends.append(held[-1].agreement_ends_on)
    return month.financial_month == 12 or any(
        end is not None and end <= month.end_day for end in ends
    )


def _charges(
    price_key: str,
    terms: LocalTerms,
    members: Mapping[str, Segment],
    spent: Mapping[str, Decimal],
    committed: Exact,
    total: Exact,
    short: Exact,
) -> Iterable[Charge]:
    whole = sum_pounds(list(spent.values()))
    shares: dict[str, Exact] = {}
    for account in members:
        if len(members) == 1:
            shares[account] = short
        elif whole:
            shares[account] = divide(multiply(short, spent[account]), whole)
        else:
            shares[account] = divide(short, Decimal(len(members)))
    amounts = round_together(shares)
    assert terms.commitment is not None
    for account in sorted(members):
        segment = members[account]
        exact, amount = shares[account], amounts[account]
        until = segment.end_day - timedelta(days=1)
        steps = [Step("commit", (terms.code, committed, terms.commitment.per, total, short, until))]
        if len(members) > 1:
            steps.append(Step("split", (len(members), spent[account], whole, short, exact)))
        rule = "half-up" if len(members) == 1 else "together"
        steps.append(Step("round", (exact, amount, rule)))
        yield Charge(
            account=account,
            tariff=segment.tariff.code,
            version=segment.tariff.version,
            price_key=price_key,
            label="Shortfall against commitment",
            meter=None,
            band=None,
            where=(),
            scope="own" if terms.group is None else "group",
            group=terms.group,
            terms=terms.code,
            vat=segment.tariff.vat,
            quantity=NONE,
            unit=None,
            exact=exact,
            amount=amount,
            alone_exact=None,
            alone_amount=None,
            first_day=segment.first_day,
            end_day=segment.end_day,
            steps=tuple(steps),
        )


@dataclass(frozen=True, slots=True)
class Credit:
    """Pounds and pence paid in advance, or given.

    Attributes:
        code: its stable name.
        granted_on: the London date from which it can be drawn.
        left: not yet drawn.
        ends_on: the first date on which it can no longer be drawn.
    """

    code: str
    granted_on: date
    left: Decimal
    ends_on: date | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """What one credit pays of an amount."""

    code: str
    amount: Decimal


def draw_credits(
    credits: Iterable[Credit], *, amount: Decimal, on: date
) -> tuple[tuple[Draw, ...], tuple[Credit, ...], Decimal]:
    """Draw prepaid credits, oldest first (by grant date, then code).

    Args:
        amount: pounds and pence to pay; nought or less draws nothing.
        on: the London date; credits not yet granted or already ended are left alone.

    Returns:
        The draws, all credits with what is left in them, and what remains to pay.

    Raises:
        ValueError: a credit is below nought, or an amount is not whole pennies.
    """
    ordered = sorted(credits, key=lambda credit: (credit.granted_on, credit.code))
    if any(credit.left < 0 or credit.left != to_pennies(credit.left) for credit in ordered):
        raise ValueError("a credit holds nought or more, in whole pennies")
    if amount != to_pennies(amount):
        raise ValueError(f"{amount} is not whole pennies")
    draws: list[Draw] = []
    after: list[Credit] = []
    due = amount
    for credit in ordered:
        usable = credit.granted_on <= on and (credit.ends_on is None or on < credit.ends_on)
        part = min(credit.left, due) if usable and due > 0 else NOUGHT
        if part > 0:
            draws.append(Draw(credit.code, part))
            due -= part
        after.append(replace(credit, left=credit.left - part))
    return tuple(draws), tuple(after), due
