"""Serving an application with uvicorn, as both APIs do.

uvicorn hands an answer's head and its body to the transport one by one, and uvloop writes each at
once: two calls to the system, and a client that is woken twice. Here what an answer writes in one
turn of the event loop goes out in one.

uvicorn waits for ever: for a request once a connection has been made or a first byte has come, and
for a client that takes nothing of what it is sent. Here both are bounded, whatever the application.
Streams, which never end by themselves, end when the server stops.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.collector import tune_collector
from shared.settings import HttpSettings

DRAIN_FOR_S = 10
# Head and body: the largest batch comes in this time at two megabits a second.
REQUEST_WITHIN_S = 60.0
# Less than 64 KiB in this time, of a client that is sent more than that, is too little.
STALLED_MAX_S = 30.0
# What a lifespan may put into its state: called when the server begins to stop, on its event loop.
END_STREAMS = "end_streams"


def serve(app: Any, settings: HttpSettings, *, port: int, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT, answer what has come, and return.

    Several workers are processes that share the socket, each with an event loop of its own; one
    that dies is replaced. `app` is then the name of what makes the application in each.
    """
    tune_collector()
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
        timeout_graceful_shutdown=DRAIN_FOR_S,
    )


def stop_with_parent() -> None:
    """In a worker: stop as for SIGTERM once the process that started it is gone, however it went.

    A worker that stayed behind would serve on beside those of the next start, and for ever. In a
    process that nobody started as a worker this does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_stop_after, args=(parent.join,), daemon=True).start()


def _stop_after(wait: Callable[[], object]) -> None:
    wait()
    os.kill(os.getpid(), signal.SIGTERM)


class GatheringProtocol(HttpToolsProtocol):
    """HTTP/1.1 over a transport that gathers; who is too slow in asking or taking is cut off."""

    # Since when a request has been coming or is awaited on a new connection; None between requests.
    _coming_since_s: float | None
    _look: asyncio.TimerHandle
    # While the client does not take what was sent.
    _cut_off: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        super().connection_made(_GatheringTransport(transport, self.loop))
        self._coming_since_s = self.loop.time()
        self._look = self.loop.call_later(REQUEST_WITHIN_S, self._cut_off_if_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        self._keep()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._coming_since_s = self.loop.time()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._coming_since_s = None

    def pause_writing(self) -> None:
        """The client has not taken what was sent; it is cut off if that does not change."""
        super().pause_writing()
        self._cut_off = self.loop.call_later(STALLED_MAX_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._keep()

    def shutdown(self) -> None:
        """The server begins to stop."""
        super().shutdown()
        end_streams: Any = self.app_state.get(END_STREAMS)
        if end_streams is not None:
            end_streams()

    def _keep(self) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None

    def _cut_off_if_slow(self) -> None:
        """Looks now and then, since a timer for each request would cost each something."""
        now_s = self.loop.time()
        since_s = now_s if self._coming_since_s is None else self._coming_since_s
        left_s = since_s + REQUEST_WITHIN_S - now_s
        if left_s <= 0:
            self.transport.close()
        else:
            self._look = self.loop.call_later(left_s, self._cut_off_if_slow)


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
