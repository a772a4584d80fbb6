"""The price list in force, and what supposed usage would cost."""

from flask import render_template, request, url_for

from billing.portal import price_queries as queries
from billing.portal.account import opened
from billing.portal.blueprint import blueprint
from billing.portal.calculator import work_out
from billing.portal.price_pages import calculator_page, prices_page
from metering.kit.web import edge
from metering.periods import Month, london_day, show_date


@blueprint.get("/<code>/prices")
def prices(code: str) -> str:
    """Show every price in force today, the account's own services first."""
    today = london_day(edge().clock())
    with opened(code) as (session, account):
        page = prices_page(
            account=account,
            path=url_for("portal.prices", code=code),
            day=show_date(today),
            found=queries.priced_services(session, account_id=account.id, on=today),
            units=queries.units(session),
        )
    return render_template("portal/prices.html", page=page)


@blueprint.get("/<code>/prices/<tariff_code>")
def calculator(code: str, tariff_code: str) -> str | tuple[str, int]:
    """Work out what a month of supposed usage would cost."""
    today = london_day(edge().clock())
    month = Month.of_day(today)
    with opened(code) as (session, account):
        services = queries.priced_services(
            session, account_id=account.id, on=today, tariff_code=tariff_code
        )
        if not services:
            raise queries.NoPrices("There are no prices in force for that service.")
        found = services[0]
        form, worked_out = work_out(
            found.version.tariff,
            code=account.code,
            typed=request.args,
            month=month,
            others=queries.others_in_pool(
                session,
                account_id=account.id,
                version=found.version,
                month=month.previous,
            ),
        )
        page = calculator_page(
            account=account,
            prices_path=url_for("portal.prices", code=code),
            found=found,
            form=form,
            worked_out=worked_out,
            units=queries.units(session),
            month=month,
            pool_month=month.previous,
        )
    body = render_template("portal/calculator.html", page=page, form=form)
    return (body, 422) if form.errors else body
