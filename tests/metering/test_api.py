"""The metering API over HTTP: wire forms, keys, limits, reading back, and no 500 ever."""

import gzip
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import zstandard
from cloudevents.core.bindings import http as ce_http
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import conversion as ce_v1
from cloudevents.v1 import http as ce_v1_http
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from metering import jobs
from metering.app import create_app
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.guards import unguarded_routes
from metering.readings.views import _line
from tests.metering import make
from tests.metering.make import NOW, event, withdrawal

BATCH = "application/cloudevents-batch+json"


class Caller:
    """An HTTP client with a key."""

    def __init__(self, database: Database, **environment: str) -> None:
        chosen = Settings.from_environment({"PAYGO_DATA_DIR": "/nowhere", **environment})
        self.time = NOW
        self.app = create_app(chosen, database, clock=lambda: self.time)
        self.client: FlaskClient = self.app.test_client()
        self.database = database
        self.headers = {"Authorization": f"Bearer {make.key(database)}"}

    def post(self, body: Any, content_type: str = BATCH, **headers: str) -> TestResponse:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            "/api/v1/events",
            data=sent,
            headers={
                **self.headers,
                "Content-Type": content_type,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={**self.headers, **headers})


@pytest.fixture
def caller(database: Database) -> Caller:
    make.catalogue(database)
    return Caller(database)


def test_every_route_declares_who_may_call_it(caller: Caller) -> None:
    assert unguarded_routes(caller.app) == []


def test_a_receipt_counts_and_lists_what_was_not_simply_accepted(caller: Caller) -> None:
    answer = caller.post([event(1), event(1), event(2, subject="ZZZ")])
    assert answer.status_code == 200
    said = answer.get_json()
    assert {name: said[name] for name in said if name != "events"} == {
        "received": 3,
        "accepted": 1,
        "duplicate": 1,
        "conflict": 0,
        "rejected": 1,
    }
    assert [(item["index"], item["fate"], item["pointer"]) for item in said["events"]] == [
        (1, "duplicate", "/1"),
        (2, "rejected", "/2/subject"),
    ]


@pytest.mark.parametrize(
    ("content_type", "make_body"),
    [
        (BATCH, lambda events: json.dumps(events).encode()),
        ("application/json", lambda events: json.dumps(events).encode()),
        ("application/json; charset=utf-8", lambda events: json.dumps(events, indent=1).encode()),
        ("application/x-ndjson", lambda events: b"\n".join(json.dumps(e).encode() for e in events)),
    ],
)
def test_lists_come_in_several_forms(caller: Caller, content_type: str, make_body: Any) -> None:
    answer = caller.post(make_body([event(1), event(2)]), content_type)
    assert answer.get_json()["accepted"] == 2


@pytest.mark.parametrize("content_type", ["application/cloudevents+json", "application/json"])
def test_one_event_may_come_alone(caller: Caller, content_type: str) -> None:
    assert caller.post(event(1), content_type).get_json()["accepted"] == 1
    refused = caller.post(event(2, subject="ZZZ"), content_type).get_json()
    assert refused["events"][0]["pointer"] == "/subject"


@pytest.mark.parametrize(
    ("encoding", "press"), [("gzip", gzip.compress), ("zstd", zstandard.compress)]
)
def test_a_body_may_be_compressed(caller: Caller, encoding: str, press: Any) -> None:
    body = press(json.dumps([event(1)]).encode())
    assert caller.post(body, Content_Encoding=encoding).get_json()["accepted"] == 1
    bomb = press(b" " * (9 * 1024 * 1024))
    assert caller.post(bomb, Content_Encoding=encoding).status_code == 413
    assert caller.post(b"nonsense", Content_Encoding=encoding).status_code == 400
    assert caller.post(b"", Content_Encoding=encoding).status_code in {400, 413}


@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "lines-1"}])
def test_lines_are_judged_one_by_one_and_a_broken_body_leaves_nothing(
    caller: Caller, headers: dict[str, str]
) -> None:
    lines = [json.dumps(event(number)).encode() for number in (1, 2, 3)]
    lines[1] = b'{"id": "\xff"}'
    body = gzip.compress(b"\n".join(lines))
    ndjson = {"content_type": "application/x-ndjson", "Content_Encoding": "gzip"}
    assert caller.post(body[:-9], **ndjson).get_json()["type"] == "/problems/body-unreadable"
    said = caller.post(body, **ndjson, **headers).get_json()
    assert (said["received"], said["accepted"], said["duplicate"]) == (3, 2, 0)
    assert [(item["index"], item["code"]) for item in said["events"]] == [(1, "line-unreadable")]
    if headers:
        assert caller.post(body, **ndjson, **headers).get_json() == said


