"""Money that a trust paid in advance: what is left of it, and what it paid."""

from dataclasses import dataclass
from decimal import Decimal

from flask import render_template, request, url_for

from billing.listing import Cell, Column, Listing, day_cell, money_cell
from billing.money import sum_pounds
from billing.payments.prepaid import PrepaidDraw, PrepaidStanding, history, standings
from billing.portal.account import OpenAccount, opened
from billing.portal.blueprint import blueprint
from billing.sheets import listed
from metering.kit.web import edge
from metering.periods import london_day


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
        credits=listed(_credits(credits)),
        draws=listed(_draws(drawn, code=code)),
    )
    return render_template("portal/prepaid.html", page=page)


def _credits(found: list[PrepaidStanding]) -> Listing:
    return Listing(
        name="prepaid-credits",
        beside=True,
        path=request.path,
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
                day_cell(item.received_on),
                Cell(item.reference),
                day_cell(item.granted_on),
                day_cell(item.ends_on, none="Open end"),
                money_cell(item.amount),
                money_cell(item.drawn),
                money_cell(item.refunded),
                money_cell(None if item.taken_back else item.left, none="Taken back"),
            )
            for item in found
        ),
        empty="You have paid nothing in advance. To do so, ask the central team.",
    )


def _draws(found: list[PrepaidDraw], *, code: str) -> Listing:
    return Listing(
        name="prepaid-draws",
        beside=True,
        path=request.path,
        caption="Invoices that it paid",
        columns=(
            Column("Date"),
            Column("Invoice"),
            Column("Amount", numeric=True),
            Column("Credit drawn from"),
        ),
        rows=tuple(
            (
                day_cell(item.made_at),
                Cell(
                    item.number,
                    href=url_for("portal.invoice", code=code, invoice_id=item.invoice_id),
                    nowrap=True,
                ),
                money_cell(item.amount),
                day_cell(item.granted_on),
            )
            for item in found
        ),
        empty="Nothing of it is drawn yet.",
    )
