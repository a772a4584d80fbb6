"""A counterparty's statement on a page, the same for the central team and for the trust."""

from collections.abc import Callable
from dataclasses import dataclass

from billing.balances.queries import AgreedBalance
from billing.balances.statement import balance_figures, balance_title
from billing.listing import Cell, Column, Listing
from billing.money import show_pounds
from metering.periods import show_date


@dataclass(frozen=True)
class BalanceView:
    """One statement: `rows` of name, amount and note; the open invoices; its file."""

    title: str
    month: str
    rows: tuple[tuple[str, str, str], ...]
    invoices: Listing
    pdf_href: str


def balance_view(
    one: AgreedBalance, *, invoice_href: Callable[[str], str], pdf_href: str
) -> BalanceView:
    """Return a statement for its page; `invoice_href` gives the address of an invoice."""
    return BalanceView(
        title=balance_title(one),
        month=str(one.month),
        rows=tuple((name, amount, note) for name, note, amount in balance_figures(one)),
        invoices=Listing(
            caption="Open invoices at the month’s end",
            columns=(
                Column("Number"),
                Column("Issued"),
                Column("Due"),
                Column("Total with VAT", numeric=True),
                Column("Open", numeric=True),
                Column("Disputed", numeric=True),
            ),
            rows=tuple(
                (
                    Cell(debt.number, href=invoice_href(debt.invoice_id), nowrap=True),
                    Cell(show_date(debt.issued_on), nowrap=True),
                    Cell(show_date(debt.due_on), nowrap=True),
                    Cell(show_pounds(debt.total), nowrap=True),
                    Cell(show_pounds(debt.outstanding), nowrap=True),
                    Cell(show_pounds(debt.disputed) if debt.disputed else "", nowrap=True),
                )
                for debt in one.invoices
            ),
            page_size=max(1, len(one.invoices)),
            empty="No invoice was open at the end of the month.",
        ),
        pdf_href=pdf_href,
    )
