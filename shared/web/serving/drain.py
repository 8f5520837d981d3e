"""The time between SIGTERM and the end of a process that has a proxy in front.

The listening socket closes with the process: a connection that a proxy makes or uses at that moment
is reset. A draining process is not ready, and closes each connection with its next answer, but it
serves as before, until the proxy has noticed.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

import structlog

log = structlog.get_logger()


def drain_before_stop(drain_s: float, *announce: Callable[[], None]) -> None:
    """On SIGTERM, call each `announce` on the running event loop, and stop only `drain_s` later.

    Another SIGTERM, or Ctrl-C, stops at once. Only the main thread receives signals; on any other,
    as with no time to drain, nothing changes.
    """
    if not drain_s or threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)

    def begin() -> None:
        for tell in announce:
            tell()
        log.info("draining", seconds=drain_s)
        loop.call_later(drain_s, signal.raise_signal, signal.SIGTERM)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, stop)
        loop.call_soon_threadsafe(begin)

    signal.signal(signal.SIGTERM, on_signal)
