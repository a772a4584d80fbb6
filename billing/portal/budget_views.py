"""Budgets: how they stand, and the forms to set them."""

from flask import Response, flash, render_template, request, url_for

from billing.access.guards import current_principal, permitted
from billing.access.model import Permission
from billing.accounts import queries as accounts
from billing.budgets import operations
from billing.budgets import queries as budget_queries
from billing.budgets.model import SHARES, BudgetInvalid
from billing.forms import Form, read_form
from billing.money import show_pounds
from billing.portal.account import changing, opened
from billing.portal.blueprint import blueprint
from billing.portal.budget_forms import BudgetForm, NewBudgetForm
from billing.portal.budget_pages import (
    BudgetPage,
    BudgetsPage,
    budgets_listing,
    orders_listing,
    scopes,
)
from billing.portal.budget_queries import borne, order_use, tariff_names
from billing.portal.cost_centre_pages import centres_of, rules_listing
from billing.portal.cost_centre_queries import account_rules
from billing.sheets import listed
from billing.web import go
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import london_day

CHANGE = permitted(Permission.CHANGE_ACCOUNT)
_USUAL_SHARES = ", ".join(str(share) for share in SHARES)


@blueprint.get("/<code>/budgets")
def budgets(code: str) -> str:
    """Show how the account's budgets stand and which cost centre bears what."""
    with opened(code) as (session, account):
        names = tariff_names(session)
        today = london_day(edge().clock())
        found = budget_queries.standings(session, today=today, account_id=account.id)
        page = BudgetsPage(
            account=account,
            budgets=listed(
                budgets_listing(
                    found,
                    root=url_for("portal.overview", code=code),
                    names=names,
                    caption="Budgets, without VAT",
                    editable=account.may_change,
                )
            ),
            sentences=tuple(each.words for each in found),
            centres=listed(
                rules_listing(
                    account_rules(session, account_id=account.id),
                    root=None,
                    today=today,
                    path=url_for("portal.budgets", code=code),
                )
            ),
            orders=listed(
                orders_listing(
                    order_use(session, account_id=account.id),
                    path=url_for("portal.budgets", code=code),
                )
            ),
            new_href=url_for("portal.new_budget", code=code),
            centres_href=url_for("portal.cost_centres", code=code),
        )
    return render_template("portal/budgets.html", page=page)


@blueprint.get("/<code>/budgets/new")
@guarded(CHANGE)
def new_budget(code: str) -> str:
    """Show the form of a new budget."""
    return _budget_page(code, Form({"shares": _USUAL_SHARES, "per": "financial-year"}))


@blueprint.post("/<code>/budgets/new")
@guarded(CHANGE)
def set_budget(code: str) -> Response | tuple[str, int]:
    """Set a budget."""
    form, sent = read_form(NewBudgetForm(), request.form)
    if sent is not None:
        kind, _, name = sent["scope"].partition(":")
        try:
            with changing(code) as (session, account):
                operations.set_budget(
                    session,
                    account_id=account.id,
                    per=sent["per"],
                    amount=sent["amount"],
                    shares=sent["shares"],
                    tariff_code=name if kind == "service" else None,
                    cost_centre=name if kind == "centre" else None,
                    principal=current_principal().id,
                    now=edge().clock(),
                )
        except (operations.BudgetExists, BudgetInvalid) as refusal:
            form = form.with_refusal(refusal)
        else:
            flash(f"The budget of {show_pounds(sent['amount'])} is set.", "success")
            return go(url_for("portal.budgets", code=code))
    return _budget_page(code, form), 422


@blueprint.get("/<code>/budgets/<budget_id>")
@guarded(CHANGE)
def budget(code: str, budget_id: str) -> str:
    """Show the form that changes a budget."""
    with opened(code) as (session, account):
        row = budget_queries.budget(session, account_id=account.id, budget_id=budget_id)
        form = Form(
            {
                "amount": f"{row.amount:,.2f}",
                "shares": ", ".join(str(share) for share in row.shares),
            }
        )
    return _budget_page(code, form, budget_id=budget_id)


@blueprint.post("/<code>/budgets/<budget_id>")
@guarded(CHANGE)
def change_budget(code: str, budget_id: str) -> Response | tuple[str, int]:
    """Change a budget's amount and when it warns."""
    form, sent = read_form(BudgetForm(), request.form)
    if sent is not None:
        try:
            with changing(code) as (session, account):
                operations.change_budget(
                    session,
                    account_id=account.id,
                    budget_id=budget_id,
                    amount=sent["amount"],
                    shares=sent["shares"],
                    principal=current_principal().id,
                    now=edge().clock(),
                )
        except BudgetInvalid as refusal:
            form = form.with_refusal(refusal)
        else:
            flash("The budget is changed.", "success")
            return go(url_for("portal.budgets", code=code))
    return _budget_page(code, form, budget_id=budget_id), 422


@blueprint.post("/<code>/budgets/<budget_id>/end")
@guarded(CHANGE)
def end_budget(code: str, budget_id: str) -> Response:
    """End a budget; its warnings stay on record."""
    with changing(code) as (session, account):
        operations.end_budget(
            session,
            account_id=account.id,
            budget_id=budget_id,
            principal=current_principal().id,
            now=edge().clock(),
        )
    flash("The budget is ended.", "success")
    return go(url_for("portal.budgets", code=code))


def _budget_page(code: str, form: Form, *, budget_id: str = "") -> str:
    with opened(code) as (session, account):
        centres = centres_of(accounts.allocation_rules(session, account_id=account.id))
        own = {tariff: name for tariff, name, _, _ in borne(session, account_id=account.id)}
        page = BudgetPage(
            account=account,
            title="Change a budget" if budget_id else "Set a budget",
            form=form,
            scopes=scopes(own, tuple(own), centres),
            budget_id=budget_id,
            budgets_path=url_for("portal.budgets", code=code),
        )
    return render_template("portal/budget.html", page=page, form=form)
