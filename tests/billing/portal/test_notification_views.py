"""Notifications: who may choose who is told, secrets shown once, deliveries sent again."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from billing.access.model import Grant, Role
from billing.notifications.model import Owner
from billing.notifications.queries import endpoints, subscriptions
from billing.notifications.sealing import Vault
from billing.notifications.tables import DeliveryRow, WebhookEndpointRow
from metering.kit.db import Database
from metering.kit.ids import new_id
from tests import web
from tests.billing.notifications import makers
from tests.scenarios import story
from tests.trusts import ODS, OTHER_ODS, Shown

PAGE = "/portal/RRK/notifications"
EMAIL = f"{PAGE}/emails/new"
HOOK = f"{PAGE}/webhooks/new"
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@dataclass(frozen=True)
class Trust:
    """Two trusts, and the finance editor of the first."""

    app: Flask
    database: Database
    account_id: str
    other_id: str
    editor: FlaskClient


@pytest.fixture
def trust(app: Flask, database: Database) -> Trust:
    story.service(database)
    account, other = story.trusts(database, "RRK", "RA2")
    editor = web.signed_in(app, [Grant(Role.FINANCE_EDITOR, account_id=account.id)])
    return Trust(app, database, account.id, other.id, editor)


def delivered(
    database: Database, *, account_id: str, endpoint_id: str | None, status: str = "dead"
) -> str:
    """Make a delivery of an announced invoice."""
    with database.transaction() as session:
        invoice_id = f"inv_{account_id}_{endpoint_id}"
        row = DeliveryRow(
            id=new_id("del", now=makers.NOW),
            announcement_id=makers.issued(session, account_id=account_id, invoice_id=invoice_id),
            channel="email" if endpoint_id is None else "webhook",
            receiver="finance@x.example" if endpoint_id is None else endpoint_id,
            endpoint_id=endpoint_id,
            status=status,
            attempts=11,
            tries=11,
            due_at=makers.NOW,
            last_error="Connection refused",
            created_at=makers.NOW,
        )
        session.add(row)
        session.flush()
        return row.id


def test_an_editor_subscribes_an_address_changes_and_ends_it(trust: Trust) -> None:
    typed: dict[str, Any] = {"address": "ap@trust.example", "kinds": ["invoice.paid", "order.low"]}
    assert web.send(trust.editor, EMAIL, typed, page=EMAIL).location == PAGE
    shown = trust.editor.get(PAGE).text
    assert "ap@trust.example" in shown
    assert "An invoice is paid; A purchase order is running out" in shown
    again = web.send(trust.editor, EMAIL, typed, page=EMAIL)
    assert again.status_code == 422
    assert "is subscribed already" in again.text
    with trust.database.snapshot() as session:
        (row,) = subscriptions(session, owner=Owner(account_id=trust.account_id))
    change = f"{PAGE}/emails/{row.id}"
    assert 'value="order.low" checked' in trust.editor.get(change).text
    none = web.send(trust.editor, change, {}, page=change)
    assert none.status_code == 422
    assert "Choose at least one thing" in none.text
    web.send(trust.editor, change, {"kinds": "invoice.paid"}, page=change)
    assert "running out" not in trust.editor.get(change).text.split("checked", 1)[1][:200]
    web.send(trust.editor, f"{change}/end", {}, page=change)
    assert "No further address is told" in trust.editor.get(PAGE).text
    assert trust.editor.get(change).status_code == 404


@pytest.mark.parametrize(
    ("page", "typed", "said"),
    [
        (EMAIL, {"address": "nobody", "kinds": "invoice.paid"}, "Enter an email address like"),
        (EMAIL, {"kinds": "invoice.paid"}, "Enter the email address to be told."),
        (EMAIL, {"address": "a@x.example", "kinds": "usage.rejected"}, "Choose one or more of"),
        (HOOK, {"url": "http://x.example/", "kinds": "invoice.paid"}, "begins with https://"),
        (HOOK, {"url": "https://x.example/"}, "Choose at least one thing"),
        (HOOK, {"url": "https://x.example/", "kinds": "webhook.paused"}, "Choose one or more of"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_kept(
    trust: Trust, page: str, typed: dict[str, str], said: str
) -> None:
    answer = web.send(trust.editor, page, typed, page=page)
    assert answer.status_code == 422
    assert said in answer.text
    assert typed.get("address", typed.get("url", "")) in answer.text
    with trust.database.snapshot() as session:
        owner = Owner(account_id=trust.account_id)
        assert subscriptions(session, owner=owner) == ()
        assert endpoints(session, owner=owner) == ()


def test_a_webhooks_secret_is_shown_once_and_rotated(trust: Trust) -> None:
    typed = {"url": "https://ledger.example/hook?token=t0ken", "kinds": "invoice.issued"}
    made = web.send(trust.editor, HOOK, typed, page=HOOK)
    (secret,) = set(_SECRET.findall(made.text))
    with trust.database.snapshot() as session:
        row = session.scalars(select(WebhookEndpointRow)).one()
        assert row.account_id == trust.account_id
        assert Vault(trust.app.config["SECRET_KEY"]).open(row.secret) == secret
    change = f"{PAGE}/webhooks/{row.id}"
    for page in (PAGE, change):
        assert "whsec_" not in trust.editor.get(page).text
    assert "t0ken" not in trust.editor.get(PAGE).text
    rotated = web.send(trust.editor, f"{change}/rotate", {}, page=change)
    (new,) = set(_SECRET.findall(rotated.text))
    assert new != secret
    assert "signs too until" in trust.editor.get(change).text
    elsewhere = {"url": "https://other.example/", "kinds": "invoice.paid"}
    web.send(trust.editor, change, elsewhere, page=change)
    assert "other.example" in trust.editor.get(PAGE).text
    web.send(trust.editor, f"{change}/end", {}, page=change)
    assert "No program is told" in trust.editor.get(PAGE).text
    assert trust.editor.get(change).status_code == 404


def test_a_paused_webhook_is_resumed_and_what_was_given_up_sent_again(trust: Trust) -> None:
    with trust.database.transaction() as session:
        made = makers.endpoint(session, account_id=trust.account_id)
        made.row.status, made.row.status_reason = "paused", "It kept failing"
        endpoint_id = made.row.id
    lost = delivered(trust.database, account_id=trust.account_id, endpoint_id=endpoint_id)
    mailed = delivered(trust.database, account_id=trust.account_id, endpoint_id=None)
    change = f"{PAGE}/webhooks/{endpoint_id}"
    assert "It kept failing" in trust.editor.get(change).text
    web.send(trust.editor, f"{change}/resume", {}, page=change)
    assert "Resume</button>" not in trust.editor.get(change).text
    web.send(trust.editor, f"{change}/replay", {}, page=change)
    shown = f"{PAGE}/deliveries/{mailed}"
    page = trust.editor.get(shown).text
    for words in ("Given up", "Connection refused", "PG-2627-000001", "finance@x.example"):
        assert words in page
    web.send(trust.editor, f"{shown}/replay", {}, page=shown)
    assert "Send it again" not in trust.editor.get(shown).text
    with trust.database.snapshot() as session:
        for delivery_id in (lost, mailed):
            assert session.get_one(DeliveryRow, delivery_id).status == "waiting"


def test_another_trusts_receivers_and_deliveries_are_not_found(trust: Trust) -> None:
    with trust.database.transaction() as session:
        endpoint_id = makers.endpoint(session, account_id=trust.other_id).row.id
    lost = delivered(trust.database, account_id=trust.other_id, endpoint_id=endpoint_id)
    assert lost not in trust.editor.get(PAGE).text
    assert trust.editor.get(f"{PAGE}/deliveries/{lost}").status_code == 404
    assert trust.editor.get(f"{PAGE}/webhooks/{endpoint_id}").status_code == 404
    for step in (f"deliveries/{lost}/replay", f"webhooks/{endpoint_id}/rotate"):
        assert web.send(trust.editor, f"{PAGE}/{step}", {}, page=EMAIL).status_code == 404
    with trust.database.snapshot() as session:
        assert session.get_one(DeliveryRow, lost).status == "dead"


@pytest.mark.parametrize("role", [Role.FINANCE_VIEWER, Role.AUDITOR])
def test_who_may_only_look_changes_nothing(shown: Shown, role: Role) -> None:
    account_id = shown.account_ids[ODS] if role is Role.FINANCE_VIEWER else None
    browser = shown.browser(Grant(role, account_id=account_id))
    page = browser.get(f"/portal/{ODS}/notifications").text
    assert "An invoice or credit note is issued" in page
    assert "Add a webhook" not in page
    for form in ("emails/new", "webhooks/new"):
        assert browser.get(f"/portal/{ODS}/notifications/{form}").status_code == 403


def test_an_editor_of_another_account_may_not_add_here(shown: Shown) -> None:
    both = shown.browser(
        Grant(Role.FINANCE_EDITOR, account_id=shown.account_ids[OTHER_ODS]),
        Grant(Role.FINANCE_VIEWER, account_id=shown.account_ids[ODS]),
    )
    typed = {"address": "a@x.example", "kinds": "invoice.paid"}
    at = f"/portal/{ODS}/notifications/emails/new"
    page = f"/portal/{OTHER_ODS}/notifications/emails/new"
    assert web.send(both, at, typed, page=page).status_code == 403
    assert both.get(at).status_code == 403