def sdk_attributes(**changed: Any) -> tuple[dict[str, Any], Any]:
    made = event(1)
    attributes = {name: made[name] for name in made if name != "data"} | changed
    return attributes, made["data"]


def sdk_messages() -> dict[str, tuple[Any, bytes]]:
    """Return headers and body of one event as the CloudEvents SDK writes it, in several ways."""
    attributes, data = sdk_attributes()
    moment = {"time": datetime.fromisoformat(attributes["time"])}
    bare = CloudEvent(attributes | moment, data)
    typed = CloudEvent(attributes | moment | {"datacontenttype": "application/json"}, data)
    old = ce_v1_http.CloudEvent(attributes, data)
    messages = {
        "structured": ce_http.to_structured_event(bare),
        "binary": ce_http.to_binary_event(typed),
        "binary, its data of no type": ce_http.to_binary_event(bare),
    }
    return {name: (message.headers, message.body) for name, message in messages.items()} | {
        "structured, version 1 of the SDK": ce_v1.to_structured(old),
        "binary, version 1 of the SDK": ce_v1.to_binary(old),
    }


@pytest.mark.parametrize("way", sdk_messages())
def test_the_cloudevents_sdk_posts_unchanged(caller: Caller, way: str) -> None:
    headers, body = sdk_messages()[way]
    answer = caller.client.post("/api/v1/events", data=body, headers={**caller.headers, **headers})
    assert answer.get_json()["accepted"] == 1
    assert caller.post(event(1), "application/json").get_json()["duplicate"] == 1


def test_minimal_is_204_only_when_all_were_accepted(caller: Caller) -> None:
    minimal = {"Prefer": "return=minimal"}
    assert caller.post([event(1)], **minimal).status_code == 204
    assert caller.post([event(1)], **minimal).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[", 400),
        (b"nonsense", 400),
        (b'[{"a": NaN}]', 400),
        (b"\xff\xfe", 400),
        (b'["\xff"]', 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b"{}", 400),
        (b"[1e999999999999999999999]", 400),
        (b"[" + b"1" * 10_000 + b"]", 400),
        (b"[" + b"null," * 10_000 + b"null]", 413),
        (b" " * (8 * 1024 * 1024 + 1), 413),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem(caller: Caller, body: bytes, status: int) -> None:
    answer = caller.post(body)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('"quantity": 1, "quantity": 1', "doubled-member"),
        ('"id": "x", "id": "y"', "doubled-member"),
        ('"data": {"studies": 1e400, "modality": "CT"}', "quantity-too-large"),
        ('"data": {"studies": 1e-400, "modality": "CT"}', "quantity-too-precise"),
        ('"data": {"studies": 1, "studies": 2}', "doubled-member"),
        ('"data": ' + '{"a":' * 40 + "1" + "}" * 40, "too-deep"),
        ('"data": []', "attribute-invalid"),
        ('"data": {"studies": "1\\u0000"}', "quantity-not-a-number"),
        ('"data": {"studies": "1", "modality": "\\u0000"}', "dimension-value-invalid"),
    ],
)
def test_one_strange_event_costs_no_other(caller: Caller, text: str, code: str) -> None:
    plain = json.dumps(event(2))
    members = {name: value for name, value in event(1).items() if f'"{name}"' not in text}
    strange = json.dumps(members)[:-1] + ", " + text + "}"
    said = caller.post(f"[{plain}, {strange}]".encode()).get_json()
    assert (said["accepted"], said["events"][0]["code"]) == (1, code)


def test_numbers_are_exact(caller: Caller) -> None:
    one = json.dumps(event(1)).replace('"2"', "0.1")
    two = json.dumps(event(2)).replace('"2"', "0.2")
    caller.post(f"[{one},{two}]".encode())
    jobs.roll_up(caller.database, now=NOW)
    said = caller.get("/api/v1/usage?month=2026-07&meter=studies-archived").get_json()
    assert said["totals"][0]["quantity"] == "0.3"


