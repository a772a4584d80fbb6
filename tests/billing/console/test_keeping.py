"""Accounts, services, refused events, jobs and the audit trail, kept on their pages."""

import html
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from billing.access.model import Grant, Role
from billing.accounts import queries as accounts
from billing.console.overview_pages import reached, residue_words
from billing.tariffs.model import Tier
from metering.kit.db import Database
from metering.meters.queries import by_code
from tests import make, web
from tests.scenarios.story import service

_KEY = re.compile(r"pgk_[A-Za-z0-9]+_[A-Za-z0-9_-]+")


@pytest.fixture
def analyst(app: Flask, clock: web.Clock) -> FlaskClient:
    clock.now = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)
    return web.signed_in(app, [Grant(Role.ANALYST)])


def dates(name: str, day: str) -> dict[str, str]:
    year, month, number = day.split("-")
    return {f"{name}-day": number, f"{name}-month": month, f"{name}-year": year}


def test_an_account_is_opened_agreed_taxed_and_merged(
    analyst: FlaskClient, database: Database
) -> None:
    service(database)
    with database.transaction() as session:
        make.organisation(session, code="RA1", name="Airedale")
        make.organisation(session, code="RA2", name="Bradford")
    new = "/console/accounts/new"
    typed = {
        "organisation": "RA1",
        "name": "Airedale",
        "address": "1 Road\nLeeds",
        "postcode": "LS1 4AP",
        "email": "a@x.example",
        "payment_terms_days": "thirty",
    }
    wrong = web.send(analyst, new, typed, page=new)
    assert wrong.status_code == 422
    assert "Enter a whole number of days" in wrong.text
    assert "1 Road\nLeeds" in wrong.text
    for code in ("RA1", "RA2"):
        sent = {**typed, "organisation": code, "name": code, "payment_terms_days": "30"}
        account = web.send(analyst, new, sent, page=new).location
    web.send(
        analyst,
        f"{account}/details",
        {**typed, "name": "Bradford Trust", "payment_terms_days": "28"},
        page=f"{account}/details",
    )
    agree = f"{account}/agreements/new"
    sent = {"tariff": "imaging-archive", **dates("starts_on", "2026-02-30")}
    wrong = web.send(analyst, agree, sent, page=agree)
    assert "Enter a real date" in wrong.text
    assert 'value="30"' in wrong.text
    assert "discount" not in wrong.text
    web.send(analyst, agree, {**sent, **dates("starts_on", "2026-4-1")}, page=agree)
    overlap = web.send(analyst, agree, {**sent, **dates("starts_on", "2026-4-2")}, page=agree)
    assert "is on imaging-archive" in overlap.text
    order = f"{account}/orders/new"
    sent = {"number": "PO-9", "value": "12.3x", **dates("starts_on", "2026-4-1")}
    assert "Enter pounds and pence" in web.send(analyst, order, sent, page=order).text
    web.send(analyst, order, {**sent, "value": "1234.50"}, page=order)
    vat = f"{account}/vat/new"
    sent = {"treatment": "exempt", **dates("starts_on", "2026-4-1")}
    assert "all but standard give a reason" in web.send(analyst, vat, sent, page=vat).text
    web.send(analyst, vat, {**sent, "reason": "Group 7"}, page=vat)
    page = analyst.get(account).text
    for words in ("Bradford Trust", "28 days", "£1,234.50", "Group 7"):
        assert words in page
    end = re.findall(rf'href="({account}/agreements/agr_[^"]+)"', page)[0]
    web.send(analyst, end, dates("ends_on", "2026-9-1"), page=end)
    assert "1 September 2026" in analyst.get(account).text
    with database.snapshot() as session:
        first = accounts.payer_by_ods_code(session, ods_code="RA1").account.id
    merge = f"{account}/merge"
    assert "Choose the account" in web.send(analyst, merge, {}, page=merge).text
    sent = {"successor": first, **dates("effective_on", "2026-7-1")}
    web.send(analyst, merge, sent, page=merge)
    page = analyst.get(account).text
    assert "Became part of RA1 on 1 July 2026" in page
    assert "Make an agreement" not in page
    assert "Took over from Bradford Trust" in analyst.get(f"/console/accounts/{first}").text


