"""Traces: what a span says and does not say, off by default, and sent to a real receiver."""

import io
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from billing.access.model import Grant, Role
from metering.kit import traces
from metering.kit.config import Settings
from metering.kit.db import Database
from metering.kit.jobruns import Job, run_job
from metering.kit.logs import configure_logs
from metering.kit.traces import REQUEST_ID, STATEMENTS
from metering.kit.traces_otlp import Otlp
from tests import web

ON = Settings.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    """What is traced meanwhile."""
    exporter = InMemorySpanExporter()
    assert traces.start(
        ON,
        service="paygo test",
        make=lambda _endpoint, service: Otlp(service, SimpleSpanProcessor(exporter)),
    )
    yield exporter
    traces.stop()


def facts(span: ReadableSpan) -> Mapping[str, object]:
    assert span.attributes is not None
    return span.attributes


def test_nothing_is_traced_unless_it_is_asked_for(database: Database, tmp_path: Path) -> None:
    assert not traces.start(Settings.from_environment({}), service="paygo test")
    app = web.make_app(database, tmp_path, web.Clock())
    assert traces.traced(app.wsgi_app) is app.wsgi_app
    assert traces.log_context() == {}
    with traces.span("job nothing") as span:
        assert span is None


def test_a_request_is_a_span_without_what_was_said(
    database: Database, tmp_path: Path, kept: InMemorySpanExporter
) -> None:
    app = web.make_app(database, tmp_path, web.Clock())
    app.wsgi_app = traces.traced(app.wsgi_app)  # type: ignore[method-assign]  # as `run_web` does
    browser = web.signed_in(app, [Grant(Role.ANALYST)])
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(level="info", form="json", stream=stream)
    answer = browser.get(
        "/console/accounts?search=secret-word",
        headers={"X-Request-Id": "request-of-the-test", "traceparent": PARENT},
    )
    root.handlers[:], root.level = handlers, level
    assert answer.status_code == 200
    (span,) = kept.get_finished_spans()
    assert span.name == "GET /console/accounts"
    said = facts(span)
    assert said["http.response.status_code"] == 200
    assert said["http.route"] == "/console/accounts"
    assert said[REQUEST_ID] == "request-of-the-test"
    statements = said[STATEMENTS]
    assert isinstance(statements, int)
    assert statements >= 3
    written = span.to_json()
    for secret in ("secret-word", "SELECT", "ada@example", "paygo_session"):
        assert secret not in written
    # The caller's trace goes on, and the log's line has it.
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == "ab" * 16
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines() if "/accounts" in text]
    assert line["trace_id"] == "ab" * 16
    assert line["request_id"] == "request-of-the-test"


def test_an_id_in_an_address_does_not_name_a_span_and_events_are_traced(
    database: Database, tmp_path: Path, kept: InMemorySpanExporter
) -> None:
    app = web.make_app(database, tmp_path, web.Clock())
    app.wsgi_app = traces.traced(app.wsgi_app)  # type: ignore[method-assign]  # as `run_web` does
    web.signed_in(app, [Grant(Role.ANALYST)]).get("/console/accounts/acc_1")
    app.test_client().post("/api/v1/events", json=[])
    names = [span.name for span in kept.get_finished_spans()]
    assert names == ["GET /console/accounts/<account_id>", "POST /api/v1/events"]


def test_a_job_is_a_span_also_when_it_fails(database: Database, kept: InMemorySpanExporter) -> None:
    def work(_database: Database, **_: object) -> dict[str, int]:
        raise RuntimeError("with a secret-word in it")

    job = Job("fail-always", "Fails.", work, every=timedelta(hours=1))
    run_job(database, job, clock=web.Clock(), started_by="test")
    (span,) = kept.get_finished_spans()
    assert span.name == "job fail-always"
    assert facts(span)["error.type"] == "RuntimeError"
    assert "secret-word" not in span.to_json()
    assert not span.status.is_ok


def test_spans_arrive_at_a_collector() -> None:
    arrived: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            arrived.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    settings = Settings.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    try:
        assert traces.start(settings, service="paygo test")
        with traces.span("job of-the-test"):
            pass
    finally:
        traces.stop()
        server.shutdown()
        thread.join()
        server.server_close()
    (request,) = arrived
    (resource,) = request.resource_spans
    assert {one.key: one.value.string_value for one in resource.resource.attributes}[
        "service.name"
    ] == "paygo test"
    (span,) = resource.scope_spans[0].spans
    assert span.name == "job of-the-test"


def test_whoever_asks_for_traces_without_the_extra_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_name: str) -> None:
        raise ImportError("no module")

    monkeypatch.setattr(traces.importlib, "import_module", missing)
    with pytest.raises(traces.TracesMissing, match="extra 'traces'"):
        traces.start(ON, service="paygo test")
