"""The spans of one process, and where they go: a file, or a collector by OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import requests
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.log.codec import TRACE_ID_BYTES

EXPORT_EVERY_MS = 1_000
SPAN_ID_BYTES = 8

Attributes = Mapping[str, str | int]


class Tracer:
    """Starts spans; `traces` is a file that they are appended to, or the URL of a collector.

    OpenTelemetry's own variables apply to the rest: which traces are sampled, headers, resources.
    """

    def __init__(self, traces: str, process: str) -> None:
        resource = Resource.create({"service.name": f"starfold-{process}"})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(
            BatchSpanProcessor(_exporter(traces), schedule_delay_millis=EXPORT_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("starfold")

    def close(self) -> None:
        """Export the last spans."""
        self._provider.shutdown()

    @contextmanager
    def request(self, method: str, route: str, traceparent: bytes | None) -> Iterator[None]:
        """Answer a request in a span of its own, a child of the caller's `traceparent`.

        Log lines carry the trace's id meanwhile.
        """
        named = {"http.request.method": method, "http.route": route}
        context = Context()
        if traceparent is not None:
            carrier = {"traceparent": traceparent.decode("latin-1")}
            context = TraceContextTextMapPropagator().extract(carrier, context)
        with (
            self._tracer.start_as_current_span(
                f"{method} {route}", context, SpanKind.SERVER, named
            ) as span,
            structlog.contextvars.bound_contextvars(trace_id=trace_id_of(span)),
        ):
            yield

    def describe_answer(self, status: int, request_id: UUID, at_least: bytes | None) -> None:
        """Describe the current request's answer, once it is sent; a client may leave before."""
        span = get_current_span()
        span.set_attributes(
            {"http.response.status_code": status, "starfold.request_id": str(request_id)}
        )
        if at_least is not None:
            span.set_attribute("starfold.at_least", at_least.decode("latin-1"))

    def start(self, name: str) -> Span:
        """Start a span within the current one; the caller ends it."""
        return self._tracer.start_span(name)

    def record(
        self, name: str, *, parent: bytes, started_at_ns: int, attributes: Attributes
    ) -> None:
        """Record a span that ends now, as a child of a stored one."""
        span = self._tracer.start_span(
            name, _stored(parent), SpanKind.CONSUMER, attributes, start_time=started_at_ns
        )
        span.end()


def trace_id_of(span: Span) -> str:
    return format_trace_id(span.get_span_context().trace_id)


def stored_form(span: Span) -> bytes | None:
    """Return the ids of a span's trace and of the span, as events store them.

    None for a span that is not recorded: all others have the same version and flags.
    """
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    ids = ((context.trace_id, TRACE_ID_BYTES), (context.span_id, SPAN_ID_BYTES))
    return b"".join(number.to_bytes(size, "big") for number, size in ids)


def _stored(form: bytes) -> Context:
    context = SpanContext(
        trace_id=int.from_bytes(form[:TRACE_ID_BYTES], "big"),
        span_id=int.from_bytes(form[TRACE_ID_BYTES:], "big"),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


def _exporter(traces: str) -> SpanExporter:
    if traces.startswith(("http://", "https://")):
        session = requests.Session()
        # The variables of proxies are ignored, as for every other connection.
        session.trust_env = False
        return OTLPSpanExporter(endpoint=traces, session=session)
    # A line is one write, so that several processes may share the file.
    out = Path(traces).open("a", buffering=1)  # noqa: SIM115  # Open until the process ends.
    return ConsoleSpanExporter(out=out, formatter=_line)


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