def test_other_media_types_and_encodings_are_415(caller: Caller) -> None:
    assert caller.post(b"a,b", "text/csv").status_code == 415
    assert caller.post(b"x", Content_Encoding="br").status_code == 415


def test_a_key_is_needed_and_named_by_nobody_elses_text(caller: Caller) -> None:
    caller.headers = {}
    assert caller.post([event(1)]).status_code == 401
    for wrong in ("Bearer nonsense", "Basic abc", f"Bearer pgk_aaaaaaaa_{'x' * 43}"):
        caller.headers = {"Authorization": wrong}
        answer = caller.post([event(1)])
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert caller.get("/api/v1/usage?month=2026-07").status_code == 401


def test_too_many_requests_are_told_when_to_come_back(database: Database) -> None:
    make.catalogue(database)
    caller = Caller(database, PAYGO_REQUESTS_PER_MINUTE="6", PAYGO_WEB_WORKERS="2")
    answers = [caller.post([event(number)]) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers.get("RateLimit-Remaining") for answer in answers[:3]] == ["2", "1", "0"]
    for refused in (answers[3], caller.get("/api/v1/sources/me/health")):
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) in range(1, 21)
        assert refused.headers.getlist("RateLimit-Limit") == ["6"]
        assert refused.headers.getlist("RateLimit-Remaining") == ["0"]
        assert int(refused.headers["RateLimit-Reset"]) in range(41, 61)


def test_an_idempotency_key_gives_the_same_answer_again(caller: Caller) -> None:
    key = {"Idempotency-Key": "try-1"}
    first = caller.post([event(1), event(2, subject="ZZZ")], **key)
    again = caller.post([event(1), event(2, subject="ZZZ")], **key)
    assert again.get_json() == first.get_json()
    assert again.get_json()["accepted"] == 1
    assert caller.post([event(3)], **key).status_code == 422


def post_some(caller: Caller) -> None:
    caller.post(
        [
            event(1, data={"studies": "1.5"}),
            event(2, data={"modality": "MR"}, time="2026-07-04T23:30:00+01:00"),
            event(3, subject="RA7", time="2026-06-30T23:30:00+01:00"),
            withdrawal(4, event(2)),
        ]
    )
    jobs.roll_up(caller.database, now=NOW)


def test_usage_is_listed_by_hour_day_and_month_with_totals(caller: Caller) -> None:
    post_some(caller)
    by_day = caller.get("/api/v1/usage?from=2026-06-01&to=2026-08-01&meter=studies-archived")
    said = by_day.get_json()
    assert [(row["start"], row["organisation"], row["quantity"]) for row in said["usage"]] == [
        ("2026-06-30T00:00:00+01:00", "RA7", "2"),
        ("2026-07-03T00:00:00+01:00", "RRK", "1.5"),
        ("2026-07-04T00:00:00+01:00", "RRK", "0"),
    ]
    assert said["totals"] == [
        {"meter": "studies-archived", "unit": "study", "quantity": "3.5", "events": 2}
    ]
    monthly = caller.get("/api/v1/usage?month=2026-07&by=month&organisation=RRK").get_json()
    assert {
        (row["meter"], row["dimensions"]["modality"], row["quantity"]) for row in monthly["usage"]
    } == {
        ("archive-requests", "CT", "1"),
        ("archive-requests", "MR", "0"),
        ("studies-archived", "CT", "1.5"),
        ("studies-archived", "MR", "0"),
    }
    hourly = caller.get(
        "/api/v1/usage?from=2026-07-03&to=2026-07-04&by=hour&dimension=modality:CT"
        "&meter=studies-archived"
    ).get_json()
    assert [(row["start"], row["quantity"]) for row in hourly["usage"]] == [
        ("2026-07-03T10:00:00+01:00", "1.5")
    ]


def test_a_meter_that_has_no_hours_is_not_passed_over(caller: Caller) -> None:
    make.level_meter(caller.database, "max")
    post_some(caller)
    path = "/api/v1/usage?from=2026-07-03&to=2026-07-04&by=hour"
    refused = caller.get(f"{path}&meter=studies-archived&meter=max-level")
    assert refused.get_json()["type"] == "/problems/usage-not-hourly"
    assert caller.get(path).status_code == 200, "of all, those that have hours are meant"


