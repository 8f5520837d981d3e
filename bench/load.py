"""The load generator: keep-alive HTTP/1.1 clients over raw sockets, in its own process.

Every client waits for its answer before it sends again. Requests are encoded beforehand and answers
are only counted, so that one process sends several times more than one server can answer;
`core_share` says how busy it was.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
import uvloop

HOST = "127.0.0.1"
GRACE_S = 20.0
ANSWERS_MAX = 400_000
SUCCESS = frozenset({*range(200, 300), 304})
HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A load: `requests` sent in turn by `clients` connections, repeatedly.

    With `per_second` they are sent at that rate, as far as clients are free; otherwise each client
    sends as soon as it has its answer. Answers of the first `warm_up_s` do not count. With
    `more_ports` the clients are spread over several servers.
    """

    port: int
    more_ports: Sequence[int] = ()
    requests: Sequence[bytes]
    clients: int
    seconds: float
    warm_up_s: float = 0.5
    per_second: float | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers; `core_share` is the load generator's own use of one core."""

    per_second: float
    statuses: dict[int, int]
    p50_ms: float
    p99_ms: float
    core_share: float


class UnexpectedAnswersError(Exception):
    """The server refused requests, so that its speed means nothing."""


def run(load: Load) -> Answers:
    """Send the load from its own process.

    Raises `UnexpectedAnswersError` for any status but 2xx and 304.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.msgpack.encode(load),
        stdout=subprocess.PIPE,
        timeout=load.warm_up_s + load.seconds + GRACE_S,
        check=True,
    )
    answers = msgspec.msgpack.decode(finished.stdout, type=Answers)
    if not answers.statuses or any(one not in SUCCESS for one in answers.statuses):
        raise UnexpectedAnswersError(f"port {load.port} answered {answers.statuses}")
    return answers


class _Tally:
    """Latencies and statuses of the answers within the measured time."""

    def __init__(self, load: Load) -> None:
        self.counts_from = time.perf_counter() + load.warm_up_s
        self.counts_until = self.counts_from + load.seconds
        self.latencies_s: list[float] = []
        self.statuses: dict[int, int] = {}
        self.over = asyncio.get_running_loop().create_future()

    def note(self, status: int, sent_at: float) -> bool:
        """Count an answer; return False when it is time to stop."""
        now = time.perf_counter()
        if now >= self.counts_until or len(self.latencies_s) >= ANSWERS_MAX:
            if not self.over.done():
                self.over.set_result(None)
            return False
        if now >= self.counts_from:
            self.latencies_s.append(now - sent_at)
            self.statuses[status] = self.statuses.get(status, 0) + 1
        return True

    def fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)


class _Client(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, requests: Iterator[bytes], tally: _Tally, every_s: float | None) -> None:
        self._requests = requests
        self._tally = tally
        self._every_s = every_s
        self._received = b""
        self._sent_at = 0.0
        self._due_at = time.perf_counter()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not derive from asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.fail(exc or ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head = received.find(HEAD_END)
        if head < 0 or len(received) < head + len(HEAD_END) + body_bytes(received, head):
            self._received = received
            return
        self._received = b""
        if self._tally.note(int(received[9:12]), self._sent_at):
            self._send_when_due()

    def _send_when_due(self) -> None:
        if self._every_s is None:
            self._send()
            return
        self._due_at += self._every_s
        wait_s = self._due_at - time.perf_counter()
        if wait_s <= 0:
            self._send()
        else:
            asyncio.get_running_loop().call_later(wait_s, self._send)

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))


def body_bytes(received: bytes, head: int) -> int:
    """Return the body length that the headers before `head` announce."""
    at = received.find(_LENGTH, 0, head)
    if at < 0:
        return 0
    return int(received[at + len(_LENGTH) : received.index(b"\r", at)])


async def _generate(load: Load) -> Answers:
    loop = asyncio.get_running_loop()
    tally = _Tally(load)
    requests = itertools.cycle(load.requests)
    every_s = load.clients / load.per_second if load.per_second else None
    cpu_before = time.process_time()
    started = time.perf_counter()
    ports = [load.port, *load.more_ports]
    for nth in range(load.clients):
        port = ports[nth % len(ports)]
        await loop.create_connection(lambda: _Client(requests, tally, every_s), HOST, port)
        if every_s is not None:  # Spread over the interval: the clients must not all send at once.
            await asyncio.sleep(max(0.0, started + nth * every_s / load.clients - _now()))
    await asyncio.wait_for(tally.over, load.warm_up_s + load.seconds + GRACE_S / 2)
    core_share = (time.process_time() - cpu_before) / (time.perf_counter() - started)
    latencies = sorted(tally.latencies_s)
    return Answers(
        per_second=len(latencies) / load.seconds,
        statuses=tally.statuses,
        p50_ms=percentile(latencies, 0.5) * 1_000,
        p99_ms=percentile(latencies, 0.99) * 1_000,
        core_share=core_share,
    )


def _now() -> float:
    return time.perf_counter()


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of ascending values; 0 for none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def request(
    method: str,
    path: str,
    *,
    body: bytes = b"",
    token: str | None = None,
    at_least: int = 0,
    if_none_match: str | None = None,
    origin: str | None = None,
) -> bytes:
    """Encode a request for the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}"]
    if token is not None:
        lines.append(f"authorization: Bearer {token}")
    if at_least:
        lines.append(f"starfold-at-least: {at_least}")
    if if_none_match is not None:
        lines.append(f"if-none-match: {if_none_match}")
    if origin is not None:
        lines.append(f"origin: {origin}")
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> None:
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Load)
    answers = uvloop.run(_generate(load))
    sys.stdout.buffer.write(msgspec.msgpack.encode(answers))


if __name__ == "__main__":
    main()
