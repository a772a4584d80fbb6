"""What goes into rating and what comes out: frozen, exact, free of any service.

Accounts are named by their ODS code. Quantities are decimals of the meter's unit,
days are London dates, spans of days are half-open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from billing.money import NOUGHT
from billing.rating.numbers import NONE, Exact, exact_text
from billing.rating.working import Step, write_working
from billing.tariffs.terms import Price, Scope, Span, Tariff, VatTreatment

Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Days:
    """London dates from `first_day` up to, not including, `end_day` (None: still)."""

    first_day: date
    end_day: date | None = None

    def __contains__(self, day: date) -> bool:
        return self.first_day <= day and (self.end_day is None or day < self.end_day)


ALWAYS = Days(date.min)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account used of a meter on one London day.

    Attributes:
        dimensions: pairs sorted by name.
        hour: London clock hour 0 to 23, needed where the meter has band prices.
    """

    account: str
    meter: str
    quantity: Decimal
    day: date
    dimensions: Dimensions = ()
    hour: int | None = None


@dataclass(frozen=True, slots=True)
class DatedTariff:
    """A tariff version and the day on which it stops, if it does.

    A version is in force from its `effective_from` until the next version of the
    same tariff starts or `ends_on` comes.
    """

    tariff: Tariff
    ends_on: date | None = None


@dataclass(frozen=True, slots=True)
class Commitment:
    """An account promises to spend at least `amount` pounds on the tariff in a month or year.

    Per month it is prorated by the London days that its terms cover; per financial
    year it is the amount for that part of the year which its terms cover.
    """

    amount: Decimal
    per: Span = "month"


@dataclass(frozen=True, slots=True)
class LocalTerms:
    """A local agreement for one account, or (with `group`) for each member of a group.

    Attributes:
        code: its stable name.
        prices: stand in for the tariff's price with the same key, or are added. A
            local price leaves the national pool; with `group` it may have scope
            group and is then shared among the members under the same terms.
        discount_percent: off every charge under these terms, after the price's own.
    """

    code: str
    days: Days
    prices: tuple[Price, ...] = ()
    discount_percent: Decimal | None = None
    commitment: Commitment | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class GroupMembership:
    """The days on which an account belongs to a group, such as an integrated care board."""

    group: str
    days: Days = ALWAYS


@dataclass(frozen=True, slots=True)
class Agreement:
    """An account is on a tariff from a day to a day.

    Attributes:
        pool: the days on which it is a member of the national pool; `()` for never.
        groups: dated memberships, at most one on any day.
        terms: local agreements, at most one on any day.
    """

    account: str
    tariff: str
    starts_on: date
    ends_on: date | None = None
    pool: tuple[Days, ...] = (ALWAYS,)
    groups: tuple[GroupMembership, ...] = ()
    terms: tuple[LocalTerms, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """How far into a financial year's tiers and included quantity someone has come.

    Attributes:
        account: ODS code; None for the joint position of a group or the pool.
        group: of a joint position; None there means the national pool.
        free_used: of the included quantity.
        billable: priced quantity; for a commitment (`commitment/…`), pounds spent.
    """

    account: str | None
    group: str | None
    tariff: str
    price_key: str
    free_used: Exact = NONE
    billable: Exact = NONE


class Charge(NamedTuple):
    """What one price comes to for one account in one month and tariff version.

    Attributes:
        price_key: of the price; `commitment/<terms>` for a shortfall.
        scope: how it was in fact priced: `own` also where a pooled price was rated
            for days on which the account was no member.
        terms: code of the local agreement in force, if any.
        local_price: whether the price itself is the local agreement's.
        quantity: as metered, before conversion and inclusion.
        unit: of the priced quantity, where the tariff says.
        exact: pounds, unrounded, nothing ever cut.
        amount: pounds and pence, rounded once.
        alone_exact, alone_amount: what a shared price would have come to for this
            account alone (a pool of one); None where nothing is shared.
    """

    account: str
    tariff: str
    version: str
    price_key: str
    label: str
    meter: str | None
    band: str | None
    where: Dimensions
    scope: Scope
    group: str | None
    terms: str | None
    vat: VatTreatment
    quantity: Decimal
    unit: str | None
    exact: Exact
    amount: Decimal
    alone_exact: Exact | None
    alone_amount: Decimal | None
    first_day: date
    end_day: date
    local_price: bool = False
    steps: tuple[Step, ...] = ()

    @property
    def working(self) -> tuple[dict[str, Any], ...]:
        """The recorded steps, JSON-ready: `step`, `text` in plain words, figures as strings."""
        return write_working(self.steps)

    @property
    def saving(self) -> Decimal:
        """Pounds and pence that sharing saved against the same use alone; never below nought."""
        if self.alone_amount is None:
            return NOUGHT
        return max(self.alone_amount - self.amount, NOUGHT)

    @property
    def exact_text(self) -> str:
        """`exact` as a decimal string (see `numbers.exact_text` for digits without end)."""
        return exact_text(self.exact)


@dataclass(frozen=True, slots=True)
class PoolTotal:
    """One shared price in one month and version, over all members.

    Attributes:
        group: None for the national pool.
        terms: code of the group's local agreement, where its price is shared.
        members: accounts with usage in it.
        quantity: billable quantity under this version.
        joint_quantity: of the whole month, under every version; tiers are walked on it.
        joint_amount: pounds, exact, that the walk of `joint_quantity` comes to at this
            version's prices.
        blended_price: pounds a unit: joint_amount ÷ joint_quantity, or the frozen one;
            None when nothing was used.
        amount: pounds and pence charged, after discounts and maxima.
        saving: pounds and pence saved by all members together.
        frozen: whether the blended price was given, not worked out.
        true_up: pounds, exact: what the members' use would come to at the price that
            it makes now, less what it comes to at the frozen price; nought unless frozen.
    """

    tariff: str
    version: str
    price_key: str
    label: str
    scope: Scope
    group: str | None
    terms: str | None
    members: int
    quantity: Exact
    joint_quantity: Exact
    joint_amount: Exact
    blended_price: Fraction | None
    amount: Decimal
    saving: Decimal
    frozen: bool = False
    true_up: Exact = NONE


@dataclass(frozen=True, slots=True)
class FrozenShare:
    """What one account was charged in a pool when its month was closed."""

    exact: Exact
    amount: Decimal


@dataclass(frozen=True, slots=True)
class FrozenPool:
    """A closed month's blended price, and each member's share at that time."""

    tariff: str
    version: str
    price_key: str
    scope: Scope
    group: str | None
    terms: str | None
    blended_price: Fraction
    shares: Mapping[str, FrozenShare]


@dataclass(frozen=True, slots=True)
class Parked:
    """Usage that could not be priced: set aside with a reason, never charged at nought.

    Attributes:
        reason: stable kebab-case code, see `books.REASONS`.
        detail: one plain sentence.
        quantity: metered.
        lines: how many usage lines.
    """

    account: str
    meter: str
    dimensions: Dimensions
    reason: str
    detail: str
    quantity: Decimal
    lines: int
    first_day: date
    end_day: date


@dataclass(frozen=True, slots=True)
class RatingResult:
    """Everything that rating one month says.

    `positions` go into the next month of the same financial year as `history`.
    """

    charges: tuple[Charge, ...]
    pools: tuple[PoolTotal, ...]
    parked: tuple[Parked, ...]
    positions: tuple[Position, ...]