@pytest.mark.parametrize("by", ["hour", "day", "month"])
def test_pages_of_usage_add_up_to_the_whole(caller: Caller, by: str) -> None:
    post_some(caller)
    path = f"/api/v1/usage?from=2026-06-30&to=2026-07-05&by={by}"
    whole = caller.get(path).get_json()["usage"]
    pages: list[Any] = []
    following = ""
    for _ in range(20):
        said = caller.get(f"{path}&limit=2{following}").get_json()
        pages += said["usage"]
        if said["next"] is None:
            break
        following = f"&after={said['next']}"
    assert pages == whole
    assert len(whole) > 2


def test_usage_is_also_csv(caller: Caller) -> None:
    post_some(caller)
    for answer in (
        caller.get("/api/v1/usage?month=2026-06&format=csv"),
        caller.get("/api/v1/usage?month=2026-06", Accept="text/csv"),
    ):
        assert answer.content_type == "text/csv; charset=utf-8"
        assert answer.text.splitlines() == [
            "start,organisation,name,meter,unit,modality,quantity,events",
            "2026-06-30T00:00:00+01:00,RA7,RA7,archive-requests,study,CT,1,1",
            "2026-06-30T00:00:00+01:00,RA7,RA7,studies-archived,study,CT,2,1",
        ]


def test_a_cell_of_the_csv_is_never_a_formula_and_a_number_stays_one() -> None:
    cells = ["=1+1", "-1+1", "@x", "+x", "-2", "-2.5", "+4", "CT", "－1", 7]
    assert _line(cells) == "'=1+1,'-1+1,'@x,'+x,-2,-2.5,+4,CT,'－1,7\r\n"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("month=2026-13", 422),
        ("month=2026-07&from=2026-07-01", 422),
        ("from=2026-07-01", 422),
        ("from=2026-07-02&to=2026-07-01", 422),
        ("month=2026-07&by=week", 422),
        ("month=2026-07&by=hour", 422),
        ("month=2026-07&by=hour&format=csv", 422),
        ("month=2026-07&colour=red", 422),
        ("month=2026-07&dimension=CT", 422),
        ("month=2026-07&dimension=modality:CT&dimension=modality:MR", 422),
        ("from=9999-12-25&to=9999-12-31&by=hour", 422),
        ("month=2026-07&organisation=%00", 400),
        ("month=2026-07&dimension=modality:%00", 400),
        ("month=2026-07&after=WyIyMDI2LTA3LTAxIiwiXHUwMDAwIiwieCIsIjEiXQ", 400),  # a null character
        ("month=2026-07&meter=nothing", 404),
        ("month=2026-07&organisation=ZZZ", 404),
        ("month=2026-07&after=nonsense", 400),
        ("month=2026-07&limit=0", 422),
    ],
)
def test_a_question_that_makes_no_sense_is_explained(
    caller: Caller, query: str, status: int
) -> None:
    answer = caller.get(f"/api/v1/usage?{query}")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_a_source_reads_its_events_back_in_pages(caller: Caller) -> None:
    post_some(caller)
    path = "/api/v1/events?from=2026-06-01&to=2026-08-01&meter=studies-archived"
    whole = caller.get(path).get_json()["events"]
    assert [(row["id"], row["kind"], row["quantity"]) for row in whole][1:] == [
        (event(1)["id"], "usage", "1.5"),
        (event(2)["id"], "usage", "2"),
        (event(4)["id"], "withdrawal", "-2"),
    ]
    first = caller.get(f"{path}&limit=2").get_json()
    rest = caller.get(f"{path}&limit=2&after={first['next']}").get_json()
    assert first["events"] + rest["events"] == whole


def test_health_says_what_came_and_what_is_stuck(caller: Caller) -> None:
    caller.post([event(1), event(1), event(2, subject="ZZZ")])
    said = caller.get("/api/v1/sources/me/health").get_json()
    assert said["source"] == make.ARCHIVE
    assert said["last_24_hours"]["accepted"] == 1
    assert (said["waiting"], said["quarantined"]) == (1, {"subject-unknown": 1})
    assert said["last_accepted_at"] == said["last_received_at"] == NOW.isoformat()
    listed = caller.get("/api/v1/quarantine").get_json()
    assert [row["code"] for row in listed["events"]] == ["subject-unknown"]
    assert caller.get("/api/v1/quarantine?status=dismissed").get_json()["events"] == []


