"""The statement of account: what changed the balance, and how old the debt is."""

from datetime import date, timedelta
from decimal import Decimal

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.disputes.queries import disputed_amounts
from billing.documents.sheet import write_sheet
from billing.payments.statements import AccountStatement, statement_of_account
from billing.portal.account import OpenAccount, opened
from billing.portal.answers import attachment
from billing.portal.blueprint import blueprint
from billing.portal.owing import owing
from billing.portal.paying import latest_pay_to, pay_pages, payments_seen
from billing.portal.statement_pages import statement_page
from metering.kit.web import edge
from metering.periods import Month, financial_year_start, london_day


def _year(today: date) -> int:
    text = request.args.get("year", "")
    this = Month.of_day(today).financial_year
    year = int(text) if text.isascii() and text.isdigit() and len(text) == 4 else this
    return year if 2000 <= year <= this else this


def _statement(session: Session, account: OpenAccount, year: int, today: date) -> AccountStatement:
    start = financial_year_start(year)
    return statement_of_account(
        session,
        account_id=account.id,
        first_day=start.first_day,
        end_day=min(start.shift(12).first_day, today + timedelta(days=1)),
        disputed=disputed_amounts,
    )


@blueprint.get("/<code>/statement")
def statement(code: str) -> str:
    """Show a financial year's statement and today's debt by age."""
    today = london_day(edge().clock())
    year = _year(today)
    with opened(code) as (session, account):
        page = statement_page(
            account=account,
            path=url_for("portal.statement", code=code),
            invoices_path=url_for("portal.invoices", code=code),
            year=year,
            this_year=Month.of_day(today).financial_year,
            statement=_statement(session, account, year, today),
            owing=owing(session, account_id=account.id, today=today),
            payments=payments_seen(
                session,
                account_id=account.id,
                first_day=financial_year_start(year).first_day,
                end_day=financial_year_start(year).shift(12).first_day,
            ),
            pay_pages=pay_pages(session, account_id=account.id),
            pay_to=latest_pay_to(session, account_id=account.id),
        )
    return render_template("portal/statement.html", page=page)


@blueprint.get("/<code>/statement.csv")
def statement_csv(code: str) -> Response:
    """Download a financial year's statement."""
    today = london_day(edge().clock())
    year = _year(today)
    with opened(code) as (session, account):
        found = _statement(session, account, year, today)
    rows: list[tuple[date, str, Decimal | None, Decimal | None, Decimal | None]] = [
        (found.first_day, "Balance brought forward", None, found.opening, None)
    ]
    rows += [
        (each.movement.on, each.movement.description, each.movement.amount, each.balance, None)
        for each in found.movements
    ]
    last = found.end_day - timedelta(days=1)
    rows += [
        (last, f"Of it disputed: invoice {debt.number}", None, None, debt.disputed)
        for debt in found.open_invoices
        if debt.disputed
    ]
    header = ("Date", "What", "Amount", "Balance", "Disputed")
    content = write_sheet(header, rows, for_people=True)
    return attachment(content, f"{code}-statement-{year}.csv", "text/csv")
