"""What the list of invoices shows, and where an invoice stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from urllib.parse import quote, urlencode

from billing.bundles.pages import BundleView
from billing.forms import Form
from billing.listing import Asked, Cell, Column, Listing, money_cell
from billing.money import show_pounds, sum_pounds
from billing.portal.account import OpenAccount
from billing.portal.invoice_queries import InvoiceFilter, InvoiceSummary
from billing.portal.owing import Owing
from billing.portal.parts import Figure, Tag
from billing.portal.words import plural
from metering.periods import Month, financial_year_label, london_day, show_date

PAGE_SIZE = 25
STANDINGS = (
    ("", "All"),
    ("to-pay", "To pay"),
    ("part-paid", "Part paid"),
    ("overdue", "Overdue"),
    ("paid", "Paid"),
    ("credit", "Credit notes"),
)


@dataclass(frozen=True)
class InvoicesPage:
    """The list of invoices and what is owed."""

    account: OpenAccount
    figures: tuple[Figure, ...]
    form: Form
    standings: tuple[tuple[str, str], ...]
    years: tuple[tuple[str, str], ...]
    is_filtered: bool
    listing: Listing
    bundle_form: Form
    months: tuple[tuple[str, str], ...]
    bundles: tuple[BundleView, ...]


def standing_tag(
    *, kind: str, status: str, due_on: date | None, total: Decimal, left: Decimal, today: date
) -> Tag:
    """Return where an issued invoice stands, in a few words.

    Args:
        total: of the document; its sign does not matter.
        left: what of it is open, never negative.
    """
    part = f", {show_pounds(left)} left" if 0 < left < abs(total) else ""
    if kind == "credit-note":
        return Tag("Used", "green") if status == "settled" else Tag(f"Credit{part}", "aqua-green")
    if status == "settled":
        return Tag("Paid", "green")
    if due_on is not None and due_on < today:
        return Tag(f"Overdue{part}", "red")
    return Tag(f"Part paid{part}", "yellow") if part else Tag("To pay", "blue")


def standing_of(item: InvoiceSummary, *, today: date) -> Tag:
    """Return where an invoice of the list stands."""
    return standing_tag(
        kind=item.kind,
        status=item.status,
        due_on=item.due_on,
        total=item.total,
        left=item.left,
        today=today,
    )


def owing_figures(owing: Owing) -> tuple[Figure, ...]:
    """Return what is owed, for the top of a page."""
    due = f", next by {show_date(owing.next_due_on)}" if owing.next_due_on else ""
    late = len(owing.overdue)
    figures = [
        Figure(
            "To pay",
            show_pounds(owing.to_pay),
            f"{plural(len(owing.debts), 'invoice')}{due}" if owing.debts else "Nothing to pay",
        ),
        Figure(
            "Overdue",
            show_pounds(owing.to_pay_late),
            plural(late, "invoice") if late else "Nothing overdue",
            "warning" if late else "success",
        ),
    ]
    if owing.taken_over:
        figures.append(
            Figure(
                "Taken over, to pay",
                show_pounds(sum_pounds([each.debt.outstanding for each in owing.taken_over])),
                f"{plural(len(owing.taken_over), 'invoice')} of organisations that became part "
                "of yours; see the statement",
            )
        )
    if owing.credit > 0:
        figures.append(
            Figure(
                "Credit to use",
                show_pounds(owing.credit),
                "Payments and credit notes not set against an invoice yet",
            )
        )
    return tuple(figures)


def invoices_page(
    *,
    account: OpenAccount,
    path: str,
    found: Sequence[InvoiceSummary],
    total: int,
    owing: Owing,
    months: Sequence[Month],
    bundles: tuple[BundleView, ...],
    wanted: InvoiceFilter,
    asked: Asked,
    today: date,
) -> InvoicesPage:
    """Return the list of invoices."""
    query = {
        "status": wanted.standing,
        "year": "" if wanted.financial_year is None else str(wanted.financial_year),
        "search": wanted.search,
    }
    kept = {name: value for name, value in query.items() if value}
    rows = []
    for item in found:
        tag = standing_of(item, today=today)
        rows.append(
            (
                Cell(item.number, href=f"{path}/{quote(item.id)}"),
                Cell(Month.of_day(item.month).name),
                Cell(show_date(london_day(item.issued_at))),
                Cell(
                    show_date(item.due_on)
                    if item.due_on is not None and item.kind == "invoice"
                    else "–"
                ),
                Cell(tag.text, colour=tag.colour),
                money_cell(item.total),
            )
        )
    years = dict.fromkeys(month.financial_year for month in months)
    of_year = [month for month in months if wanted.financial_year in (None, month.financial_year)]
    order = {"sort": asked.sort, "direction": asked.direction}
    return InvoicesPage(
        account=account,
        figures=owing_figures(owing),
        form=Form(query),
        standings=STANDINGS,
        years=(("", "All"), *((str(year), financial_year_label(year)) for year in years)),
        is_filtered=bool(kept),
        listing=Listing(
            name="invoices",
            download=f"{path}.csv?{urlencode(kept | order)}",
            caption="Invoices and credit notes",
            caption_hidden=True,
            columns=(
                Column("Number", "number"),
                Column("For", "month"),
                Column("Issued", "issued"),
                Column("Due", "due"),
                Column("Status"),
                Column("Total with VAT", "total", numeric=True),
            ),
            rows=tuple(rows),
            path=path,
            query=kept,
            sort=asked.sort,
            direction=asked.direction,
            page=asked.page,
            page_size=PAGE_SIZE,
            total=total,
            empty=(
                "No invoice matches. Change the filters or clear them."
                if kept
                else "There are no invoices yet. They are issued after the end of each month; "
                "until then, see what this month has come to so far on the overview."
            ),
        ),
        bundle_form=Form(
            {"first": str(of_year[-1]), "last": str(of_year[0])} if of_year else {},
        ),
        months=tuple((str(month), month.name) for month in months),
        bundles=bundles,
    )