def test_a_meter_gets_new_words_and_more_to_be_split_by_and_loses_nothing(
    analyst: FlaskClient, database: Database
) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session, dimensions={"modality": {"label": "Kind", "values": ["CT", "MR"]}})
    page = "/console/services/1/meters/studies-archived"
    assert "modality: CT, MR" in analyst.get(page).text
    typed = {"name": "Studies kept", "unit": "study", "dimensions": "modality: CT"}
    wrong = web.send(analyst, page, typed, page=page)
    assert wrong.status_code == 422
    assert "already takes the value &#39;MR&#39;" in wrong.text
    gone = web.send(analyst, page, {**typed, "dimensions": "site"}, page=page)
    assert "already split by &#39;modality&#39;" in gone.text
    more = "modality: CT, MR, US\nsite"
    assert web.send(analyst, page, {**typed, "dimensions": more}, page=page).status_code == 303
    with database.snapshot() as session:
        row = by_code(session, code="studies-archived")
    assert (row.name, row.unit) == ("Studies kept", "study")
    assert row.dimensions == {
        "modality": {"label": "Kind", "values": ["CT", "MR", "US"]},
        "site": {"label": "Site", "values": None},
    }
    assert "Studies kept" in analyst.get("/console/services/1").text
    assert analyst.get("/console/services/1/meters/nothing").status_code == 404


