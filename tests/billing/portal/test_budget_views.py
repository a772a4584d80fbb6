"""Budgets and cost centres: who may set them, and that what was typed is kept."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.accounts import invoicing
from billing.budgets import queries
from metering.kit.db import Database
from tests import make, web
from tests.scenarios import story
from tests.trusts import ODS, Shown

BUDGETS = "/portal/RRK/budgets"


@dataclass(frozen=True)
class Trust:
    """A trust of its own, for tests that change it."""

    database: Database
    account_id: str
    editor: FlaskClient


@pytest.fixture
def trust(app: Flask, database: Database) -> Trust:
    """A trust with one service, and its finance editor."""
    story.service(database)
    (account,) = story.trusts(database, "RRK")
    editor = web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=account.id)])
    return Trust(database, account.id, editor)


def test_an_editor_sets_changes_and_ends_a_budget(trust: Trust) -> None:
    page = f"{BUDGETS}/new"
    typed = {"scope": "service:imaging-archive", "per": "month", "amount": "£1,200", "shares": "80"}
    assert web.send(trust.editor, page, typed, page=page).location == BUDGETS
    with trust.database.snapshot() as session:
        (row,) = queries.budgets(session, account_id=trust.account_id)
    assert (str(row.amount), row.tariff_code, row.shares) == ("1200.00", "imaging-archive", [80])
    shown = trust.editor.get(BUDGETS).text
    assert "The budget of £1,200.00 is set." in shown
    assert "Within budget" in shown
    change = f"{BUDGETS}/{row.id}"
    assert 'value="1,200.00"' in trust.editor.get(change).text
    web.send(trust.editor, change, {"amount": "900", "shares": "50, 100"}, page=change)
    assert "£900.00" in trust.editor.get(BUDGETS).text
    web.send(trust.editor, f"{change}/end", {}, page=change)
    assert "There is no budget." in trust.editor.get(BUDGETS).text
    assert trust.editor.get(change).status_code == 404


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"amount": "lots", "shares": "50", "per": "month"}, "Enter an amount in pounds and pence"),
        ({"amount": "0", "shares": "50", "per": "month"}, "Enter an amount above nought"),
        ({"amount": "10", "shares": "half", "per": "month"}, "Enter percentages"),
        ({"amount": "10", "shares": "9999", "per": "month"}, "Warn at one to ten whole shares"),
        ({"amount": "10", "shares": "50", "per": "week"}, "Choose a month or a financial year."),
        ({"shares": "50", "per": "month"}, "Enter the amount of the budget."),
    ],
)
def test_what_cannot_be_read_comes_back_as_typed(
    trust: Trust, typed: dict[str, str], said: str
) -> None:
    page = f"{BUDGETS}/new"
    answer = web.send(trust.editor, page, typed, page=page)
    assert answer.status_code == 422
    assert said in answer.text
    assert "There is a problem" in answer.text
    assert f'value="{typed["shares"]}"' in answer.text


def test_there_is_one_budget_for_one_thing(trust: Trust) -> None:
    page = f"{BUDGETS}/new"
    typed = {"amount": "10", "shares": "50", "per": "month"}
    web.send(trust.editor, page, typed, page=page)
    again = web.send(trust.editor, page, typed, page=page)
    assert "There is a budget for that already" in again.text


@pytest.mark.parametrize("role", [Role.FINANCE_VIEWER, Role.AUDITOR, Role.APPROVER])
def test_who_may_only_look_sees_budgets_and_no_form(shown: Shown, role: Role) -> None:
    account_id = shown.account_ids[ODS] if role is Role.FINANCE_VIEWER else None
    browser = shown.browser(Grant(role, account_id=account_id))
    page = browser.get(f"/portal/{ODS}/budgets").text
    assert "£6,000.00" in page
    assert "Set a budget</a>" not in page
    assert browser.get(f"/portal/{ODS}/budgets/new").status_code == 403


def test_an_editor_of_one_account_changes_nothing_of_another_that_they_may_see(
    shown: Shown,
) -> None:
    both = shown.browser(
        Grant(Role.FINANCE_EDITOR, account_id=shown.account_ids["RR8"]),
        Grant(Role.FINANCE_VIEWER, account_id=shown.account_ids[ODS]),
    )
    form = "/portal/RR8/budgets/new"
    typed = {"amount": "10", "shares": "50", "per": "month"}
    for code, status in ((ODS, 403), ("RJ1", 404)):
        answer = web.send(both, f"/portal/{code}/budgets/new", typed, page=form)
        assert answer.status_code == status


def test_purchase_orders_say_what_is_left_on_them(trust: Trust) -> None:
    assert "There is no purchase order" in trust.editor.get(BUDGETS).text
    with trust.database.transaction() as session:
        invoicing.add_purchase_order(
            session,
            account_id=trust.account_id,
            number="PO-774120",
            starts_on=date(2026, 4, 1),
            value=Decimal("100.00"),
            principal="usr_analyst",
            now=make.NOW,
        )
    story.uses(trust.database, "RRK", "50")
    story.month_end(trust.database, story.APRIL)
    page = trust.editor.get(BUDGETS).text
    for words in ("PO-774120", "Every service", "From 1 April 2026", "£100.00", "£75.00"):
        assert words in page
