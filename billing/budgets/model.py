"""Which shares of a budget are reached. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from billing.money import NOUGHT, show_pounds, sum_pounds
from metering.kit.errors import Invalid
from metering.periods import Month, financial_year_label, financial_year_start

Basis = Literal["spent", "forecast"]
PERS = ("month", "financial-year")
SHARES = (50, 80, 100)
MOST_SHARES = 10
LARGEST_SHARE = 500


class BudgetInvalid(Invalid):
    """A budget is of whole pennies above nought, for a month or a financial year, and warns at
    one to ten whole shares from 1 to 500 percent."""

    code = "budget-invalid"
    title = "The budget is not valid"


def checked_shares(shares: Iterable[int]) -> list[int]:
    """Return the shares in order, each once.

    Raises:
        BudgetInvalid: see the class.
    """
    found = sorted(set(shares))
    if (
        not 1 <= len(found) <= MOST_SHARES
        or not all(isinstance(share, int) and not isinstance(share, bool) for share in found)
        or found[0] < 1
        or found[-1] > LARGEST_SHARE
    ):
        raise BudgetInvalid("Warn at one to ten whole shares from 1 to 500 percent.")
    return found


@dataclass(frozen=True, kw_only=True)
class Span:
    """The month or financial year that a budget is for, as it stands in a month."""

    per: str
    month: Month

    @property
    def first(self) -> Month:
        """Its first month."""
        return (
            self.month if self.per == "month" else financial_year_start(self.month.financial_year)
        )

    @property
    def months_after(self) -> int:
        """Months of the span after the present one."""
        return 0 if self.per == "month" else 12 - self.month.financial_month

    @property
    def starts_on(self) -> date:
        """Its first London day."""
        return self.first.first_day

    @property
    def name(self) -> str:
        """As people say it: `May 2026`, `2026/27`."""
        if self.per == "month":
            return self.month.name
        return financial_year_label(self.month.financial_year)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a service's meter comes to in the span; `before` the present month, and in it."""

    service: str
    meter: str
    before: Decimal
    to_date: Decimal
    expected: Decimal


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A budget and what it is set against, pounds and pence without VAT.

    Attributes:
        scope: service or cost centre, None for everything.
        spent: charged in the span so far.
        forecast: expected at its end: what is charged of earlier months, the present month's
            forecast, and as much again for each month of the financial year to come.
    """

    budget_id: str
    per: str
    scope: str | None
    span: Span
    amount: Decimal
    shares: tuple[int, ...]
    spent: Decimal
    forecast: Decimal

    @property
    def left(self) -> Decimal:
        """Pounds left; below nought once more was spent."""
        return self.amount - self.spent

    @property
    def spent_percent(self) -> int:
        """Whole percent spent, cut down."""
        return int(100 * self.spent / self.amount)

    @property
    def forecast_percent(self) -> int:
        """Whole percent expected, cut down."""
        return int(100 * self.forecast / self.amount)

    @property
    def colour(self) -> str:
        """The tag's colour on pages."""
        if self.spent > self.amount:
            return "red"
        return "orange" if self.forecast > self.amount else "green"

    @property
    def words(self) -> str:
        """One sentence for people."""
        said = (
            f"{show_pounds(self.spent)} of {show_pounds(self.amount)} ({self.spent_percent}%) is "
            f"spent in {self.span.name}"
        )
        over = self.forecast - self.amount
        if self.spent > self.amount:
            return f"{said}: {show_pounds(-self.left)} too much."
        if over > 0:
            return f"{said}, and the forecast is {show_pounds(over)} above the budget."
        return f"{said}; the forecast is {show_pounds(self.forecast)}."

    def reached(self) -> list[tuple[Basis, int, Decimal]]:
        """Return the shares reached by what is spent, and 100% where the forecast passes it."""
        found: list[tuple[Basis, int, Decimal]] = [
            ("spent", share, self.spent)
            for share in self.shares
            if 100 * self.spent >= share * self.amount
        ]
        if self.forecast > self.amount:
            found.append(("forecast", 100, self.forecast))
        return found


def standing(
    *,
    budget_id: str,
    span: Span,
    scope: str | None,
    amount: Decimal,
    shares: Sequence[int],
    parts: Iterable[Part],
) -> Standing:
    """Set a budget against what falls under it.

    Args:
        parts: those of the budget's scope only.
    """
    found = list(parts)
    before = sum_pounds([part.before for part in found])
    to_date = sum_pounds([part.to_date for part in found])
    expected = max(sum_pounds([part.expected for part in found]), to_date)
    return Standing(
        budget_id=budget_id,
        per=span.per,
        scope=scope,
        span=span,
        amount=amount,
        shares=tuple(shares),
        spent=before + to_date,
        forecast=before + expected + span.months_after * expected + NOUGHT,
    )
