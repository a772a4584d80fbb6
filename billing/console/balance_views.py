"""Agreement of balances: every counterparty at M9 or M12, and each one's statement."""

from dataclasses import dataclass
from datetime import date

from flask import Response, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.accounts import queries as accounts
from billing.balances.pages import balance_view
from billing.balances.queries import (
    AGREEMENT_MONTHS,
    BALANCES_HEADER,
    AgreedBalance,
    agreement_months,
    agreement_of_balances,
    balance_rows,
)
from billing.balances.statement import balance_file_stem, balance_pdf
from billing.console.blueprint import blueprint
from billing.console.context import console
from billing.console.lists import Field, Sheet, csv_response
from billing.documents.sheet import write_sheet
from billing.forms import Form
from billing.invoices.drafting import party_of
from billing.invoices.supplier import supplier_of
from billing.listing import Cell
from billing.money import show_pounds, sum_pounds
from metering.kit.errors import NotFound
from metering.kit.web import edge
from metering.periods import Month, london_day


class NothingToAgree(NotFound):
    """The organisation owed nothing, used nothing and paid nothing, or balances are not agreed
    in that month."""

    code = "nothing-to-agree"
    title = "There is no such statement"


@dataclass(frozen=True)
class BalancesPage:
    """The statements of a month."""

    title: str
    figures: tuple[dict[str, str], ...]
    form: Form
    months: tuple[tuple[str, str], ...]


def _sheet(month: Month) -> Sheet[AgreedBalance]:
    def pounds(name: str, key: str) -> Field[AgreedBalance]:
        return Field(
            name,
            lambda one: getattr(one, key),
            lambda one: Cell(show_pounds(getattr(one, key)), nowrap=True),
            key=key,
            numeric=True,
        )

    return Sheet(
        name=f"balances-{month}",
        caption=f"Counterparties at the end of {month.name}",
        sort="account",
        empty="Nobody owed anything at the end of that month, and nothing was invoiced.",
        fields=(
            Field(
                "Counterparty",
                lambda one: one.name,
                lambda one: Cell(
                    f"{one.name} ({one.ods_code})",
                    href=url_for("console.balance", month=str(month), code=one.ods_code),
                ),
                key="account",
            ),
            pounds("Receivable", "receivable"),
            pounds("Disputed", "disputed"),
            pounds("Credit", "credit"),
            pounds("Balance", "balance"),
            pounds("Accrued", "accrued"),
            pounds("Income this year", "income"),
        ),
    )


def _month(today: date) -> Month:
    months = agreement_months(today=today)
    asked = request.args.get("month", "")
    return next((month for month in months if str(month) == asked), months[0])


@blueprint.get("/money/balances")
def balances() -> Response | str:
    """Show what we say that each counterparty owes at the end of M9 or M12."""
    today = london_day(edge().clock())
    month = _month(today)
    with edge().database.snapshot() as session:
        found = agreement_of_balances(session, month=month)
    sheet = _sheet(month)
    if sheet.wanted:
        content = write_sheet(BALANCES_HEADER, balance_rows(found), for_people=True)
        return csv_response(content, name=sheet.name)
    page = BalancesPage(
        title=f"M{month.financial_month}, {month.name}",
        figures=(
            {
                "label": "Receivable",
                "value": show_pounds(sum_pounds([o.receivable for o in found])),
            },
            {"label": "Disputed", "value": show_pounds(sum_pounds([o.disputed for o in found]))},
            {
                "label": "Accrued, without VAT",
                "value": show_pounds(sum_pounds([o.accrued for o in found])),
            },
            {
                "label": "Income this year, without VAT",
                "value": show_pounds(sum_pounds([o.income for o in found])),
            },
        ),
        form=Form({"month": str(month)}),
        months=tuple(
            (str(one), f"M{one.financial_month}, {one.name}")
            for one in agreement_months(today=today)
        ),
    )
    return render_template(
        "console/money/balances.html",
        page=page,
        listing=sheet.listing(found, query={"month": str(month)}),
    )


def _one(session: Session, month: str, code: str) -> AgreedBalance:
    try:
        wanted = Month.parse(month)
    except ValueError:
        raise NothingToAgree(f"{month} is no month.") from None
    if wanted.financial_month not in AGREEMENT_MONTHS:
        raise NothingToAgree(f"Balances are agreed for December and March, not {wanted.name}.")
    account_id = accounts.payer_by_ods_code(session, ods_code=code).account.id
    found = agreement_of_balances(session, month=wanted, account_id=account_id)
    if not found:
        raise NothingToAgree(f"{code} has nothing to agree for {wanted.name}.")
    return found[0]


@blueprint.get("/money/balances/<month>/<code>")
def balance(month: str, code: str) -> str:
    """Show one counterparty's statement."""
    with edge().database.snapshot() as session:
        one = _one(session, month, code)
    view = balance_view(
        one,
        invoice_href=lambda invoice_id: url_for(
            "portal.invoice", code=one.ods_code, invoice_id=invoice_id
        ),
        pdf_href=url_for("console.balance_file", month=month, code=code),
    )
    return render_template("console/money/balance.html", view=view, one=one)


@blueprint.get("/money/balances/<month>/<code>.pdf")
def balance_file(month: str, code: str) -> Response:
    """Download one counterparty's statement."""
    with edge().database.snapshot() as session:
        one = _one(session, month, code)
        payer = accounts.payer(session, account_id=one.account_id)
        buyer = party_of(payer.account, payer.ods_code)
    supplier = supplier_of(console().settings).party
    response = Response(
        balance_pdf(one, supplier=supplier, buyer=buyer), content_type="application/pdf"
    )
    response.headers.set(
        "Content-Disposition", "attachment", filename=f"{balance_file_stem(one)}.pdf"
    )
    return response
