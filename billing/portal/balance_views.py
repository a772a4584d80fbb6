"""A trust's own agreement-of-balances statement at M9 and M12."""

from dataclasses import dataclass

from flask import Response, render_template, request, url_for

from billing.accounts import queries as accounts
from billing.balances.pages import BalanceView, balance_view
from billing.balances.queries import agreement_months, agreement_of_balances
from billing.balances.statement import balance_file_stem, balance_pdf
from billing.forms import Form
from billing.invoices.drafting import party_of
from billing.portal.account import OpenAccount, opened
from billing.portal.answers import attachment
from billing.portal.blueprint import blueprint
from billing.portal.invoice_queries import NoSuchDocument
from billing.portal.paying import latest_supplier
from metering.kit.web import edge
from metering.periods import Month, london_day


@dataclass(frozen=True)
class BalancePage:
    """The statement of a month, or none where there was nothing to agree."""

    account: OpenAccount
    title: str
    form: Form
    months: tuple[tuple[str, str], ...]
    view: BalanceView | None


def _months() -> tuple[Month, list[Month]]:
    months = agreement_months(today=london_day(edge().clock()))
    asked = request.args.get("month", "")
    return next((month for month in months if str(month) == asked), months[0]), months


@blueprint.get("/<code>/balances")
def balances(code: str) -> str:
    """Show what the trust is asked to confirm at the end of M9 or M12."""
    month, months = _months()
    with opened(code) as (session, account):
        found = agreement_of_balances(session, month=month, account_id=account.id)
        supplier = latest_supplier(session, account_id=account.id)
    view = None
    if found:
        view = balance_view(
            found[0],
            invoice_href=lambda invoice_id: url_for(
                "portal.invoice", code=code, invoice_id=invoice_id
            ),
            pdf_href=""
            if supplier is None
            else url_for("portal.balance_file", code=code, month=str(month)),
        )
    page = BalancePage(
        account=account,
        title=f"M{month.financial_month}, {month.name}",
        form=Form({"month": str(month)}),
        months=tuple((str(one), f"M{one.financial_month}, {one.name}") for one in months),
        view=view,
    )
    return render_template("portal/balances.html", page=page)


@blueprint.get("/<code>/balances.pdf")
def balance_file(code: str) -> Response:
    """Download the statement, with room for the answer."""
    month, _ = _months()
    with opened(code) as (session, account):
        found = agreement_of_balances(session, month=month, account_id=account.id)
        supplier = latest_supplier(session, account_id=account.id)
        payer = accounts.payer(session, account_id=account.id)
        buyer = party_of(payer.account, payer.ods_code)
    if not found or supplier is None:
        raise NoSuchDocument(f"There is nothing to agree for {month.name}.")
    (one,) = found
    content = balance_pdf(one, supplier=supplier, buyer=buyer)
    return attachment(content, f"{balance_file_stem(one)}.pdf", "application/pdf")