def test_health_says_how_far_the_readings_are_behind_and_when_the_last_event_came(
    caller: Caller,
) -> None:
    def said() -> tuple[Any, ...]:
        health = caller.get("/api/v1/sources/me/health").get_json()
        return tuple(
            health[name] for name in ("last_accepted_at", "last_received_at", "lag_seconds")
        )

    assert said() == (None, None, 0)
    caller.post([event(1)])
    caller.time = NOW + timedelta(seconds=90)
    caller.post([event(2)])
    caller.time += timedelta(seconds=5)
    caller.post([event(3, subject="ZZZ")])
    second, third = (NOW + timedelta(seconds=after) for after in (90, 95))
    assert said() == (second.isoformat(), third.isoformat(), 95)
    jobs.roll_up(caller.database, now=caller.time)
    assert said() == (second.isoformat(), third.isoformat(), 0)


def manifest(caller: Caller, **changed: Any) -> TestResponse:
    body = {"period": "2026-07", "meter": "studies-archived", "count": 1, "sum": "1.5", **changed}
    return caller.client.post("/api/v1/manifests", json=body, headers=caller.headers)


def test_a_manifest_says_what_is_missing(caller: Caller) -> None:
    post_some(caller)
    agreed = manifest(caller).get_json()
    assert (agreed["agrees"], agreed["received"]) == (True, {"count": 1, "sum": "1.5"})
    caller.post([event(9, data={"studies": "1"}), event(10, data={"modality": "XX"})])
    not_rolled_up = manifest(caller, count=3, sum="4.5").get_json()
    assert not_rolled_up["received"] == {"count": 2, "sum": "2.5"}
    assert not_rolled_up["missing"] == {"count": 1, "sum": "2"}
    assert not_rolled_up["rejected"] == 1
    listed = caller.get("/api/v1/manifests?month=2026-07").get_json()["manifests"]
    assert listed == [not_rolled_up], "the latest declaration counts"
    one = manifest(
        caller, organisation="RRK", source=make.ARCHIVE, count=2, sum=Decimal(2).__str__()
    )
    assert one.get_json()["missing"] == {"count": 0, "sum": "-0.5"}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"[" * 100_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"count": NaN}', "application/json", 400),
        (b'{"count": 1, "sum": 1e400}', "application/json", 400),
        (b'{"count": ' + b"1" * 5_000 + b"}", "application/json", 400),
        (b'{"count": 1, "count": 2}', "application/json", 400),
        (b'{"meter": "\\u0000"}', "application/json", 400),
        (b'{"meter": "\\ud800"}', "application/json", 400),
        (b"{}", "text/csv", 415),
        (b" " * (1024 * 1024 + 1), "application/json", 413),
        (b"", "application/json", 422),
    ],
)
def test_a_manifest_that_cannot_be_read_is_a_problem(
    caller: Caller, body: bytes, content_type: str, status: int
) -> None:
    answer = caller.client.post(
        "/api/v1/manifests", data=body, headers={**caller.headers, "Content-Type": content_type}
    )
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_a_manifest_of_a_maximum_is_held_against_the_months_maximum(caller: Caller) -> None:
    make.level_meter(caller.database, "max")

    def post(number: int, level: str) -> None:
        sent = event(number, type="max-level") | {"data": {"level": level}}
        assert caller.post([sent]).get_json()["accepted"] == 1

    def received() -> Any:
        return manifest(caller, meter="max-level", count=3, sum="9").get_json()["received"]

    post(1, "4"), post(2, "9")
    jobs.roll_up(caller.database, now=NOW)
    post(3, "7")
    assert received() == {"count": 2, "sum": "9"}, "levels are not added up"
    jobs.roll_up(caller.database, now=NOW)
    assert received() == {"count": 3, "sum": "9"}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"meter": "nothing"}, 404),
        ({"organisation": "ZZZ"}, 404),
        ({"source": "image-exchange"}, 403),
        ({"count": -1}, 422),
        ({"count": 1.5}, 422),
        ({"sum": "many"}, 422),
        ({"sum": 1.5}, 422),
        ({"period": "July"}, 422),
        ({"colour": "red"}, 422),
    ],
)
def test_a_manifest_that_makes_no_sense_is_explained(
    caller: Caller, changed: dict[str, Any], status: int
) -> None:
    assert manifest(caller, **changed).status_code == status


