"""Clients that check their answers: keep-alive connections at full speed, in their own process.

They run until standard input ends. One event determines a document's contents, and the document
states its position: two different answers for the same document and position mix two states. So
does a movie that states a position after the one of the whole answer.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast
from uuid import UUID

import msgspec
import uvloop

from bench.load import HEAD_END, HOST, SUCCESS, body_bytes, request
from shared.read_model.keys import partition_of

READY = b"ready\n"
STOP_WITHIN_S = 20.0
SHOWN_MAX = 5
_POSITION = b"starfold-position: "


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Movies and users to read in turn, by `clients` connections, repeatedly."""

    port: int
    movies: Sequence[UUID]
    users: Sequence[UUID]
    clients: int


class Seen(msgspec.Struct, kw_only=True):
    """Counts of bad answers.

    `errors` are invalid answers and lost connections, `mixed` show more than one state, and after a
    step back a connection saw a partition at an earlier position than before.
    """

    answers: int = 0
    per_second: float = 0.0
    errors: int = 0
    mixed: int = 0
    steps_back: int = 0
    shown: list[str] = msgspec.field(default_factory=list)


class _Ratings(msgspec.Struct):
    count: int
    histogram: list[int]
    position: int


class _Document(msgspec.Struct):
    ratings: _Ratings | None


class _Asked(NamedTuple):
    """A request, and the fields by which its answers are compared."""

    path: str
    projection: str
    partition: int
    request: bytes


_decode = msgspec.json.Decoder(_Document).decode


class Watching:
    """The running process; `seen` is its final report."""

    def __init__(self) -> None:
        self._seen: Seen | None = None

    @property
    def seen(self) -> Seen:
        assert self._seen is not None, "it still runs"
        return self._seen

    @contextmanager
    def run(self, watch: Watch) -> Iterator[None]:
        """Watch during the block."""
        with subprocess.Popen(
            [sys.executable, "-m", "bench.witness"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode(watch) + b"\n")
                process.stdin.flush()
                assert process.stdout.readline() == READY
                yield
            finally:
                said, _ = process.communicate(timeout=STOP_WITHIN_S)
        self._seen = msgspec.json.decode(said, type=Seen)


class _Verdict:
    """Checks answers against the earlier ones."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._bodies: dict[tuple[str, int], int] = {}

    def judge(self, asked: _Asked, received: bytes, reached: dict[tuple[str, int], int]) -> None:
        """Check an answer; `reached` is the connection's position in each partition."""
        self.seen.answers += 1
        head = received.index(HEAD_END)
        status = int(received[9:12])
        if status not in SUCCESS:
            self.seen.errors += 1
            self._show(f"{asked.path}: {received[:300]!r}")
            return
        position = _header_position(received, head)
        partition = (asked.projection, asked.partition)
        before = reached.get(partition, 0)
        if position < before:
            self.seen.steps_back += 1
            self._show(f"{asked.path}: from {before} back to {position}")
        reached[partition] = position
        if not self._is_whole(asked, received[head + len(HEAD_END) :], position):
            self.seen.mixed += 1
            self._show(f"{asked.path} at {position}: {received[head:]!r}")

    def fail(self, what: str) -> None:
        self.seen.errors += 1
        self._show(what)

    def _is_whole(self, asked: _Asked, body: bytes, position: int) -> bool:
        ratings = _decode(body).ratings
        of = 0 if ratings is None else ratings.position
        alike = self._bodies.setdefault((asked.path, of), hash(body)) == hash(body)
        adds_up = ratings is None or ratings.count == sum(ratings.histogram)
        # A profile is as old as the catalogue's index if that is older.
        return alike and adds_up and (of <= position or asked.projection != "movies")

    def _show(self, what: str) -> None:
        if len(self.seen.shown) < SHOWN_MAX:
            self.seen.shown.append(what)


class _Client(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, asked: Iterator[_Asked], verdict: _Verdict) -> None:
        self._all = asked
        self._verdict = verdict
        self._received = b""
        self._reached: dict[tuple[str, int], int] = {}
        self._stopping = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not derive from asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._stopping:
            self._verdict.fail(f"connection lost: {exc}")

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        head = received.find(HEAD_END)
        if head < 0 or len(received) < head + len(HEAD_END) + body_bytes(received, head):
            self._received = received
            return
        self._received = b""
        self._verdict.judge(self._asked, received, self._reached)
        if not self._stopping:
            self._send()

    def stop(self) -> None:
        self._stopping = True
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        assert self._transport is not None
        self._asked = next(self._all)
        self._transport.write(self._asked.request)


def _header_position(received: bytes, head: int) -> int:
    start = received.index(_POSITION, 0, head) + len(_POSITION)
    return int(received[start : received.index(b"\r", start)])


def _requests(watch: Watch) -> Iterator[_Asked]:
    for movie_id, user_id in zip(watch.movies, watch.users, strict=True):
        for projection, path, entity in (
            ("movies", f"/v1/movies/{movie_id}", movie_id),
            ("profiles", f"/v1/users/{user_id}", user_id),
        ):
            yield _Asked(path, projection, partition_of(entity), request("GET", path))


async def _watch(watch: Watch) -> Seen:
    loop = asyncio.get_running_loop()
    verdict = _Verdict()
    asked = itertools.cycle(list(_requests(watch)))
    clients = []
    for _ in range(watch.clients):
        _, client = await loop.create_connection(lambda: _Client(asked, verdict), HOST, watch.port)
        clients.append(client)
    started = time.perf_counter()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    verdict.seen.per_second = verdict.seen.answers / (time.perf_counter() - started)
    for client in clients:
        client.stop()
    return verdict.seen


def main() -> None:
    watch = msgspec.json.decode(sys.stdin.buffer.readline(), type=Watch)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_watch(watch))))


if __name__ == "__main__":
    main()
