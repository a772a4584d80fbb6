"""What the pages of budgets and cost centres show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from billing.budgets.model import Standing
from billing.forms import Form
from billing.listing import Cell, Column, Listing, money_cell
from billing.portal.account import OpenAccount
from billing.portal.budget_queries import OrderUse
from billing.portal.words import show_span
from metering.periods import show_date

_TAGS = {"red": "Overspent", "orange": "Will be overspent", "green": "Within budget"}


@dataclass(frozen=True)
class BudgetsPage:
    """Budgets as they stand, and who bears what."""

    account: OpenAccount
    budgets: Listing
    sentences: tuple[str, ...]
    centres: Listing
    orders: Listing
    new_href: str
    centres_href: str


@dataclass(frozen=True)
class BudgetPage:
    """The form of a budget; `budget_id` is empty for a new one."""

    account: OpenAccount
    title: str
    form: Form
    scopes: tuple[tuple[str, str], ...]
    budget_id: str
    budgets_path: str


def scope_words(standing: Standing, names: Mapping[str, str]) -> str:
    """Return what a budget is for."""
    if standing.scope is None:
        return "Everything"
    return names.get(standing.scope) or f"Cost centre {standing.scope}"


def budgets_listing(
    found: Sequence[Standing],
    *,
    root: str,
    names: Mapping[str, str],
    caption: str,
    editable: bool = False,
) -> Listing:
    """Return budgets as they stand; each leads to its form where it may be changed."""
    return Listing(
        name="budgets",
        beside=True,
        caption=caption,
        columns=(
            Column("For"),
            Column("Span"),
            Column("Budget", numeric=True),
            Column("Spent", numeric=True),
            Column("Expected", numeric=True),
            Column("State"),
        ),
        rows=tuple(
            (
                Cell(
                    scope_words(each, names),
                    href=f"{root}budgets/{quote(each.budget_id)}" if editable else None,
                    hidden=f"in {each.span.name}: change" if editable else None,
                ),
                Cell(each.span.name),
                money_cell(each.amount),
                money_cell(each.spent),
                money_cell(each.forecast),
                Cell(_TAGS[each.colour], colour=each.colour),
            )
            for each in found
        ),
        path=f"{root}budgets",
        empty="There is no budget. Set one to be warned before too much is spent.",
    )


def scopes(
    names: Mapping[str, str], own: Sequence[str], centres: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Return what a new budget can be for."""
    return (
        ("", "Everything"),
        *((f"service:{code}", names.get(code, code)) for code in own),
        *((f"centre:{name}", f"Cost centre {name}") for name in sorted(set(centres))),
    )


def orders_listing(found: Sequence[OrderUse], *, path: str) -> Listing:
    """Return purchase orders and what is left on them."""
    return Listing(
        name="purchase-orders",
        beside=True,
        path=path,
        caption="Purchase orders",
        caption_hidden=True,
        columns=(
            Column("Number"),
            Column("For"),
            Column("Dates"),
            Column("Value", numeric=True),
            Column("Invoiced", numeric=True),
            Column("Left", numeric=True),
        ),
        rows=tuple(
            (
                Cell(order.number),
                Cell(order.service or "Every service"),
                Cell(
                    f"From {show_date(order.starts_on)}"
                    if order.ends_on is None
                    else show_span(order.starts_on, order.ends_on),
                    value=order.starts_on,
                ),
                money_cell(order.value, none="No limit"),
                money_cell(order.spent),
                money_cell(None if order.value is None else order.value - order.spent, none="–"),
            )
            for order in found
        ),
        empty="There is no purchase order, so invoices quote none. Send its number to the "
        "central team to have it quoted.",
    )
