"""Serving an application with uvicorn, as both APIs do.

uvicorn hands an answer's head and its body to the transport one by one, and uvloop writes each at
once: two calls to the system, and a client that is woken twice. Here what an answer writes in one
turn of the event loop goes out in one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.collector import tune_collector
from shared.settings import HttpSettings

DRAIN_FOR_S = 10


def serve(app: Any, settings: HttpSettings, *, port: int) -> None:
    """Serve until SIGTERM or SIGINT, answer what has come, and return."""
    tune_collector()
    uvicorn.run(
        app,
        host=settings.host,
        port=port,
        http=GatheringProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=DRAIN_FOR_S,
    )


class GatheringProtocol(HttpToolsProtocol):
    """HTTP/1.1 over a transport that gathers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        super().connection_made(_GatheringTransport(transport, self.loop))


class _GatheringTransport(asyncio.Transport):
    """Writes at the end of the turn, and before it closes; all else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        for name in _AS_IT_IS:
            setattr(self, name, getattr(transport, name))

    def write(self, data: Any) -> None:
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._gathered:
            data, self._gathered = b"".join(self._gathered), []
            if not self._transport.is_closing():
                self._transport.write(data)


_AS_IT_IS = (
    *("get_extra_info", "is_closing", "abort", "set_protocol", "get_protocol"),
    *("pause_reading", "resume_reading", "is_reading"),
    *("set_write_buffer_limits", "get_write_buffer_size", "get_write_buffer_limits"),
)
