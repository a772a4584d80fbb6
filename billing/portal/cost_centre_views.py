"""Which cost centres bear an account's lines: the rules, the form of one, and its end."""

from flask import Response, flash, render_template, request, url_for
from sqlalchemy.orm import Session

from billing.access.guards import current_principal, permitted
from billing.access.model import Permission
from billing.accounts import allocating
from billing.accounts.operations import BadDates
from billing.forms import Form
from billing.portal.account import OpenAccount, changing, opened
from billing.portal.blueprint import blueprint
from billing.portal.budget_queries import borne
from billing.portal.cost_centre_forms import (
    MOST_ROWS,
    ROWS,
    Asked,
    form_of,
    read_allocation,
    rows_of,
)
from billing.portal.cost_centre_pages import CostCentresPage, month_choices, rules_listing
from billing.portal.cost_centre_queries import RuleSeen, account_rules, dimension_names
from billing.sheets import listed
from billing.web import go
from metering.kit.errors import FieldError
from metering.kit.guards import guarded
from metering.kit.web import edge
from metering.periods import Month, london_day

CHANGE = permitted(Permission.CHANGE_ACCOUNT)
_FIELDS = {"/shares": "percent-1", "/where": "where", "/what": "what"}


@blueprint.get("/<code>/cost-centres")
@guarded(CHANGE)
def cost_centres(code: str) -> str:
    """Show the rules, and the form of a new one or of the one that the address names."""
    month = Month.of(edge().clock())
    rule_id = request.args.get("rule", "")
    with opened(code) as (session, account):
        rules = account_rules(session, account_id=account.id)
    form = Form({"first": str(month)})
    for one in rules:
        if one.row.id == rule_id:
            form = form_of(
                what=f"{one.row.tariff_code or ''}:{one.row.meter or ''}",
                where=one.row.dimensions,
                shares=one.shares,
                first=max(month, Month.of_day(one.row.starts_on)),
            )
    return _page(code, form, rows=ROWS)


@blueprint.post("/<code>/cost-centres")
@guarded(CHANGE)
def allocate(code: str) -> Response | tuple[str, int] | str:
    """Say which cost centres bear lines, from the first day of a month."""
    form, asked = read_allocation(request.form)
    if request.form.get("more"):
        rows = min(rows_of(request.form) + ROWS, MOST_ROWS)
        return _page(code, Form(form.values), rows=rows)
    if asked is not None:
        try:
            with changing(code) as (session, account):
                allocating.set_allocation(
                    session,
                    account_id=account.id,
                    tariff_code=asked.tariff_code,
                    meter=asked.meter,
                    dimensions=_dimensions(session, asked),
                    shares=asked.shares,
                    starts_on=asked.first.first_day,
                    principal=current_principal().id,
                    now=edge().clock(),
                )
        except (
            allocating.CostAllocationInvalid,
            allocating.CostAllocationOverlaps,
            BadDates,
        ) as refusal:
            form = form.with_refusal(refusal, fields=_FIELDS)
        else:
            flash(f"The cost centres are saved, from {asked.first.name} on.", "success")
            return go(url_for("portal.cost_centres", code=code))
    return _page(code, form, rows=rows_of(request.form)), 422


def _dimensions(session: Session, asked: Asked) -> dict[str, str]:
    """Return dimension values by the names that events use.

    Raises:
        CostAllocationInvalid: there is no meter to have them, or it has no such dimension.
    """
    if not asked.where:
        return {}
    detail = "Choose what is counted: only that is split by values."
    if asked.meter is None:
        raise allocating.CostAllocationInvalid(
            detail, errors=(FieldError("/what", "required", detail),)
        )
    names = dimension_names(session, meter=asked.meter)
    found = {}
    for name, value in asked.where:
        if name.casefold() not in names:
            known = ", ".join(sorted(set(names.values()))) or "nothing"
            detail = f"It is not counted by {name}; it is counted by {known}."
            raise allocating.CostAllocationInvalid(
                detail, errors=(FieldError("/where", "unknown", detail),)
            )
        found[names[name.casefold()]] = value
    return found


@blueprint.post("/<code>/cost-centres/<rule_id>/end")
@guarded(CHANGE)
def end_allocation(code: str, rule_id: str) -> Response:
    """End a rule at the end of this month; lines on documents already issued keep theirs."""
    month = Month.of(edge().clock())
    try:
        with changing(code) as (session, account):
            allocating.end_allocation(
                session,
                account_id=account.id,
                rule_id=rule_id,
                ends_on=month.end_day,
                principal=current_principal().id,
                now=edge().clock(),
            )
    except BadDates as refusal:
        flash(refusal.detail, "message")
    else:
        flash(f"It ends with {month.name}.", "success")
    return go(url_for("portal.cost_centres", code=code))


def _page(code: str, form: Form, *, rows: int) -> str:
    with opened(code) as (session, account):
        page = _contents(session, account, form, rows)
    return render_template("portal/cost_centres.html", page=page)


def _contents(session: Session, account: OpenAccount, form: Form, rows: int) -> CostCentresPage:
    today = london_day(edge().clock())
    found = borne(session, account_id=account.id)
    rules = account_rules(session, account_id=account.id)
    filled = sum(1 for name in form.values if name.startswith("percent-"))
    return CostCentresPage(
        account=account,
        form=form,
        what=(
            (":", "Every service"),
            *dict.fromkeys((f"{tariff}:", name) for tariff, name, _, _ in found),
            *((f"{tariff}:{meter}", f"{name}: {what}") for tariff, name, meter, what in found),
        ),
        months=month_choices(today),
        rows=tuple(range(1, max(rows, filled) + 1)),
        rules=listed(
            rules_listing(
                rules,
                root=url_for("portal.cost_centres", code=account.code),
                today=today,
                path=url_for("portal.cost_centres", code=account.code),
            )
        ),
        ends=tuple((one.row.id, one.what) for one in rules if _can_end(one)),
        budgets_path=url_for("portal.budgets", code=account.code),
    )


def _can_end(one: RuleSeen) -> bool:
    return one.row.ends_on is None
