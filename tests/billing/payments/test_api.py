"""The payments API: a clerk imports, matches and undoes; others may look or not at all."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.invoices.tables import InvoiceRow
from billing.payments import calls
from metering.kit.db import Database
from tests import web
from tests.billing.payments import makers

ROOT = "/api/v1/payments"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    return web.make_app(database, tmp_path, web.Clock(datetime(2026, 5, 21, 9, 0, tzinfo=UTC)))


def _as(app: Flask, *roles: Role) -> FlaskClient:
    email = f"{'-'.join(roles)}@example.nhs.uk"
    return web.signed_in(app, [Grant(role) for role in roles], email=email)


def _send(client: FlaskClient, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    token = web.csrf_token(client)
    answer = client.post(f"{ROOT}{path}", json=body, headers={"X-CSRFToken": token})
    return answer.status_code, answer.get_json()


def _invoice(database: Database) -> InvoiceRow:
    with database.transaction() as session:
        return makers.issue(session, makers.account(session), "100.00")


def test_a_clerk_imports_confirms_and_undoes(app: Flask, database: Database) -> None:
    invoice = _invoice(database)
    clerk = _as(app, Role.ANALYST)
    statement = {
        "format": "csv",
        "bank_account": "GB33",
        "content": "Date,Amount,Reference,Name,Account,Id\n"
        f"20/05/2026,130.00,{invoice.number},,,1\n",
    }

    assert _send(clerk, "/statements", statement) == (
        200,
        {"statements": [{"bank_account": "GB33", "added": 1, "known": 0}]},
    )
    (line,) = clerk.get(f"{ROOT}/unmatched").get_json()["lines"]
    best = line["suggestions"][0]
    assert (best["score"], [share["amount"] for share in best["shares"]]) == (
        80,
        ["120.00", "10.00"],
    )
    status, made = _send(clerk, f"/lines/{line['id']}/confirm", {"shares": best["shares"]})
    assert status == 200
    assert made["payments"][0]["unallocated"] == "10.00"
    assert clerk.get(f"{ROOT}/unmatched").get_json() == {"lines": []}
    told = clerk.get(f"{ROOT}/statement?organisation=RRK&first=2026-05").get_json()
    assert (told["closing"], told["open_invoices"]) == ("-10.00", [])
    prompt = clerk.get(f"{ROOT}/prompt-payment?month=2026-05").get_json()["together"]
    assert prompt["within_30_days"] == {"number": 1, "value": "120.00"}
    (service,) = clerk.get(f"{ROOT}/settlement?month=2026-05").get_json()["services"]
    assert (service["owed"], service["collected"]) == ("100.00", "100.00")

    (use,) = clerk.get(f"{ROOT}/lines/{line['id']}").get_json()["uses"]
    status, undone = _send(clerk, f"/uses/{use['id']}/undo", {"reason": "wrong trust"})
    assert (status, undone["left"]) == (200, "130.00")
    status, aside = _send(clerk, f"/lines/{line['id']}/set-aside", {"reason": "a grant"})
    assert (status, aside["amount"]) == (200, "130.00")
    balance = clerk.get(f"{ROOT}/trial-balance").get_json()
    assert (balance["debits"], balance["credits"]) == ("250.00", "250.00")
    (debt,) = clerk.get(f"{ROOT}/aged-debt?on=2026-07-01").get_json()["accounts"]
    assert debt["by_age"]["1 to 30"] == "120.00"


def test_writing_off_is_an_approvers_act(app: Flask, database: Database) -> None:
    invoice = _invoice(database)
    path = f"/accounts/{invoice.account_id}/invoices/{invoice.id}/write-off"
    body = {"amount": "120.00", "reason": "dissolved"}

    assert _send(_as(app, Role.ANALYST), path, body)[0] == 403
    status, made = _send(_as(app, Role.APPROVER), path, body)

    assert (status, made["amount"]) == (200, "120.00")
    assert invoice.total == Decimal("120.00")


def test_refusals_say_what_is_wrong(app: Flask, database: Database) -> None:
    invoice = _invoice(database)
    with database.transaction() as session:
        (line,) = makers.statement(session, ("50.00", "x"))
    clerk = _as(app, Role.ANALYST)

    def confirm(amount: object) -> tuple[int, str]:
        share = {"account_id": invoice.account_id, "invoice_id": invoice.id, "amount": amount}
        status, problem = _send(clerk, f"/lines/{line}/confirm", {"shares": [share]})
        return status, problem["type"].rpartition("/")[2]

    assert confirm("50.01") == (409, "bank-line-identified")
    assert confirm("-1.00") == (422, "not-whole-pennies")
    assert confirm("0.001") == (422, "not-whole-pennies")
    assert confirm(50)[0] == 422
    assert confirm("NaN")[0] == 422
    assert _send(clerk, "/lines/bln_none/confirm", {"shares": []})[0] == 422
    assert clerk.get(f"{ROOT}/lines/bln_none").status_code == 404
    assert _send(clerk, "/statements", {"format": "csv", "content": "a\n"})[0] == 400
    assert clerk.get(f"{ROOT}/settlement?month=May").status_code == 422


def test_only_the_central_team_sees_it_and_changes_need_the_forms_token(
    app: Flask, database: Database
) -> None:
    invoice = _invoice(database)
    trust = web.signed_in(
        app, [Grant(Role.FINANCE_EDITOR, account_id=invoice.account_id)], email="t@example.nhs.uk"
    )

    assert app.test_client().get(f"{ROOT}/unmatched").status_code == 401
    assert trust.get(f"{ROOT}/trial-balance").status_code == 403
    auditor = _as(app, Role.AUDITOR)
    assert auditor.get(f"{ROOT}/trial-balance").status_code == 200
    clerk = _as(app, Role.ANALYST)
    assert clerk.post(f"{ROOT}/statements", json={}).status_code == 400


def test_refunds_schedules_and_refused_calls(app: Flask, database: Database) -> None:
    invoice = _invoice(database)
    call = calls.Call(
        account_id=invoice.account_id,
        action="invoice",
        subject_id=invoice.id,
        find=lambda: None,
        do=lambda key: key,
    )
    with database.transaction() as session:
        came, paid_out, went = makers.statement(
            session, ("150.00", "x"), ("7.00", "STRIPE"), ("-30.00", "refund")
        )
        calls.refuse(session, call, reason="No such tax rate", now=makers.ISSUED)
    clerk, account = _as(app, Role.ANALYST), f"/accounts/{invoice.account_id}"
    share = {"account_id": invoice.account_id, "amount": "150.00"}
    _, made = _send(clerk, f"/lines/{came}/confirm", {"shares": [share]})
    asked = {"payment_id": made["payments"][0]["id"], "amount": "30.00", "reason": "too much"}

    assert _send(clerk, f"{account}/refunds", {"amount": "1.00", "reason": "x"})[0] == 422
    status, refund = _send(clerk, f"{account}/refunds", asked)
    assert (status, refund["status"], refund["via"]) == (200, "requested", "bank")
    assert _send(clerk, f"{account}/refunds/{refund['id']}/cancel", {})[1]["status"] == "failed"
    _, refund = _send(clerk, f"{account}/refunds", asked)
    said = {"kind": "refund", "account_id": invoice.account_id, "subject_id": refund["id"]}
    assert _send(clerk, f"/lines/{went}/explain", said) == (200, {"line_id": went, "left": "0.00"})
    assert _send(clerk, f"/lines/{paid_out}/explain", {"kind": "payout"})[0] == 200
    returned = {"kind": "return", "reason": "x"}
    assert _send(clerk, f"/lines/{paid_out}/explain", returned)[0] == 409
    patient = {"kind": "return", "reason": "for 943 476 5919"}
    assert _send(clerk, f"/lines/{paid_out}/explain", patient)[0] == 422
    told = clerk.get(f"{ROOT}/refunds").get_json()["refunds"]
    assert sorted(one["status"] for one in told) == ["failed", "sent"]

    token = {"X-CSRFToken": web.csrf_token(clerk)}
    days = f"{ROOT}{account}/reminder-schedule"
    assert clerk.get(days).get_json() == {"days": [-5, 1, 14, 30]}
    assert clerk.put(days, json={"days": [7, -3]}, headers=token).get_json() == {"days": [-3, 7]}
    assert clerk.put(days, json={"days": [400]}, headers=token).status_code == 422
    assert clerk.get(f"{ROOT}/accounts/acc_none/reminder-schedule").status_code == 404

    (refused,) = clerk.get(f"{ROOT}/stripe/refused-calls").get_json()["calls"]
    assert refused["error"] == "No such tax rate"
    allow = f"{account}/stripe/calls/{refused['id']}/allow"
    assert _send(_as(app, Role.AUDITOR), allow, {})[0] == 403
    assert _send(clerk, allow, {})[1]["status"] == "pending"
    assert _send(clerk, allow, {})[0] == 404
