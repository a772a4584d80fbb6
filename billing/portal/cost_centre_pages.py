"""What the pages of cost centres show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from billing.accounts.allocation import AllocationRule
from billing.forms import Form
from billing.listing import Cell, Column, Listing, day_cell
from billing.money import plain
from billing.portal.account import OpenAccount
from billing.portal.cost_centre_queries import RuleSeen
from metering.periods import Month

_MONTHS_BACK, _MONTHS_AHEAD = 2, 12


@dataclass(frozen=True)
class CostCentresPage:
    """The rules in force and to come, and the form of one.

    Attributes:
        rows: numbers of the form's rows of shares.
        ends: (id, what) of the rules that can be ended.
    """

    account: OpenAccount
    form: Form
    what: tuple[tuple[str, str], ...]
    months: tuple[tuple[str, str], ...]
    rows: tuple[int, ...]
    rules: Listing
    ends: tuple[tuple[str, str], ...]
    budgets_path: str


def centres_of(rules: Iterable[AllocationRule]) -> set[str]:
    """Return every cost centre that the rules name."""
    return {share.cost_centre for rule in rules for share in rule.shares}


def rules_listing(
    found: Sequence[RuleSeen], *, root: str | None, today: date, path: str
) -> Listing:
    """Return the rules; each leads to its form under `root` where it may be changed."""
    return Listing(
        name="cost-centres",
        beside=True,
        path=path,
        caption="Cost centres",
        caption_hidden=True,
        columns=(
            Column("Lines of"),
            Column("Borne by"),
            Column("From"),
            Column("To the end of"),
            Column("State"),
        ),
        rows=tuple(
            (
                Cell(
                    one.what,
                    href=None if root is None else f"{root}?rule={one.row.id}#allocation",
                    hidden=None if root is None else "change",
                ),
                Cell(_shares(one)),
                day_cell(one.row.starts_on),
                day_cell(one.row.ends_on and one.row.ends_on - timedelta(days=1), none=""),
                _state(one, today),
            )
            for one in found
        ),
        empty="No cost centre is assigned, so invoices name none. Assign them to have each line "
        "coded, and to set budgets for them.",
    )


def _shares(one: RuleSeen) -> str:
    return "; ".join(
        f"{share.cost_centre}"
        f"{f' / {share.subjective_code}' if share.subjective_code else ''} {plain(share.percent)}%"
        for share in one.shares
    )


def _state(one: RuleSeen, today: date) -> Cell:
    if today < one.row.starts_on:
        return Cell("To come", colour="blue")
    if one.row.ends_on is not None and one.row.ends_on <= today:
        return Cell("Ended", colour="grey")
    return Cell("In force", colour="green")


def month_choices(today: date) -> tuple[tuple[str, str], ...]:
    """Return the months from which a rule may begin: lately gone, in hand, and to come."""
    month = Month.of_day(today)
    return tuple(
        (str(one), one.name)
        for one in (month.shift(step) for step in range(-_MONTHS_BACK, _MONTHS_AHEAD + 1))
    )
