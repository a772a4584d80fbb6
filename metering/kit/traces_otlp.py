"""Traces by OpenTelemetry, sent to a collector by OTLP over HTTP.

Imported only where traces are asked for; see `metering.kit.traces`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_DELAY_MS = 1_000
_propagator = TraceContextTextMapPropagator()


class Otlp:
    """Makes spans and hands them to a processor."""

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("paygo")

    @contextmanager
    def span(self, name: str, *, parent: str | None, server: bool) -> Iterator[Span]:
        """Trace what is done meanwhile; an exception marks it, by its kind and not its words."""
        context = _propagator.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=SpanKind.SERVER if server else SpanKind.INTERNAL,
            # A message may quote what was sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            try:
                yield made
            except BaseException as error:
                made.set_status(Status(StatusCode.ERROR))
                made.set_attribute("error.type", type(error).__name__)
                raise

    def trace_id(self) -> str:
        """Return the id of the trace in hand."""
        return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)

    def stop(self) -> None:
        """Send what waits, and end."""
        self._provider.shutdown()


def make(endpoint: str, service: str) -> Otlp:
    """Return tracing that sends to a collector, from a thread of its own.

    `OTEL_EXPORTER_OTLP_HEADERS`, its certificates and time-outs are read by the exporter.
    """
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    return Otlp(service, BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MS))
