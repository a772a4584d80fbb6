"""Every response has its id, its headers and one line in the log."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from flask import Flask, request
from flask.testing import FlaskClient

from metering.kit.logs import configure_logs, get_logger
from metering.kit.web import csp_nonce, install_web


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Capture the log as JSON lines, and put logging back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logs(form="json", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def app_with(*, secure: bool = False, **options: object) -> FlaskClient:
    app = Flask(__name__)
    install_web(app, secure=secure, **options)  # type: ignore[arg-type]  # passed through

    @app.get("/")
    def home() -> str:
        get_logger("test").info("inside", api_key="k-1234567890", note="Bearer abcdef123456")
        return "home"

    @app.get("/script")
    def script() -> str:
        return csp_nonce()

    return app.test_client()


def test_a_sane_request_id_is_kept_and_another_is_replaced() -> None:
    client = app_with()
    kept = client.get("/", headers={"X-Request-Id": "trust-portal-42"})
    assert kept.headers["X-Request-Id"] == "trust-portal-42"
    for insane in ("short", "with space in it", "x" * 200, "semi;colon;here"):
        made = client.get("/", headers={"X-Request-Id": insane}).headers["X-Request-Id"]
        assert made != insane
        assert len(made) == 36


def test_the_headers_of_every_response_close_what_is_not_needed() -> None:
    headers = app_with().get("/").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "nonce" not in policy
    assert "Strict-Transport-Security" not in headers


def test_a_nonce_appears_only_where_a_page_asked_for_one_and_never_twice() -> None:
    client = app_with()
    first, second = client.get("/script"), client.get("/script")
    assert f"'nonce-{first.text}'" in first.headers["Content-Security-Policy"]
    assert first.text != second.text


def test_https_is_remembered_and_forms_may_lead_to_the_payment_page() -> None:
    client = app_with(secure=True, form_targets=["https://checkout.example"])
    headers = client.get("/").headers
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "form-action 'self' https://checkout.example" in headers["Content-Security-Policy"]


def test_a_trusted_proxy_tells_the_address(lines: io.StringIO) -> None:
    client = app_with(proxies=1)
    client.application.add_url_rule("/where", "where", lambda: request.url_root)
    told = client.get(
        "/where", headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "p.test"}
    )
    assert told.text == "https://p.test/"


def test_each_line_of_a_request_carries_its_id_and_no_secret(lines: io.StringIO) -> None:
    app_with().get(
        "/", headers={"X-Request-Id": "trust-portal-42", "Authorization": "Bearer s3cr3t"}
    )
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["event"] for line in written] == ["inside", "request"]
    assert {line["request_id"] for line in written} == {"trust-portal-42"}
    assert written[0]["api_key"] == "[hidden]"
    assert written[0]["note"] == "Bearer [hidden]"
    assert written[1]["status"] == 200
    assert "s3cr3t" not in lines.getvalue()


def test_library_lines_and_tracebacks_lose_their_secrets_too(lines: io.StringIO) -> None:
    try:
        raise RuntimeError("postgres://paygo:hunter22@db/paygo refused")
    except RuntimeError:
        logging.getLogger("some.library").exception("failed with %s", "sk_live_abcdefghij")
    line = json.loads(lines.getvalue())
    assert line["logger"] == "some.library"
    assert "hunter22" not in line["exception"]
    assert "abcdefghij" not in line["event"]


def test_text_lines_are_for_people(lines: io.StringIO) -> None:
    stream = io.StringIO()
    configure_logs(form="text", stream=stream)
    get_logger("test").info("usage accepted", accepted=12)
    assert "usage accepted" in stream.getvalue()
    assert "accepted=12" in stream.getvalue()
