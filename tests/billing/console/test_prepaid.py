"""Prepaid credit on pages: held by the central team, seen with its draw-downs by both sides."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask

from billing.access.model import Grant, Role
from billing.payments import prepaid
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers
from tests.trusts import ODS, Shown

NOW = datetime(2026, 5, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    return web.make_app(database, tmp_path, web.Clock(NOW))


def dates(name: str, day: str) -> dict[str, str]:
    year, month, number = day.split("-")
    return {f"{name}-day": number, f"{name}-month": month, f"{name}-year": year}


def test_a_payment_is_held_drawn_and_seen_by_both_sides(app: Flask, database: Database) -> None:
    with database.transaction() as session:
        trust = makers.account(session)
        payment = makers.stripe_payment(session, trust, "500.00")
        invoice = makers.issue(session, trust, "100.00")
    clerk = web.signed_in(app, [Grant(Role.ANALYST)], email="clerk@x.example")
    held = f"/console/money/payments/{trust.id}/{payment.id}"
    page = f"/console/money/debt/accounts/{trust.id}/prepaid"
    assert "has paid nothing in advance" in clerk.get(page).text
    assert "Hold as prepaid credit" in clerk.get(held).text

    wrong = {**dates("granted_on", "2026-5-1"), **dates("ends_on", "2026-4-1")}
    answer = web.send(clerk, f"{held}/prepaid", wrong, page=f"{held}/prepaid")
    assert (answer.status_code, "ends after 1 May 2026" in answer.text) == (422, True)
    right = {**dates("granted_on", "2026-5-1"), **dates("ends_on", "2027-4-1")}
    answer = web.send(clerk, f"{held}/prepaid", right, page=f"{held}/prepaid")
    assert answer.location == page
    again = web.send(clerk, f"{held}/prepaid", right, page=f"{held}/prepaid")
    assert "is held as prepaid credit already" in again.text
    assert "Drawn from 1 May 2026, no more from 1 April 2027" in clerk.get(held).text

    with database.transaction() as session:
        assert prepaid.draw(session, account_id=trust.id, principal="job:clear", now=NOW) == 1
    trusts = web.signed_in(
        app, [Grant(Role.FINANCE_VIEWER, account_id=trust.id)], email="trust@x.example"
    )
    for shown in (clerk.get(page).text, trusts.get("/portal/RRK/prepaid").text):
        # 100.00 with VAT is 120.00 of the 500.00.
        for words in ("£380.00", "£120.00", str(invoice.number), "1 April 2027"):
            assert words in shown
    assert "Being drawn" in clerk.get(page).text
    assert "prepaid credit" in clerk.get(f"{page}?download=prepaid-draws").text
    assert ",500,120,0,380," in clerk.get(f"{page}?download=prepaid-credits").text


def test_credit_whose_days_have_ended_waits_for_a_person(app: Flask, database: Database) -> None:
    with database.transaction() as session:
        trust = makers.account(session)
        payment = makers.stripe_payment(session, trust, "500.00")
        prepaid.hold_as_prepaid(
            session,
            account_id=trust.id,
            payment_id=payment.id,
            granted_on=datetime(2026, 4, 1, tzinfo=UTC).date(),
            ends_on=datetime(2026, 5, 1, tzinfo=UTC).date(),
            principal=makers.CLERK,
            now=NOW,
        )
    auditor = web.signed_in(app, [Grant(Role.AUDITOR)], email="auditor@x.example")
    page = auditor.get(f"/console/money/debt/accounts/{trust.id}/prepaid").text
    assert "Ended with something left" in page
    assert "<strong>£0.00</strong> is left to draw today" in page
    held = f"/console/money/payments/{trust.id}/{payment.id}/prepaid"
    assert auditor.get(held).status_code == 403


def test_a_trusts_statement_leads_to_its_prepaid_credit(shown: Shown) -> None:
    page = f"/portal/{ODS}/prepaid"
    assert page in shown.finance().get(f"/portal/{ODS}/statement").text
    assert "You have paid nothing in advance" in shown.finance().get(page).text