def test_a_service_its_keys_and_its_refused_events(
    analyst: FlaskClient, app: Flask, database: Database, clock: web.Clock
) -> None:
    new = "/console/services/new"
    typed = {"code": "Imaging!", "name": "Imaging archive", "manifest_policy": "warn"}
    assert "is not a source code" in web.send(analyst, new, typed, page=new).text
    page = web.send(analyst, new, {**typed, "code": "imaging-archive"}, page=new).location
    assert "it has no meter" in analyst.get(page).text or "no meter" in analyst.get(page).text
    assert "nothing to post" in analyst.get(f"{page}/posting").text
    meter = {
        "name": "Studies archived",
        "code": "studies-archived",
        "event_type": "study.archived",
        "aggregation": "sum",
        "unit": "study",
        "dimensions": "modality: CT, MR",
        "resolution": "day",
    }
    at = f"{page}/meters/new"
    wrong = web.send(analyst, at, meter, page=at)
    assert "every meter but a count names the field" in html.unescape(wrong.text)
    web.send(analyst, at, {**meter, "quantity_field": "studies"}, page=at)

    # The owner issues a key, sees it once, and rotates it.
    owner = web.signed_in(app, [Grant(Role.SERVICE_OWNER, source_id=1)], email="o@x.example")
    keys = f"{page}/keys/new"
    assert "Enter where the key will live" in web.send(owner, keys, {}, page=keys).text
    past = {"label": "Old", **dates("ends_on", "2026-1-1")}
    assert "must end after it begins" in web.send(owner, keys, past, page=keys).text
    shown = web.send(owner, keys, {"label": "Production"}, page=keys).text
    (secret,) = set(_KEY.findall(shown))
    listed = owner.get(page).text
    assert secret not in listed
    assert "Production" in listed
    (rotate,) = re.findall(rf'href="({page}/keys/key_[^"]+/rotate)"', listed)
    undecided = web.send(owner, rotate, {"overlap": "until"}, page=rotate)
    assert "Enter the day on which the old key ends" in undecided.text
    far = {"overlap": "until", **dates("ends_on", "2027-1-1")}
    assert "within 90 days of its rotation" in web.send(owner, rotate, far, page=rotate).text
    replaced = web.send(owner, rotate, {"overlap": "hour"}, page=rotate).text
    assert "20 May 2026 at 11:00am" in replaced
    assert secret not in replaced
    (second,) = set(_KEY.findall(replaced))
    assert "Ends on 20 May 2026 at 11:00am" in owner.get(page).text
    other = f"/console/services/1/keys/{'key_nobody'}/revoke"
    assert web.send(owner, other, {}, page=page).status_code == 404

    # An event that is refused, shown to the owner, mended by the analyst, and replayed.
    event = {
        "specversion": "1.0",
        "id": "first",
        "source": "imaging-archive",
        "type": "study.archived",
        "subject": "RA1",
        "time": "2026-05-19T10:00:00+01:00",
        "data": {"studies": "2", "modality": "CT"},
    }
    key = {"Authorization": f"Bearer {secret}"}
    for sent in (event, {**event, "id": "second", "data": {"studies": "1", "modality": "PET"}}):
        assert app.test_client().post("/api/v1/events", json=sent, headers=key).status_code == 200
    # The old key ends by itself; the new one goes on until it is revoked.
    clock.move(minutes=61)
    assert app.test_client().post("/api/v1/events", json=event, headers=key).status_code == 401
    owner = web.signed_in(app, [Grant(Role.SERVICE_OWNER, source_id=1)], email="p@x.example")
    assert "nothing to rotate" in web.send(owner, rotate, {}, page=rotate).text
    key = {"Authorization": f"Bearer {second}"}
    assert app.test_client().post("/api/v1/events", json=event, headers=key).status_code == 200
    (revoke,) = re.findall(rf'action="({page}/keys/key_[^"]+/revoke)"', owner.get(page).text)
    web.send(owner, revoke, {}, page=page)
    assert "Revoked" in owner.get(page).text
    assert app.test_client().post("/api/v1/events", json=event, headers=key).status_code == 401
    refused = owner.get(f"{page}/refused").text
    mine = re.findall(rf'href="({page}/refused/[^"?]+)"', refused)
    assert len(mine) == 2
    assert "Send the event again" in owner.get(mine[0]).text
    analyst = web.signed_in(app, [Grant(Role.ANALYST)], email="later@x.example")
    inbox = analyst.get("/console/quarantine").text
    reasons = re.findall(r'name="reason" value="([^"]+)"', inbox)
    assert reasons == ["subject-unknown"]
    with database.transaction() as session:
        make.organisation(session, code="RA1")
    for reason in reasons:
        web.send(
            analyst,
            "/console/quarantine/replay",
            {"service": "1", "reason": reason},
            page="/console/quarantine",
        )
    left = re.findall(r'href="(/console/quarantine/[0-9a-f-]{36})"', _quarantine(analyst))
    # What is refused again is kept for its new reason too; what passed is not among it.
    assert left
    assert not any('"id": "first"' in html.unescape(analyst.get(one).text) for one in left)
    assert web.send(analyst, f"{left[0]}/replay", {}, page=left[0]).status_code == 303
    none = web.send(analyst, f"{left[0]}/dismiss", {"reason": ""}, page=left[0])
    assert "Enter why it is dismissed" in none.text
    for one in left:
        web.send(analyst, f"{one}/dismiss", {"reason": "Not a modality"}, page=one)
        assert "Dismissed" in analyst.get(one).text
    assert "nothing to do" in _quarantine(analyst)
    csv = analyst.get("/console/quarantine?state=replayed&download=refused-events").get_data(True)
    # The one that passed, and the other's first reason, which no longer holds.
    assert csv.count("Imaging archive") == 2


def _quarantine(client: FlaskClient, query: str = "") -> str:
    return client.get(f"/console/quarantine{query}").text


