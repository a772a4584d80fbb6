"""The gate in front of Flask answers as Flask would."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from metering.events import streaming, views
from metering.kit.db import Database
from metering.kit.guards import guard_of
from metering.kit.logs import LogForm, configure_logs, get_logger, log_answered
from tests import web
from tests.metering import make
from tests.metering.make import NOW, event

PATH = "/api/v1/events"


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Flask:
    make.catalogue(database)
    return web.make_app(database, tmp_path, web.Clock(NOW), PAYGO_PUBLIC_URL="https://paygo.test")


@pytest.fixture
def client(app: Flask, database: Database) -> FlaskClient:
    made = app.test_client()
    made.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {make.key(database)}"
    return made


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where log lines go; logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def without_flask(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> NoReturn:
        raise AssertionError("Flask was asked")

    monkeypatch.setattr(app, "full_dispatch_request", never)


def test_flask_is_not_asked(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_flask(app, monkeypatch)
    assert client.post(PATH, json=[event(1)]).get_json()["accepted"] == 1
    assert client.post(PATH, data=b"nonsense").status_code == 415
    with pytest.raises(AssertionError, match="Flask was asked"):
        client.get(PATH)


def test_the_answers_headers_are_those_of_every_other_route(client: FlaskClient) -> None:
    gate, flask = client.post(PATH, json=[event(1)]), client.get("/api/v1/sources/me/health")
    assert (gate.status_code, flask.status_code) == (200, 200)
    own = {"X-Request-Id", "Content-Length", "RateLimit-Remaining", "RateLimit-Reset", "Date"}
    assert {name: value for name, value in gate.headers if name not in own} == {
        name: value for name, value in flask.headers if name not in own | {"Vary"}
    }
    assert "Strict-Transport-Security" in gate.headers


@pytest.mark.parametrize("offered", ["trust-portal-42", "semi;colon;here"])
def test_a_problem_is_the_document_that_flask_would_give(client: FlaskClient, offered: str) -> None:
    headers = {"Authorization": "Bearer wrong", "X-Request-Id": offered}
    gate = client.post(PATH, json=[], headers=headers)
    flask = client.get("/api/v1/sources/me/health", headers=headers)
    assert gate.status_code == flask.status_code == 401
    assert gate.headers["WWW-Authenticate"] == flask.headers["WWW-Authenticate"]
    assert gate.content_type == flask.content_type == "application/problem+json"
    said, expected = gate.get_json(), flask.get_json()
    assert said.keys() == expected.keys()
    for own in ("instance", "request_id"):
        said.pop(own), expected.pop(own)
    assert said == expected
    assert (gate.headers["X-Request-Id"] == offered) == (";" not in offered)


def test_a_fault_gives_a_reference_and_no_detail(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    def broken(*_: Any, **__: Any) -> NoReturn:
        raise ValueError("the inside of the machine")

    monkeypatch.setattr(app.extensions[views.INGEST], "accept", broken)
    with pytest.raises(ValueError, match="inside"):
        client.post(PATH, json=[event(1)])
    app.testing = False
    configure_logs(form="json", stream=log)
    answer = client.post(PATH, json=[event(1)])
    assert answer.status_code == 500
    assert answer.get_json()["reference"] == answer.headers["X-Request-Id"]
    assert "inside" not in answer.text
    fault, line = (json.loads(line) for line in log.getvalue().splitlines())
    assert "the inside of the machine" in fault["exception"]
    assert fault["request_id"] == line["request_id"] == answer.headers["X-Request-Id"]


def test_a_database_that_is_gone_is_503_with_a_time_to_come_back(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> NoReturn:
        raise OperationalError("", None, Exception("connection refused"))

    monkeypatch.setattr(app.extensions[views.INGEST], "accept", gone)
    answer = client.post(PATH, json=[event(1)])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["type"] == "/problems/unavailable"


@pytest.mark.parametrize(
    ("length", "status"), [("7", 400), ("1e3", 400), ("-1", 400), (str(9 << 20), 413), ("0", 400)]
)
def test_a_length_that_is_not_the_bodys_is_refused(
    client: FlaskClient, length: str, status: int
) -> None:
    answer = client.post(
        PATH,
        input_stream=io.BytesIO(b"[]"),
        environ_overrides={"CONTENT_LENGTH": length},
        content_type="application/json",
    )
    assert answer.status_code == status


def test_a_body_in_chunks_is_read_to_its_end(client: FlaskClient) -> None:
    def post(body: bytes, *, ended: bool) -> int:
        return client.post(
            PATH,
            input_stream=io.BytesIO(body),
            environ_overrides={"CONTENT_LENGTH": "", "wsgi.input_terminated": ended},
            content_type="application/json",
        ).status_code

    body = json.dumps([event(1)]).encode()
    assert post(body, ended=True) == 200
    assert post(body, ended=False) == 400, "without an end, a body without a length is empty"
    assert post(b" " * ((8 << 20) + 1), ended=True) == 413


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "lines-1"}])
def test_lines_are_decoded_while_they_come_with_an_idempotency_key_too(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    class Coming(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            told.append("read")
            return super().read(size)

    def noting(line: bytes) -> Any:
        told.append("line")
        return read_line(line)

    def post(*numbers: int) -> Any:
        lines = b"".join(json.dumps(event(number)).encode() + b"\n" for number in numbers)
        monkeypatch.setattr(streaming, "_PIECE", len(lines) // len(numbers))
        return client.post(
            PATH,
            input_stream=Coming(lines),
            environ_overrides={"CONTENT_LENGTH": str(len(lines))},
            content_type="application/x-ndjson",
            headers=headers,
        )

    told: list[str] = []
    read_line = streaming.read_line
    monkeypatch.setattr(streaming, "read_line", noting)
    first = post(1, 2, 3)
    assert first.get_json()["accepted"] == 3
    assert told == ["read", "line"] * 3
    again = post(1, 2, 3).get_json()
    assert again["duplicate"] == (0 if headers else 3)
    if headers:
        assert again == first.get_json()
        other = post(1, 2, 4)
        assert other.get_json()["type"] == "/problems/idempotency-key-reused"


def test_the_route_that_flask_knows_has_the_same_guard_and_answer(
    app: Flask, client: FlaskClient
) -> None:
    guard = guard_of(app, "ingest.post_events", "POST")
    assert guard is not None
    assert guard.name == "key(events:write)"
    with app.test_request_context(PATH, method="POST", json=[event(1)]):
        assert app.full_dispatch_request().status_code == 401
    bearer = client.environ_base["HTTP_AUTHORIZATION"]
    with app.test_request_context(
        PATH, method="POST", json=[event(1)], headers={"Authorization": bearer}
    ):
        assert app.full_dispatch_request().get_json()["accepted"] == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_short_way_to_the_log_writes_the_same_line(form: LogForm, log: io.StringIO) -> None:
    configure_logs(form=form, stream=log)
    said: dict[str, Any] = {"method": "POST", "path": PATH, "status": 204, "milliseconds": 3}
    get_logger("gate").info("request", **said, request_id="trust-portal-42")
    log_answered("gate", **said, request_id="trust-portal-42")
    log_answered("gate", **said, request_id="sk_live_abcdefgh")
    at = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"

    long, short, hidden = (re.sub(at, "AT", line) for line in log.getvalue().splitlines())
    assert "AT" in short
    assert short == long
    assert "abcdefgh" not in hidden
