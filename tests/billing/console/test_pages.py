"""Every page of the console as every role: what opens, what stays shut, and at what cost."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import event

from billing.access.model import Grant, Role
from metering.kit.guards import guard_of
from tests import web
from tests.trusts import Shown


def test_a_service_owner_has_the_pages_of_their_own_service_alone(shown: Shown) -> None:
    owner = shown.browser(Grant(Role.SERVICE_OWNER, source_id=1))
    assert owner.get("/").location == "/console/services"
    assert "/console/services/2" not in owner.get("/console/services").text
    for path in ("", "/posting", "/refused", "/keys/new"):
        assert owner.get(f"/console/services/2{path}").status_code == 404
    for path in ("/console/", "/console/accounts", "/console/quarantine", "/console/audit"):
        assert owner.get(path).status_code == 403


def test_a_trust_sees_nothing_of_the_console(shown: Shown) -> None:
    for path in ("/console/", "/console/services", "/console/month-ends"):
        assert shown.finance().get(path).status_code == 403


def test_an_auditor_reads_all_and_changes_nothing(shown: Shown) -> None:
    auditor = shown.browser(Grant(Role.AUDITOR))
    token = web.csrf_token(auditor, "/console/")
    tried = 0
    for rule in shown.app.url_map.iter_rules():
        if not rule.endpoint.startswith("console.") or "POST" not in (rule.methods or set()):
            continue
        values = {
            name: "2026-04" if name == "month" else 1 if name in {"source_id", "number"} else "x"
            for name in rule.arguments
        }
        if "event_id" in values:
            values["event_id"] = "018f5a2e-6b7c-7def-8123-456789abcdef"
        with shown.app.test_request_context():
            path = shown.app.url_map.bind("localhost").build(rule.endpoint, values, method="POST")
        answer = auditor.post(path, data={"csrf_token": token})
        # A file of documents that exist is reading, although it is made on request.
        status = 303 if rule.endpoint == "console.ask_for_bundle" else 403
        assert answer.status_code == status, f"{path} let an auditor in"
        tried += 1
    assert tried > 25


@pytest.mark.parametrize("role", [Role.ANALYST, Role.APPROVER])
def test_the_audit_trail_is_for_auditors_and_administrators(shown: Shown, role: Role) -> None:
    guard = guard_of(shown.app, "console.audit_trail", "GET")
    assert guard is not None
    assert guard.name == "permitted(see audit)"
    assert shown.browser(Grant(role)).get("/console/audit").status_code == 403


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    """Yield the statements that are sent meanwhile."""
    engine = app.extensions["paygo_edge"].database.engine
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_no_page_asks_the_database_for_each_row(shown: Shown) -> None:
    analyst = shown.browser(Grant(Role.ANALYST))
    account = shown.account_ids["RWE"]
    for path, most in (
        ("/console/", 22),
        ("/console/month-ends", 10),
        ("/console/month-ends/2026-04", 18),
        ("/console/accounts", 8),
        (f"/console/accounts/{account}", 14),
        ("/console/tariffs", 9),
        ("/console/tariffs/imaging-archive", 10),
        ("/console/services", 8),
        ("/console/services/1", 17),
        ("/console/quarantine", 12),
        ("/console/reconciliation", 12),
        ("/console/jobs", 8),
    ):
        with counted(shown.app) as sent:
            assert analyst.get(path).status_code == 200
        assert len(sent) <= most, f"{path} sends {len(sent)} statements"


@pytest.mark.parametrize(
    ("address", "first", "absent"),
    [
        ("/console/accounts", "Guy’s and St Thomas’", None),
        ("/console/accounts?sort=name&direction=descending", "University Hospitals", None),
        ("/console/accounts?search=rr8", "Leeds Teaching Hospitals", "University Hospitals"),
        ("/console/accounts?state=closed", "No account fits", "Leeds Teaching Hospitals"),
        ("/console/month-ends/2026-04", "Leeds Teaching Hospitals", None),
        ("/console/month-ends/2026-04?status=parked", "No account is like that", "Leeds"),
        ("/console/reconciliation?month=2026-04&search=texts", "texts-sent", "studies-archived"),
        ("/console/reconciliation?month=2026-04&show=differences", "No line fits", "texts-sent"),
        ("/console/reconciliation?month=2020-01", "No usage happened in this month", None),
        ("/console/?month=2026-05", "Tier 2 of 3", "The price was frozen"),
        ("/console/?month=2026-04", "The price was frozen when the month closed", None),
        ("/console/reconciliation/manifests", "Ask its owners", None),
        ("/console/tariffs?status=submitted", "No tariff has such a version", None),
    ],
)
def test_lists_filter_sort_and_say_what_to_do_when_empty(
    shown: Shown, address: str, first: str, absent: str | None
) -> None:
    page = shown.browser(Grant(Role.ANALYST)).get(address).text.partition("<main")[2]
    assert first in page
    assert absent is None or absent not in page


@pytest.mark.parametrize(
    ("address", "header", "row"),
    [
        (
            "/console/accounts?download=accounts&search=rr8",
            "Account,ODS code,Services,Email address,State",
            "Leeds Teaching Hospitals NHS Trust,RR8,2,finance@rr8.example,Open",
        ),
        (
            "/console/month-ends/2026-04?download=month-end-2026-04&sort=net",
            "Account,ODS code,Status,Status reason,Net",
            "University Hospitals of Leicester NHS Trust,RWE,Issued",
        ),
        (
            "/console/reconciliation?month=2026-04&download=reconciliation-2026-04&search=RWE",
            "Organisation,ODS code,Meter,Events,Readings,Rated",
            "University Hospitals of Leicester NHS Trust,RWE,studies-archived",
        ),
    ],
)
def test_every_list_downloads_as_it_is_filtered(
    shown: Shown, address: str, header: str, row: str
) -> None:
    answer = shown.browser(Grant(Role.ANALYST)).get(address)
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    lines = answer.get_data().decode("utf-8-sig").splitlines()
    assert lines[0].startswith(header)
    assert any(line.startswith(row) for line in lines[1:])


def test_the_issued_month_shows_its_figures_and_its_documents(shown: Shown) -> None:
    page = shown.browser(Grant(Role.AUDITOR)).get("/console/month-ends/2026-04").text
    assert "3 documents issued, numbered and sealed." in page
    assert "Approve these drafts" not in page
    month = shown.browser(Grant(Role.ANALYST)).get("/console/month-ends/2026-13")
    assert month.status_code == 404
