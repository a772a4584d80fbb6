"""Estimates and checks over HTTP: for who is signed in, and for any key."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from billing.access.model import Grant, Role
from billing.api.schemas import ESTIMATE_EXAMPLE, TARIFF_EXAMPLE
from metering.kit.db import Database
from metering.sources import operations as sources
from metering.sources.model import MANIFESTS_WRITE
from tests import make, web


@pytest.fixture
def auditor(app: Flask) -> FlaskClient:
    return web.signed_in(app, [Grant(Role.AUDITOR)])


def priced(client: FlaskClient, **changes: Any) -> web.TestResponse:
    return client.post("/api/v1/estimates", json=ESTIMATE_EXAMPLE | changes)


def test_supposed_usage_is_priced_with_its_working(auditor: FlaskClient) -> None:
    answer = priced(auditor)
    assert answer.status_code == 200, answer.text
    (charge,) = answer.json["charges"]
    assert (charge["amount"], charge["exact"], answer.json["total"]) == ("10.50", "10.5", "10.50")
    assert charge["working"][0]["text"] == "21 × £0.50 = £10.50."


def test_a_tariff_in_force_is_named_by_its_code(auditor: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        make.source(session)
        make.meter(session)
        make.tariff(session, make.price(unit_price="0.40"))
    assert priced(auditor, tariff="imaging-archive").json["total"] == "8.40"
    missing = priced(auditor, tariff="imaging-archive", month="2026-03")
    assert (missing.status_code, missing.json["type"]) == (404, "/problems/no-version-in-force")


def test_any_key_may_ask_and_strangers_may_not(client: FlaskClient, database: Database) -> None:
    assert priced(client).status_code == 401
    with database.transaction() as session:
        make.source(session)
        key = sources.issue_key(
            session,
            source_code="imaging-archive",
            label="production",
            scopes=[MANIFESTS_WRITE],
            created_by="usr_admin",
            now=web.START,
        )
    sent = client.post(
        "/api/v1/estimates",
        json=ESTIMATE_EXAMPLE,
        headers={"Authorization": f"Bearer {key.text}"},
    )
    assert (sent.status_code, sent.json["total"]) == (200, "10.50")
    forged = client.post(
        "/api/v1/estimates", json=ESTIMATE_EXAMPLE, headers={"Authorization": "Bearer nonsense"}
    )
    assert forged.status_code == 401


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"month": "April"}, 422, "month-invalid"),
        ({"usage": [{"organisation": "RRK"}]}, 422, "usage-invalid"),
        ({"usage": [{}] * 10_001}, 413, "estimate-too-large"),
        ({"tariff": {"tariff": "x"}}, 422, "tariff-invalid"),
        ({"tariff": "nothing"}, 404, "tariff-unknown"),
    ],
)
def test_what_cannot_be_priced_is_explained(
    auditor: FlaskClient, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = priced(auditor, **changes)
    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{code}")


def test_a_tariff_is_checked_as_an_object_or_as_a_file(auditor: FlaskClient) -> None:
    for given in (TARIFF_EXAMPLE, web_yaml()):
        answer = auditor.post("/api/v1/tariffs/check", json={"tariff": given})
        assert answer.json == {
            "tariff": "imaging-archive",
            "version": "2026-04",
            "effective_from": "2026-04-01",
            "meters": ["studies-archived"],
            "prices": 1,
        }
    wrong = TARIFF_EXAMPLE | {"prices": [{"meter": "m", "model": "per-unit", "unit_price": 0.5}]}
    answer = auditor.post("/api/v1/tariffs/check", json={"tariff": wrong})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/prices/0/unit_price"


def web_yaml() -> str:
    return (
        'tariff: imaging-archive\nversion: "2026-04"\neffective_from: 2026-04-01\n'
        "vat: standard\nprices:\n"
        '  - {meter: studies-archived, model: per-unit, unit_price: "0.5"}\n'
    )
