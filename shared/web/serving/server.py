"""Serve an application with uvicorn, in one process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from shared.errors import Misconfigured
from shared.process.descriptors import raise_descriptors
from shared.process.gc_tuning import tune_collector
from shared.process.settings import ListeningSettings
from shared.web.serving.protocol import GatheringProtocol

# For the requests that have arrived when the server stops.
ANSWERED_WITHIN_S = 10
# Uvicorn replaces a worker that does not answer its parent for this long. A worker that starts
# beside others on few cores may be silent for more than uvicorn's 5 seconds.
WORKER_SILENT_MAX_S = 30


def serve(app: Any, settings: ListeningSettings, *, port: int, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT, answer the received requests, and return.

    Several workers are processes that share the socket, each with its own event loop; a dead one is
    replaced. `app` is then the name of the application's factory. Raises `Misconfigured` if the
    host and port cannot be used.
    """
    tune_collector()
    _require_free(settings.host, port)
    uvicorn.run(
        app,
        factory=isinstance(app, str),
        workers=workers,
        host=settings.host,
        port=port,
        http=GatheringProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=ANSWERED_WITHIN_S,
        timeout_worker_healthcheck=WORKER_SILENT_MAX_S,
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # uvicorn passes it to `call_later`.
        limit_concurrency=raise_descriptors().connections_max,
    )


def stop_with_parent() -> None:
    """In a worker, stop as for SIGTERM once the parent process is gone, for any reason.

    A worker that stayed behind would compete with the workers of the next start. In a process that
    was not started as a worker this does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent.join,), daemon=True).start()


def _stop_after(wait: Callable[[], object]) -> None:
    wait()
    os.kill(os.getpid(), signal.SIGTERM)


def _require_free(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise Misconfigured(
            f"STARFOLD_HOST and STARFOLD_PORT: nothing can listen on port {port} there:"
            f" {error.strerror}"
        ) from error
