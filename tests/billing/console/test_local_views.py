"""Local agreements on the console: proposed by one person, approved by another."""

import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.accounts import queries
from billing.accounts.tables import LocalAgreementRow
from metering.kit.db import Database
from tests import make, web
from tests.scenarios import story

PRICES = """\
- meter: studies-archived
  model: per-unit
  unit_price: "0.30"
"""
FAULTY = """\
- meter: studies-archived
  model: per-unit
  unit_price: "dear"
- meter: nothing-known
  model: graduated
"""


@dataclass(frozen=True)
class Office:
    """An account, and three people of the central team."""

    database: Database
    account: str
    analyst: FlaskClient
    approver: FlaskClient
    both: FlaskClient

    @property
    def form(self) -> str:
        return f"{self.account}/local/new"

    def rows(self) -> list[LocalAgreementRow]:
        with self.database.snapshot() as session:
            return list(queries.local_agreements(session, status=None))

    def proposed(self, **typed: str) -> str:
        """Propose terms; return the address of their page."""
        sent = {"tariff": "imaging-archive", **dates("starts_on", "2026-6-1"), **typed}
        answer = web.send(self.analyst, self.form, sent, page=self.form)
        assert answer.location == self.account, answer.text
        page = self.analyst.get(self.account).text
        return re.findall(r'href="(/console/local-agreements/loc_[^"]+)"', page)[0]


def dates(name: str, day: str) -> dict[str, str]:
    year, month, number = day.split("-")
    return {f"{name}-day": number, f"{name}-month": month, f"{name}-year": year}


@pytest.fixture
def office(app: Flask, clock: web.Clock, database: Database) -> Office:
    clock.now = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)
    story.service(database)
    with database.transaction() as session:
        account = make.account(session, code="RA1")
        make.agreement(session, account=account, group_code="QWE")
        account_id = account.id
    return Office(
        database,
        f"/console/accounts/{account_id}",
        web.signed_in(app, [Grant(Role.ANALYST)], email="an@x.example"),
        web.signed_in(app, [Grant(Role.APPROVER)], email="ap@x.example"),
        web.signed_in(app, [Grant(Role.ANALYST), Grant(Role.APPROVER)], email="both@x.example"),
    )


def test_terms_are_proposed_by_one_and_approved_by_another(office: Office) -> None:
    page = office.proposed(discount_percent="7.5", commitment="1200", prices=PRICES)
    shown = office.analyst.get(page).text
    for words in ("Waits for approval", "7.5% off", "commits to £1,200.00 a month", "unit_price"):
        assert words in shown
    assert "Another person must approve" in shown
    refused = web.send(office.analyst, f"{page}/approve", {}, page=office.form)
    assert refused.status_code == 403
    answer = web.send(office.approver, f"{page}/approve", {}, page=page)
    assert answer.location == page
    (row,) = office.rows()
    assert (row.status, row.terms["discount_percent"]) == ("approved", "7.5")
    assert row.terms["commitment"] == {"amount": "1200.00", "per": "month"}
    assert row.terms["prices"][0]["unit_price"] == "0.3"
    assert "Later" in office.analyst.get(office.account).text


def test_terms_that_wait_stand_on_the_overview_and_in_their_list(office: Office) -> None:
    page = office.proposed(discount_percent="7.5")
    waits = "/console/local-agreements?status=waiting"
    overview = office.approver.get("/console/").text
    assert "1 local agreement to approve" in overview
    assert waits in html.unescape(overview)
    listed = office.approver.get(waits).text
    for words in (page, "7.5% off", "Waits for approval"):
        assert words in listed
    web.send(office.approver, f"{page}/approve", {}, page=page)
    assert "local agreement to approve" not in office.approver.get("/console/").text
    assert "No local agreement waits for approval" in office.approver.get(waits).text
    end = {**dates("ends_on", "2026-7-1")}
    web.send(office.analyst, f"{page}/end", end, page=page)
    assert "1 local agreement to approve" in office.approver.get("/console/").text
    assert page in office.analyst.get("/console/local-agreements").text
    every = office.analyst.get("/console/local-agreements?download=all-local-agreements")
    assert "7.5% off" in every.text


def test_nobody_approves_what_they_proposed(office: Office) -> None:
    sent = {"tariff": "imaging-archive", **dates("starts_on", "2026-6-1"), "discount_percent": "5"}
    web.send(office.both, office.form, sent, page=office.form)
    (row,) = office.rows()
    page = f"/console/local-agreements/{row.id}"
    assert "Approve these terms" not in office.both.get(page).text
    refused = web.send(office.both, f"{page}/approve", {}, page=page)
    assert refused.status_code == 422
    assert "cannot approve it" in refused.text
    assert office.rows()[0].status == "proposed"
    other = web.send(office.analyst, f"{page}/take-back", {}, page=office.form)
    assert "Only the person who proposed" in other.text
    web.send(office.both, f"{page}/take-back", {}, page=page)
    assert office.rows()[0].status == "rejected"


