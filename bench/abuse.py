"""One abusive client in its own process: several connections that do one thing for a while.

It is bounded in time, connections and bytes, sends to loopback only, and has its own address if the
machine has more than one.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, cast

import msgspec
import uvloop

from bench.load import HEAD_END, HOST, body_bytes

# Linux answers on all of 127.0.0.0/8.
ADDRESS = "127.0.0.2"
READ_BYTES = 65_536
ANSWER_WITHIN_S = 30.0
STOPS_WITHIN_S = 60.0
SLOW_BYTE_EVERY_S = 0.2
# If a server refuses at once, a client that retries at once measures only itself.
PAUSE_S = 0.01


Manner = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Abuse(msgspec.Struct, frozen=True, kw_only=True):
    """The behaviour of `connections` for `seconds`.

    `asks`: send each request, read its answer, and repeat. `slow`: send a head, then a byte at a
    time. `deaf`: send requests and read nothing.
    """

    name: str
    port: int
    requests: Sequence[bytes]
    connections: int
    manner: Literal["asks", "slow", "deaf"] = "asks"
    seconds: float


class Suffered(msgspec.Struct, frozen=True, kw_only=True):
    """Answers by status; `closed` counts connections that ended without one."""

    statuses: dict[int, int]
    closed: int


@contextmanager
def beside(abuse: Abuse) -> Iterator[list[Suffered]]:
    """Run the client during the block, for at most `abuse.seconds`.

    The list has the results after the block.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.abuse"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    suffered: list[Suffered] = []
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.msgpack.encode(abuse))
        process.stdin.close()
        process.stdin = None
        yield suffered
        output, _ = process.communicate(timeout=abuse.seconds + STOPS_WITHIN_S)
        suffered.append(msgspec.msgpack.decode(output, type=Suffered))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class _Abuser:
    def __init__(self, abuse: Abuse) -> None:
        self._abuse = abuse
        self._until = time.monotonic() + abuse.seconds
        self._requests = itertools.cycle(abuse.requests)
        self._local = _own_address()
        self.statuses: dict[int, int] = {}
        self.closed = 0

    async def run(self) -> None:
        does = {"asks": self._ask, "slow": self._trickle, "deaf": self._ignore}
        await asyncio.gather(
            *(self._over_and_over(does[self._abuse.manner]) for _ in range(self._abuse.connections))
        )

    @property
    def _left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    async def _over_and_over(self, do: Manner) -> None:
        """Reconnect whenever the server closes the connection."""
        while self._left_s:
            try:
                async with asyncio.timeout(self._left_s + ANSWER_WITHIN_S):
                    reader, writer = await asyncio.open_connection(
                        HOST, self._abuse.port, local_addr=self._local
                    )
                    try:
                        await do(reader, writer)
                    finally:
                        writer.transport.abort()
            except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
                self.closed += 1
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self._left_s:
            sending = asyncio.ensure_future(_send(writer, next(self._requests)))
            try:
                head = await reader.readuntil(HEAD_END)
                await reader.readexactly(body_bytes(head.lower(), len(head) - len(HEAD_END)))
                was_sent = sending.done()
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await sending
            status = int(head[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if b"connection: close" in head.lower() or not was_sent:
                return

    async def _trickle(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = next(self._requests).partition(HEAD_END)
        writer.write(head + HEAD_END)
        for byte in body:
            if not self._left_s:
                return
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(min(SLOW_BYTE_EVERY_S, self._left_s))

    async def _ignore(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast("asyncio.Transport", writer.transport).pause_reading()
        while self._left_s:
            writer.write(next(self._requests))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._left_s):
                    await writer.drain()
            await asyncio.sleep(PAUSE_S)


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Send in parts, so that an early answer is noticed."""
    for start in range(0, len(content), READ_BYTES):
        writer.write(content[start : start + READ_BYTES])
        await writer.drain()


def _own_address() -> tuple[str, int] | None:
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, 0))
        except OSError:
            return None
    return (ADDRESS, 0)


async def _abuse(abuse: Abuse) -> Suffered:
    abuser = _Abuser(abuse)
    await abuser.run()
    return Suffered(statuses=abuser.statuses, closed=abuser.closed)


def main() -> None:
    abuse = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Abuse)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(_abuse(abuse))))


if __name__ == "__main__":
    main()