def test_the_description_is_served_without_anything_from_elsewhere(caller: Caller) -> None:
    document = caller.get("/api/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    assert {"/api/v1/events", "/api/v1/usage", "/api/v1/manifests"} <= set(document["paths"])
    assert {"get", "post"} <= set(document["paths"]["/api/v1/events"])
    posted = document["paths"]["/api/v1/events"]["post"]
    assert {"Retry-After", "RateLimit-Remaining"} <= set(posted["responses"]["429"]["headers"])
    for media_type, said in posted["requestBody"]["content"].items():
        assert {"example", "examples"} & set(said), media_type
    lines = posted["requestBody"]["content"]["application/x-ndjson"]["example"]
    assert caller.post(lines.encode(), "application/x-ndjson").get_json()["accepted"] == 2
    page = caller.get("/api/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("https://paygo", "")
    for name in ("vendor/swagger-ui/swagger-ui-bundle.js", "docs.js"):
        assert caller.get(f"/api/docs/{name}").status_code == 200
    assert caller.get("/api/docs/../app.py").status_code == 404


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["1.0", "RRK", make.ARCHIVE, "study.archived", "9434765919"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_names = st.sampled_from([*event(1), "replaces", "withdraws", "datacontenttype", "colour"])


@pytest.fixture(scope="module")
def module_caller(server_url: str, template_name: str) -> Any:
    from tests import databases  # noqa: PLC0415 - a database for many examples

    with databases.cloned_database(server_url, template_name) as url:
        database = Database(url)
        make.catalogue(database)
        yield Caller(database, PAYGO_REQUESTS_PER_MINUTE="0")
        database.dispose()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.dictionaries(_names, _values, max_size=3), min_size=1, max_size=3),
    data=st.dictionaries(st.sampled_from(["studies", "modality", "x", "event", "reason"]), _values),
    withdraws=st.booleans(),
)
def test_whatever_an_envelope_holds_it_is_never_our_fault(
    module_caller: Caller, changes: list[dict[str, Any]], data: dict[str, Any], withdraws: bool
) -> None:
    made = withdrawal if withdraws else None
    events = [
        {**(made(number, event(1)) if made else event(number, data=data)), **changed}
        for number, changed in enumerate(changes)
    ]
    answer = module_caller.post(events)
    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 200:
        said = answer.get_json()
        assert said["received"] == len(events)
        assert said["accepted"] + len(said["events"]) == len(events)


_header = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12
) | st.sampled_from(["1.0", "RRK", make.ARCHIVE, "study.archived", "%00", "%ED%A0%80", "%FF"])


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changed=st.dictionaries(
        st.sampled_from([*event(1), "replaces", "withdraws", "traceparent", "datacontenttype"])
        | st.text("abc-", max_size=4),
        _header,
        max_size=4,
    ),
    body=st.binary(max_size=20) | st.sampled_from([b'{"studies": "2"}', b'{"event": "x"}', b"[]"]),
    content_type=st.sampled_from(["application/json", "application/x+json", "", "text/plain"]),
)
def test_whatever_headers_hold_it_is_never_our_fault(
    module_caller: Caller, changed: dict[str, str], body: bytes, content_type: str
) -> None:
    attributes = {name: value for name, value in event(1).items() if name != "data"} | changed
    answer = module_caller.client.post(
        "/api/v1/events",
        data=body,
        content_type=content_type,
        headers=module_caller.headers,
        # As a server gives them: the bytes of a header as Latin-1.
        environ_overrides={
            f"HTTP_CE_{name.upper().replace('-', '_')}": value for name, value in attributes.items()
        },
    )
    assert answer.status_code in {200, 400, 415}, answer.text


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_a_body_holds_it_is_never_our_fault(module_caller: Caller, body: bytes) -> None:
    for content_type in (BATCH, "application/x-ndjson", "application/json"):
        assert module_caller.post(body, content_type).status_code in {200, 204, 400}
