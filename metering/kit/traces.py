"""Traces, when they are asked for: a span for each request and each run of a job.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set; then nothing of OpenTelemetry is imported, and
what stands here does nothing. A span says what a line of the log says, how many statements were
sent to the database, and the request id that the log has; never a statement, a parameter, a
query string or who asked.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Engine, event

from metering.kit.config import Settings
from metering.kit.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "paygo.request_id"
STATEMENTS = "paygo.database.statements"


class TracesMissing(Unavailable):
    """Traces are asked for, and the extra `traces` is not installed."""

    code = "traces-missing"
    title = "OpenTelemetry is not installed"


class Span(Protocol):
    """What is noted of a request or a job while it goes on."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Note a fact."""

    def update_name(self, name: str) -> None:
        """Give it another name."""


class Tracing(Protocol):
    """How spans are made and sent; `metering.kit.traces_otlp` has the one that there is."""

    def span(self, name: str, *, parent: str | None, server: bool) -> Any:
        """Return a context manager that yields a `Span`."""

    def trace_id(self) -> str:
        """Return the id of the trace in hand, 32 hexadecimal digits."""

    def stop(self) -> None:
        """Send what waits, and end."""


class _Count:
    def __init__(self) -> None:
        self.statements = 0


_tracing: Tracing | None = None
_counted: ContextVar[_Count | None] = ContextVar("paygo_counted", default=None)


def start(
    settings: Settings, *, service: str, make: Callable[[str, str], Tracing] | None = None
) -> bool:
    """Begin to trace this process where the settings ask for it; call it after a fork.

    Args:
        service: what the process is called in traces, for example `paygo web`.
        make: makes the tracing from endpoint and service; tests give their own.

    Returns:
        Whether it is traced.

    Raises:
        TracesMissing: OpenTelemetry is not installed.
    """
    global _tracing
    if settings.traces_endpoint is None:
        return False
    if make is None:
        try:
            make = importlib.import_module("metering.kit.traces_otlp").make
        except ImportError as error:
            raise TracesMissing(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set; install paygo with the extra 'traces'."
            ) from error
    assert make is not None
    _tracing = make(settings.traces_endpoint, service)
    event.listen(Engine, "before_cursor_execute", _note_statement)
    return True


def stop() -> None:
    """Send what waits, and trace no more."""
    global _tracing
    if _tracing is not None:
        event.remove(Engine, "before_cursor_execute", _note_statement)
        _tracing.stop()
        _tracing = None


def _note_statement(*_: Any) -> None:
    counted = _counted.get()
    if counted is not None:
        counted.statements += 1


@contextmanager
def span(name: str, *, parent: str | None = None, server: bool = False) -> Iterator[Span | None]:
    """Trace what is done meanwhile; yields None where nothing is traced.

    Args:
        parent: the caller's `traceparent` header.
        server: whether it answers somebody else.
    """
    if _tracing is None:
        yield None
        return
    with _tracing.span(name, parent=parent, server=server) as made:
        counted = _Count()
        before = _counted.set(counted)
        try:
            yield made
        finally:
            _counted.reset(before)
            made.set_attribute(STATEMENTS, counted.statements)


def log_context() -> dict[str, str]:
    """Return what ties a line of the log to the trace in hand; nothing where there is none."""
    if _tracing is None or _counted.get() is None:
        return {}
    return {"trace_id": _tracing.trace_id()}


_named: ContextVar[Span | None] = ContextVar("paygo_span", default=None)


def name_request(rule: str | None, method: str) -> None:
    """Name the request in hand by its route, whose address may hold an id."""
    made = _named.get()
    if made is not None and rule is not None:
        made.update_name(f"{method} {rule}")
        made.set_attribute("http.route", rule)


def traced(app: "WSGIApplication") -> "WSGIApplication":
    """Return an application each of whose requests is traced; itself where nothing is."""
    if _tracing is None:
        return app

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        parent = environ.get("HTTP_TRACEPARENT")
        with span(f"{method} {path}", parent=parent, server=True) as made:
            assert made is not None
            made.set_attribute("http.request.method", method)
            made.set_attribute("url.path", path)

            def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                made.set_attribute("http.response.status_code", int(status.split(" ")[0]))
                for name, value in headers:
                    if name.lower() == "x-request-id":
                        made.set_attribute(REQUEST_ID, value)
                return start_response(status, headers, *more)

            before = _named.set(made)
            try:
                return app(environ, begin)
            finally:
                _named.reset(before)

    return answer