def test_many_refused_events_are_dismissed_together(
    analyst: FlaskClient, database: Database
) -> None:
    with database.transaction() as session:
        make.source(session)
        for number in range(3):
            session.execute(
                text(
                    "INSERT INTO quarantined_events (id, source_id, batch_id, received_at, fate, "
                    "code, pointer, detail, body) VALUES (gen_random_uuid(), 1, "
                    "gen_random_uuid(), now(), :fate, 'unknown-type', '', 'Nobody knows it.', '{}')"
                ),
                {"fate": "rejected" if number else "conflict"},
            )
    path = "/console/quarantine/dismiss?service=1&reason=unknown-type"
    assert "Dismiss 3 refused events" in analyst.get(path).text
    sent = {"service": "1", "reason": "unknown-type"}
    assert (
        "Enter why they are dismissed"
        in web.send(analyst, "/console/quarantine/dismiss", sent, page=path).text
    )
    web.send(analyst, "/console/quarantine/dismiss", {**sent, "why": "A trial"}, page=path)
    assert "nothing to do" in _quarantine(analyst)
    assert analyst.get("/console/quarantine/dismiss").status_code == 404


def test_jobs_run_now_and_the_audit_trail_says_who_did_it(
    analyst: FlaskClient, app: Flask, database: Database
) -> None:
    assert "Not yet" in analyst.get("/console/jobs").text
    run = "/console/jobs/roll-up"
    web.send(analyst, f"{run}/run", {}, page=run)
    page = analyst.get(run).text
    assert "There was nothing to do" in page
    assert "Succeeded" in page
    assert "Ada Lovelace" in page
    assert analyst.get("/console/jobs/nothing").status_code == 404
    approver = web.signed_in(app, [Grant(Role.APPROVER)], email="b@x.example")
    assert web.send(approver, f"{run}/run", {}, page=run).status_code == 403

    auditor = web.signed_in(app, [Grant(Role.AUDITOR)], email="c@x.example")
    found = auditor.get("/console/audit?action=run+job").text
    assert "job roll-up" in found
    assert "1 entries fit" in found
    assert "No entry fits" in auditor.get("/console/audit?words=nothing-like-it").text
    wrong = auditor.get("/console/audit?since-day=31&since-month=2&since-year=2026")
    assert "Enter a real date" in wrong.text
    assert "2026-05-20" in auditor.get("/console/audit?download=audit-trail").get_data(True)
    assert "Seal of the entry before" in auditor.get("/console/audit/1").text
    assert auditor.get("/console/audit/999").status_code == 404
    assert "The audit trail holds" in auditor.get("/console/audit/proof").text
    with database.transaction() as session:
        # Only whoever owns the database itself could do this.
        session.execute(text("ALTER TABLE audit_entries DISABLE TRIGGER USER"))
        session.execute(text("UPDATE audit_entries SET principal = 'nobody' WHERE position = 2"))
    assert "broken at entry 2" in auditor.get("/console/audit/proof").text


@pytest.mark.parametrize(
    ("quantity", "number", "distance"),
    [("0", 1, "100"), ("100", 1, "0"), ("100.5", 2, "99.5"), ("200", 2, "0"), ("900", 3, None)],
)
def test_a_pool_says_its_tier_and_how_far_the_next_is(
    quantity: str, number: int, distance: str | None
) -> None:
    tiers = [
        Tier(Decimal(100), Decimal(3)),
        Tier(Decimal(200), Decimal(2)),
        Tier(None, Decimal(1)),
    ]
    at = reached(tiers, Decimal(quantity))
    assert (at.number, at.distance) == (number, None if distance is None else Decimal(distance))


def test_what_a_frozen_price_leaves_with_the_central_team_is_said() -> None:
    assert residue_words(Decimal("-53.684"), frozen=False) == ""
    assert residue_words(Decimal("0.001"), frozen=True) == (
        "The price was frozen when the month closed."
    )
    more = residue_words(Decimal("-53.684"), frozen=True)
    assert "£53.68 more than at the price that it makes. The central team keeps it." in more
    less = residue_words(Decimal("12.5"), frozen=True)
    assert "£12.50 less than at the price that it makes. The central team bears it." in less
