"""The events behind an invoice line over HTTP: for who may see the account, and for the source."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.invoices import queries
from metering.sources import operations as sources
from metering.sources.model import EVENTS_WRITE, USAGE_READ
from tests import web
from tests.trusts import ODS, OTHER_ODS, Shown


def path(shown: Shown, code: str = ODS, line: int = 1) -> str:
    return f"/api/v1/invoices/{shown.numbers[code]}/lines/{line}/events"


def all_of(client: FlaskClient, address: str, **headers: str) -> list[dict[str, Any]]:
    events, after = [], ""
    while True:
        answer = client.get(f"{address}?limit=7{after}", headers=headers)
        assert answer.status_code == 200, answer.text
        events += answer.json["events"]
        if answer.json["next"] is None:
            return events
        after = f"&after={answer.json['next']}"


@pytest.fixture
def lines(shown: Shown) -> dict[str, int]:
    """Numbers of the first trust's lines by meter."""
    with shown.database.snapshot() as session:
        rows = queries.lines(
            session, account_id=shown.account_ids[ODS], invoice_id=shown.invoice_ids[ODS]
        )
    return {row.meter: row.number for row in rows}


def test_finance_reads_its_own_and_nobody_elses(shown: Shown, lines: dict[str, int]) -> None:
    events = all_of(shown.finance(), path(shown, line=lines["studies-archived"]))
    assert len(events) == 30
    assert {event["meter"] for event in events} == {"studies-archived"}
    assert {event["organisation"] for event in events} == {ODS}
    other = shown.finance(OTHER_ODS).get(path(shown))
    assert (other.status_code, other.json["type"]) == (404, "/problems/invoice-unknown")
    assert shown.app.test_client().get(path(shown)).status_code == 401
    auditor = shown.browser(Grant(Role.AUDITOR)).get(path(shown, OTHER_ODS))
    assert auditor.status_code == 200


def test_a_key_reads_the_lines_of_its_own_source(shown: Shown, lines: dict[str, int]) -> None:
    def headers(source: str, *scopes: str) -> dict[str, str]:
        with shown.database.transaction() as session:
            key = sources.issue_key(
                session,
                source_code=source,
                label="reads lines",
                scopes=scopes,
                created_by="test",
                now=web.START,
            )
        return {"Authorization": f"Bearer {key.text}"}

    client = shown.app.test_client()
    address = path(shown, line=lines["studies-archived"])
    assert len(all_of(client, address, **headers("imaging-archive", USAGE_READ))) == 30
    for source, scope, status in (
        ("patient-messaging", USAGE_READ, 404),
        ("imaging-archive", EVENTS_WRITE, 403),
    ):
        assert client.get(address, headers=headers(source, scope)).status_code == status
    assert client.get(address, headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_the_events_themselves_can_be_asked_for_a_line(shown: Shown, lines: dict[str, int]) -> None:
    line = lines["studies-archived"]
    finance = shown.finance()

    def asked(invoice: str = shown.numbers[ODS], **more: object) -> Any:
        return {"invoice": invoice, "line": line, **more}

    address = "/api/v1/events"
    direct = finance.get(f"{path(shown, line=line)}?limit=7")
    first = finance.get(address, query_string=asked(limit=7))
    assert (first.status_code, first.json) == (200, direct.json)
    second = finance.get(address, query_string=asked(limit=7, after=first.json["next"]))
    assert second.json["events"][0] not in first.json["events"]
    # One implementation: the rules of the line's own route hold, whoever asks.
    other = shown.finance(OTHER_ODS).get(address, query_string=asked())
    assert (other.status_code, other.json["type"]) == (404, "/problems/invoice-unknown")
    assert shown.app.test_client().get(address, query_string=asked()).status_code == 401
    assert finance.get(address, query_string=asked(month="2026-04")).status_code == 422
    for strange in ("a/b", "../..", "PG%2F1", "é", ""):
        assert finance.get(address, query_string=asked(strange)).status_code == 404
    assert finance.get(address, query_string={"invoice": "PG-1"}).status_code == 401


def test_what_does_not_exist_is_not_found(shown: Shown) -> None:
    missing = shown.finance().get(path(shown, line=99))
    assert (missing.status_code, missing.json["type"]) == (404, "/problems/invoice-line-unknown")
    unknown = shown.finance().get("/api/v1/invoices/PG-1999-000001/lines/1/events")
    assert (unknown.status_code, unknown.json["type"]) == (404, "/problems/invoice-unknown")
    assert shown.finance().get(f"{path(shown)}?limit=0").status_code == 422
