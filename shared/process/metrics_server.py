"""Serve metrics to Prometheus on a port of their own, for processes that serve no HTTP."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from shared.errors import Misconfigured

log = structlog.get_logger()


class MetricsServer:
    """Serves the given metrics, and the metrics of the process, on a thread of its own.

    Raises `Misconfigured`, naming the `setting` of the port, if it cannot listen there.
    """

    def __init__(
        self, collectors: Iterable[Collector], *, host: str, port: int, setting: str
    ) -> None:
        registry = CollectorRegistry()
        for one in collectors:
            registry.register(one)
        ProcessCollector(registry=registry)
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise Misconfigured(
                f"{setting}: cannot listen on port {port} of {host}: {error.strerror}"
            ) from None
        log.info("metrics_served", host=host, port=port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
