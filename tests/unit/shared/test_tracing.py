"""Traces cost nothing while they are off, and reach a collector directly."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from shared.errors import Misconfigured
from shared.process.settings import TracedSettings
from shared.tracing import tracer_of
from shared.tracing.tracer import Tracer, stored_form

APPLICATIONS = "command_api.app", "query_api.app", "projector.worker"


class Collector(HTTPServer):
    """Takes what is sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.taken: list[tuple[str, bytes]] = []


class _Take(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # The library's name.
        """Write nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_process_without_traces_loads_neither_spans_nor_exporters() -> None:
    """FastAPI and redis-py load other parts of OpenTelemetry wherever it is installed."""
    program = f"""
import sys, {", ".join(APPLICATIONS)}
LOADED = "opentelemetry.sdk.trace", "opentelemetry.exporter", "shared.tracing.tracer"
from shared.process.settings import TracedSettings
from shared.tracing import tracer_of
from shared.tracing.service import service_of
from command_api.commit.traced_command import command_of
tracer = tracer_of(TracedSettings(), process="any")
print(service_of(tracer).__name__, command_of(tracer).__name__)
print(*[name for name in sys.modules if name.startswith(LOADED)])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={})
    assert ran.stdout == "Service PendingCommand\n\n", ran.stderr


def test_traces_without_the_extra_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shared.tracing.tracer")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(Misconfigured, match="STARFOLD_TRACES needs the extra `tracing`"):
        tracer_of(TracedSettings(traces="http://127.0.0.1:4318/v1/traces"), process="any")


def test_a_collector_gets_the_spans_without_a_proxy(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    tracer = Tracer(f"http://127.0.0.1:{collector.server_port}/v1/traces", "any")
    with tracer.request("GET", "/v1/movies", None):
        inner = tracer.start("inner")
        inner.end()
    stored = stored_form(inner)
    assert stored is not None
    tracer.record("applied", parent=stored, started_at_ns=1, attributes={"starfold.events": 2})
    tracer.close()
    ((path, body),) = collector.taken
    assert path == "/v1/traces"
    for text in (
        b"starfold-any",
        b"GET /v1/movies",
        b"inner",
        b"applied",
        stored[:16],
        stored[16:],
    ):
        assert text in body


@pytest.mark.parametrize(
    "header",
    [b"", b"00-", b"\xff", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"ff" * 400],
)
def test_a_malformed_traceparent_begins_a_new_trace(header: bytes, collector: Collector) -> None:
    tracer = Tracer(f"http://127.0.0.1:{collector.server_port}/v1/traces", "any")
    with tracer.request("GET", "/v1/movies", header):
        assert stored_form(tracer.start("inner")) is not None
    tracer.close()
