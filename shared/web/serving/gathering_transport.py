"""A transport that gathers the writes of one turn of the event loop, and sends them at once.

uvicorn hands an answer's head and its body to the transport separately, and uvloop writes each at
once: two system calls, and a client that is woken twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class GatheringTransport(asyncio.Transport):
    """Writes at the end of the turn, and before it closes; the rest is the transport's own.

    `takes_over` is called when an answer closes the connection; it returns True if it does that
    itself.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        takes_over: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._takes_over = takes_over
        self._gathered: list[bytes] = []
        self._has_ended = False
        for name in _AS_IT_IS:
            setattr(self, name, getattr(transport, name))

    def write(self, data: Any) -> None:
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(data)

    def is_closing(self) -> bool:
        return self._has_ended or self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        if not self._takes_over():
            self._transport.close()

    def end(self) -> None:
        """Stop writing, but keep receiving what the client sends.

        The transport reports itself as closing from then on.
        """
        self._flush()
        self._has_ended = True
        if not self._transport.is_closing():
            self._transport.write_eof()

    def _flush(self) -> None:
        if self._gathered:
            data, self._gathered = b"".join(self._gathered), []
            if not self._transport.is_closing():
                self._transport.write(data)


_AS_IT_IS = (
    "get_extra_info",
    "abort",
    "set_protocol",
    "get_protocol",
    "pause_reading",
    "resume_reading",
    "is_reading",
    "set_write_buffer_limits",
    "get_write_buffer_size",
    "get_write_buffer_limits",
)
