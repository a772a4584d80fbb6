"""Money that a trust paid in advance: what is left of it, and what it paid."""

from dataclasses import dataclass
from decimal import Decimal

from flask import render_template, url_for

from billing.listing import Cell, Column, Listing
from billing.money import show_pounds, sum_pounds
from billing.payments.prepaid import PrepaidDraw, PrepaidStanding, history, standings
from billing.portal.account import OpenAccount, opened
from billing.portal.blueprint import blueprint
from metering.kit.web import edge
from metering.periods import london_day, show_date


@dataclass(frozen=True)
class PrepaidPage:
    """What is left today, each credit, and each invoice that was paid from one."""

    account: OpenAccount
    left: Decimal
    credits: Listing
    draws: Listing


@blueprint.get("/<code>/prepaid")
def prepaid(code: str) -> str:
    """Show prepaid credit and its draw-downs."""
    today = london_day(edge().clock())
    with opened(code) as (session, account):
        credits = standings(session, account_id=account.id)
        drawn = history(session, account_id=account.id)
    page = PrepaidPage(
        account=account,
        left=sum_pounds([item.left for item in credits if item.is_drawn_on(today)]),
        credits=_credits(credits),
        draws=_draws(drawn, code=code),
    )
    return render_template("portal/prepaid.html", page=page)


def _credits(found: list[PrepaidStanding]) -> Listing:
    return Listing(
        caption="What you paid in advance",
        columns=(
            Column("Received"),
            Column("Your reference"),
            Column("Drawn from"),
            Column("No more from"),
            Column("Amount", numeric=True),
            Column("Drawn", numeric=True),
            Column("Given back", numeric=True),
            Column("Left", numeric=True),
        ),
        rows=tuple(
            (
                Cell(show_date(item.received_on), nowrap=True),
                Cell(item.reference),
                Cell(show_date(item.granted_on), nowrap=True),
                Cell("Open end" if item.ends_on is None else show_date(item.ends_on), nowrap=True),
                Cell(show_pounds(item.amount)),
                Cell(show_pounds(item.drawn)),
                Cell(show_pounds(item.refunded)),
                Cell("Taken back" if item.taken_back else show_pounds(item.left)),
            )
            for item in found
        ),
        page_size=max(1, len(found)),
        empty="You have paid nothing in advance. To do so, ask the central team.",
    )


def _draws(found: list[PrepaidDraw], *, code: str) -> Listing:
    return Listing(
        caption="Invoices that it paid",
        columns=(
            Column("Date"),
            Column("Invoice"),
            Column("Amount", numeric=True),
            Column("Credit drawn from"),
        ),
        rows=tuple(
            (
                Cell(show_date(london_day(item.made_at)), nowrap=True),
                Cell(
                    item.number,
                    href=url_for("portal.invoice", code=code, invoice_id=item.invoice_id),
                    nowrap=True,
                ),
                Cell(show_pounds(item.amount)),
                Cell(show_date(item.granted_on), nowrap=True),
            )
            for item in found
        ),
        page_size=max(1, len(found)),
        empty="Nothing of it is drawn yet.",
    )
