"""Invoices and credit notes: the list, one with its workings, its documents."""

from flask import Response, render_template, request, url_for

from billing.access.guards import current_principal
from billing.access.model import Permission
from billing.bundles.operations import Selection, bundles
from billing.documents.render import DOCUMENTS
from billing.documents.sheet import write_sheet
from billing.listing import Asked, read_asked
from billing.portal import invoice_queries as queries
from billing.portal.account import opened
from billing.portal.answers import attachment
from billing.portal.blueprint import blueprint
from billing.portal.bundle_views import views_of
from billing.portal.invoice_list_pages import PAGE_SIZE, invoices_page, standing_of
from billing.portal.invoice_pages import invoice_page
from billing.portal.invoice_queries import InvoiceFilter
from billing.portal.owing import owing
from billing.portal.paying import pay_pages
from metering.kit.web import edge
from metering.periods import Month, london_day


def _wanted() -> InvoiceFilter:
    year = request.args.get("year", "")
    return InvoiceFilter(
        standing=request.args.get("status", ""),
        financial_year=int(year) if year.isascii() and year.isdigit() and len(year) == 4 else None,
        search=request.args.get("search", "").strip()[:50],
    )


def _asked() -> Asked:
    return read_asked(request.args, keys=queries.SORT_KEYS, sort="issued", direction="descending")


@blueprint.get("/<code>/invoices")
def invoices(code: str) -> str:
    """List the account's invoices and credit notes."""
    wanted, asked, today = _wanted(), _asked(), london_day(edge().clock())
    with opened(code) as (session, account):
        found, total = queries.invoices(
            session,
            account_id=account.id,
            wanted=wanted,
            today=today,
            sort=asked.sort,
            direction=asked.direction,
            page=asked.page,
            page_size=PAGE_SIZE,
        )
        page = invoices_page(
            account=account,
            path=url_for("portal.invoices", code=code),
            found=found,
            total=total,
            owing=owing(session, account_id=account.id, today=today),
            months=queries.billed_months(session, account_id=account.id),
            bundles=views_of(
                bundles(session, selection=Selection(account_id=account.id)), code=code
            ),
            wanted=wanted,
            asked=asked,
            today=today,
        )
    return render_template("portal/invoices.html", page=page)


@blueprint.get("/<code>/invoices.csv")
def invoices_csv(code: str) -> Response:
    """Download the list as it is filtered and sorted, all pages of it."""
    asked, today = _asked(), london_day(edge().clock())
    with opened(code) as (session, account):
        found, _ = queries.invoices(
            session,
            account_id=account.id,
            wanted=_wanted(),
            today=today,
            sort=asked.sort,
            direction=asked.direction,
            page=None,
            page_size=PAGE_SIZE,
        )
    content = write_sheet(
        (
            "Number",
            "Kind",
            "Month",
            "Issued",
            "Due",
            "Purchase order",
            "Status",
            "Total with VAT",
            "Open",
        ),
        (
            (
                item.number,
                "Credit note" if item.kind == "credit-note" else "Invoice",
                str(Month.of_day(item.month)),
                london_day(item.issued_at),
                item.due_on,
                item.purchase_order,
                standing_of(item, today=today).text,
                f"{item.total:.2f}",
                f"{item.left if item.kind == 'invoice' else -item.left:.2f}",
            )
            for item in found
        ),
        for_people=True,
    )
    return attachment(content, f"{code}-invoices.csv", "text/csv")


@blueprint.get("/<code>/invoices/<invoice_id>")
def invoice(code: str, invoice_id: str) -> str:
    """Show one invoice, each line unfolding to how it was worked out."""
    today = london_day(edge().clock())
    with opened(code) as (session, account):
        issued = queries.issued_invoice(session, account_id=account.id, invoice_id=invoice_id)
        page = invoice_page(
            account=account,
            path=url_for("portal.invoices", code=code),
            issued=issued,
            today=today,
            pay_page=pay_pages(session, account_id=account.id).get(issued.row.id),
        )
    # Whoever gives credit notes does so in the console, line by line.
    may_credit = issued.row.kind == "invoice" and current_principal().may(Permission.APPROVE)
    return render_template(
        "portal/invoice.html",
        page=page,
        credit_href=url_for("console.new_credit", code=code, invoice_id=invoice_id)
        if may_credit
        else None,
    )


@blueprint.get("/<code>/invoices/<invoice_id>/documents/<name>")
def document(code: str, invoice_id: str, name: str) -> Response:
    """Download one document of an invoice."""
    with opened(code) as (session, account):
        number, media_type, content = queries.document(
            session, account_id=account.id, invoice_id=invoice_id, name=name
        )
    suffix = DOCUMENTS[name].suffix if name in DOCUMENTS else f"-{name}"
    return attachment(content, f"{number}{suffix}", media_type)