def test_every_fault_of_the_prices_is_shown_with_its_line(office: Office) -> None:
    for text in (FAULTY, "prices:\n" + FAULTY):
        sent = {
            "tariff": "imaging-archive",
            **dates("starts_on", "2026-6-1"),
            "commitment": "5.001",
            "prices": text,
        }
        answer = web.send(office.analyst, office.form, sent, page=office.form)
        assert answer.status_code == 422
        shown = html.unescape(answer.text)
        lines = re.findall(r'<th scope="row"[^>]*>(\d+)</th><td[^>]*>([^<]+)<', shown)
        first = 3 + text.startswith("prices:")
        assert (str(first), "first price, unit_price") in lines
        assert any(where.startswith("second price") for _, where in lines)
        assert "above nought in pounds and pence" in shown
        assert 'unit_price: "dear"' in shown
        assert 'value="5.001"' in shown
    assert office.rows() == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, "Say what differs"),
        ({"prices": "- meter: [x"}, "line"),
        ({"prices": PRICES.replace("studies-archived", "unknown")}, "has no meter unknown"),
        ({"discount_percent": "120"}, "Enter a percentage from 0 to 100"),
        ({"discount_percent": "5", "tariff": ""}, "Choose a service"),
        ({"discount_percent": "5", **dates("ends_on", "2026-5-1")}, "ends after it starts"),
    ],
)
def test_what_cannot_be_is_said_and_kept_as_typed(
    office: Office, typed: dict[str, str], said: str
) -> None:
    sent = {"tariff": "imaging-archive", **dates("starts_on", "2026-6-1"), **typed}
    answer = web.send(office.analyst, office.form, sent, page=office.form)
    assert answer.status_code == 422
    assert said in html.unescape(answer.text)
    assert 'value="2026"' in answer.text
    assert office.rows() == []


def test_a_proposal_is_rejected_with_a_reason(office: Office) -> None:
    page = office.proposed(discount_percent="5")
    assert "Enter why" in web.send(office.approver, f"{page}/reject", {}, page=page).text
    web.send(office.approver, f"{page}/reject", {"reject_reason": "Too much"}, page=page)
    assert office.rows()[0].status == "rejected"
    again = web.send(office.approver, f"{page}/approve", {}, page="/console/quarantine")
    assert "is rejected, not proposed" in again.text


def test_an_end_needs_two_people_as_well(office: Office) -> None:
    page = office.proposed(discount_percent="5")
    web.send(office.approver, f"{page}/approve", {}, page=page)
    assert "Enter the first day" in web.send(office.analyst, f"{page}/end", {}, page=page).text
    web.send(office.analyst, f"{page}/end", dates("ends_on", "2026-9-1"), page=page)
    assert office.rows()[0].ends_on is None
    assert "End waits for approval" in office.analyst.get(office.account).text
    web.send(office.approver, f"{page}/end/approve", {}, page=page)
    assert str(office.rows()[0].ends_on) == "2026-09-01"


def test_a_groups_terms_are_on_each_members_page(office: Office) -> None:
    page = office.proposed(group="QWE", discount_percent="5")
    assert office.rows()[0].group_code == "QWE"
    assert "Group QWE" in office.analyst.get(page).text
    assert "Group QWE" in office.analyst.get(office.account).text


def test_an_auditor_only_looks(office: Office, app: Flask) -> None:
    page = office.proposed(discount_percent="5")
    auditor = web.signed_in(app, [Grant(Role.AUDITOR)], email="au@x.example")
    shown = auditor.get(page).text
    assert "5% off" in shown
    assert "<button" not in shown.split("</header>")[1].split("<footer")[0]
    assert auditor.get(office.form).status_code == 403
    assert auditor.get("/console/local-agreements/loc_none").status_code == 404


def test_a_price_is_written_with_the_same_fields_as_a_tariffs(office: Office) -> None:
    terms = {"tariff": "imaging-archive", **dates("starts_on", "2026-6-1")}
    tiers = {
        "act": "add-price",
        "price-label": "Our night price",
        "price-meter": "studies-archived",
        "price-model": "graduated",
        "price-scope": "own",
        "price-tier-0-up_to": "1,000",
        "price-tier-0-unit_price": "dear",
        "price-tier-2-unit_price": "£0.20",
    }
    wrong = web.send(office.analyst, office.form, {**terms, **tiers}, page=office.form)
    assert wrong.status_code == 422
    assert 'id="price-tier-0-unit_price-error"' in wrong.text
    tiers["price-tier-0-unit_price"] = "0.25"
    added = web.send(office.analyst, office.form, {**terms, **tiers}, page=office.form)
    assert added.status_code == 200
    shown = html.unescape(added.text)
    written = re.findall(r'<textarea[^>]*name="prices"[^>]*>(.*?)</textarea>', shown, re.DOTALL)
    assert "label: Our night price" in written[0]
    assert 'value="Our night price"' not in shown
    # A price that is still in its fields when the terms are proposed counts as well.
    last = {
        **terms,
        "prices": written[0].strip(),
        "price-model": "flat",
        "price-label": "Help desk",
        "price-amount": "99",
    }
    answer = web.send(office.analyst, office.form, last, page=office.form)
    assert answer.location == office.account, answer.text
    (row,) = office.rows()
    assert [price["label"] for price in row.terms["prices"]] == ["Our night price", "Help desk"]
    assert row.terms["prices"][0]["tiers"] == [
        {"up_to": "1000", "unit_price": "0.25"},
        {"up_to": None, "unit_price": "0.2"},
    ]
