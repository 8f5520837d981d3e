"""Coalesced reads of Redis: reads requested during a round trip share the next one.

A client library's cost per round trip exceeds everything else in a read; under load one round trip
serves many requests. Each partition's checkpoint and documents come from one MGET, so that they are
consistent.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import redis.asyncio
import structlog
from redis.asyncio.connection import AbstractConnection

from shared.errors import DocumentDamaged, Overloaded, Unavailable
from shared.read_model.clients import REDIRECTIONS, is_wrong_type, packed
from shared.read_model.keys import CHECKPOINT, PartitionKeys, document_name
from shared.read_model.kinds import (
    POSITION_FIELD_BYTES,
    POSITIONS,
    PROFILE,
    RATINGS,
    REVIEWS,
    positions_suffixes,
)

READS_A_ROUND_TRIP_MAX = 512
WAITING_MAX = 20_000
# Scripts are slow in Redis: while it runs one round trip's scripts, the process prepares the next
# round trip. Plain reads are cheaper the more of them share a round trip.
CALLS_UNDER_WAY_MAX = 2
TIMEOUT_S = 1.0
WARN_EVERY_S = 1.0
_NO_ANSWER = "the read models do not answer"

log = structlog.get_logger()

# What `rated.lua` reads for each user, in this order.
_OPINION = (PROFILE.name, RATINGS, REVIEWS)

Values = list[bytes | None]
# The checkpoint, and the documents in the requested order.
PartitionRead = tuple[bytes | None, Values]
# The checkpoint; members and ranks of a sorted set alternating, highest first; documents; and the
# members' fields in a hash, if one was requested and exists.
Page = tuple[bytes | None, list[bytes], Values, Values]
# The checkpoint; documents; the number of positions; members and ranks alternating; for each hash,
# fields and positions alternating; the members' reviews, if there are any. The last three are empty
# for too many positions.
Changed = tuple[bytes | None, Values, int, list[bytes], list[list[bytes]], Values]
# The checkpoint; then profile, rank and review for each user, or an error for a key of another
# type.
Opinions = tuple[bytes | None, list[bytes | redis.ResponseError | None]]
Arguments = tuple[int | str | bytes, ...]
Command = tuple[str | int | bytes, ...]


class _Script(NamedTuple):
    """A script, and the digest by which Redis knows it once it is loaded."""

    text: bytes
    sha: str


class _Call(NamedTuple):
    """A call of a script, with the checkpoint as its first key."""

    script: _Script
    names: Sequence[str]
    arguments: Arguments


class Read(NamedTuple):
    """What to read of a partition: documents, or the result of a script."""

    keys: PartitionKeys
    documents: Sequence[str]
    call: _Call | None


class _PendingRead(NamedTuple):
    """A read that waits; `asking` is for a cluster's node that is taking over the keys."""

    read: Read
    asking: bool
    future: asyncio.Future[Any]


class Redirected(Unavailable):
    """A cluster's node does not serve a partition now; `error` says who does."""

    def __init__(self, error: Exception) -> None:
        super().__init__("a part of the read models is being moved")
        self.error = error


class Reads(ABC):
    """Reads of partitions, each consistent in itself; raises `Unavailable` without an answer."""

    async def documents(self, keys: PartitionKeys, documents: Sequence[str]) -> PartitionRead:
        """Read documents by their names after the partition's prefix."""
        read: PartitionRead = await self.read(Read(keys, documents, None))
        return read

    async def page(
        self,
        keys: PartitionKeys,
        sorted_set: str,
        *,
        limit: int,
        after: tuple[int, bytes] | None = None,
        documents: Sequence[str] = (),
        fields_of: str | None = None,
    ) -> Page:
        """Read at most `limit` members after a rank and member; `fields_of` names a hash."""
        bound, member = (str(after[0]), after[1]) if after is not None else ("", b"")
        names = (sorted_set, fields_of or sorted_set, *documents)
        page: Page = await self.read(Read(keys, (), _Call(_PAGE, names, (limit, bound, member))))
        return page

    async def opinions(self, keys: PartitionKeys, users: Sequence[str], movie: bytes) -> Opinions:
        """Read the ratings of a movie by users of one partition, given by their ids in hex."""
        names = [document_name(kind, user) for user in users for kind in _OPINION]
        opinions: Opinions = await self.read(Read(keys, (), _Call(_RATED, names, (movie,))))
        return opinions

    async def changed(
        self,
        keys: PartitionKeys,
        user: str,
        *,
        since: bytes,
        positions_max: int,
        documents: Sequence[str],
    ) -> Changed:
        """Read the ratings of a user, given by id in hex, and the positions of their last changes.

        Reviews are read of the ratings that changed since a stored position.
        """
        hashes = [document_name(POSITIONS, suffix) for suffix in positions_suffixes(user)]
        sets = [document_name(kind, user) for kind in (RATINGS, REVIEWS)]
        arguments = (len(hashes), positions_max, POSITION_FIELD_BYTES, since)
        call = _Call(_CHANGED, (*sets, *hashes, *documents), arguments)
        changed: Changed = await self.read(Read(keys, (), call))
        return changed

    @abstractmethod
    async def read(self, read: Read) -> Any:
        """Return the result of a read."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""


class CoalescedReads(Reads):
    """Reads of one server.

    A Redis that hangs is detected after `TIMEOUT_S`; from then on one round trip at a time probes
    it, and all other reads are refused at once, until it answers.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: list[_PendingRead] = []
        self._round_trips: set[asyncio.Task[None]] = set()
        self._hangs = False
        self._warn_again_at = 0.0

    async def read(self, read: Read, *, asking: bool = False) -> Any:
        """Return the result of a read; raise `Redirected` if another node has the partition."""
        if self._hangs and self._round_trips:
            raise Unavailable(_NO_ANSWER)
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{len(self._waiting)} reads are waiting already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_PendingRead(read, asking, future))
        if len(self._round_trips) < (1 if read.call is None else CALLS_UNDER_WAY_MAX):
            self._round_trips.add(loop.create_task(self._run()))
        return await future

    async def close(self) -> None:
        await self._client.aclose()

    async def _run(self) -> None:
        while self._waiting:
            reads = self._waiting[:READS_A_ROUND_TRIP_MAX]
            del self._waiting[:READS_A_ROUND_TRIP_MAX]
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    try:
                        await self._round_trip(reads)
                    except redis.exceptions.NoScriptError:
                        await self._load_scripts()
                        await self._round_trip(reads)
            except (redis.RedisError, TimeoutError, OSError) as error:
                self._warn(error)
                if isinstance(error, (TimeoutError, redis.TimeoutError)):
                    self._hangs = True
                    reads += self._waiting
                    self._waiting.clear()
                _fail(reads, Unavailable(_NO_ANSWER))
            except Exception as error:  # noqa: BLE001  # Every waiting read must get an answer.
                _fail(reads, error)
            else:
                self._hangs = False
        # Remove the task now rather than when its end is noticed: a read enqueued in between would
        # wait for a round trip that never starts.
        this = asyncio.current_task()
        assert this is not None
        self._round_trips.discard(this)

    def _warn(self, error: Exception) -> None:
        """Log an outage once a second: every read of it comes here."""
        now = asyncio.get_running_loop().time()
        if now >= self._warn_again_at:
            self._warn_again_at = now + WARN_EVERY_S
            log.warning("read_models_unavailable", error=f"{type(error).__name__}: {error}")

    async def _load_scripts(self) -> None:
        """Load the scripts, which a restarted Redis has lost.

        The library's own script objects ask Redis before each call whether it has the script.
        """
        for script in (_PAGE, _RATED, _CHANGED):
            await self._client.script_load(script.text)

    async def _round_trip(self, reads: Sequence[_PendingRead]) -> None:
        by_partition: dict[PartitionKeys, dict[str, int]] = {}
        plain = [one for one in reads if one.read.call is None and not one.asking]
        apart = [one for one in reads if one.read.call is not None or one.asking]
        for waiting in plain:
            wanted = by_partition.setdefault(waiting.read.keys, {CHECKPOINT: 0})
            for document in waiting.read.documents:
                wanted.setdefault(document, len(wanted))
        commands: list[Command] = [
            ("MGET", *(keys.prefix + document for document in wanted))
            for keys, wanted in by_partition.items()
        ]
        for waiting in apart:
            if waiting.asking:
                commands.append(("ASKING",))
            commands.append(_command(waiting.read))
        results = iter(await self._answered(commands))
        found = {keys: next(results) for keys in by_partition}
        for waiting in apart:
            if waiting.asking:
                next(results)
            result = next(results)
            if waiting.read.call is None and not isinstance(result, Exception):
                result = result[0], result[1:]
            _resolve(waiting, result)
        for waiting in plain:
            keys, documents, _ = waiting.read
            places, values = by_partition[keys], found[keys]
            if not isinstance(values, Exception):
                values = values[0], [values[places[document]] for document in documents]
            _resolve(waiting, values)

    async def _answered(self, commands: Sequence[tuple[str | int | bytes, ...]]) -> list[Any]:
        """Return Redis's replies; raise the first error that concerns more than its own command.

        An error about a key's type, and a redirection, concern one alone. The commands bypass the
        client's layers, which cost more than everything else in a round trip.
        """
        pool = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command([packed(one) for one in commands])
            # Read all replies, or the connection's next user would get them.
            results = [await _result(connection) for _ in commands]
        finally:
            await pool.release(connection)
        for result in results:
            if isinstance(result, redis.ResponseError) and not (
                is_wrong_type(result) or isinstance(result, REDIRECTIONS)
            ):
                raise result
        return results


async def _result(connection: AbstractConnection) -> Any:
    try:
        # `_run` limits the whole round trip; a timer per read would cost every read.
        return await connection.read_response(timeout=math.inf)
    except redis.ResponseError as refusal:
        return refusal


def _script(name: str) -> _Script:
    text = files("query_api.redis_reads").joinpath(name).read_bytes()
    return _Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


_PAGE = _script("page.lua")
_RATED = _script("rated.lua")
_CHANGED = _script("changed.lua")


def _command(read: Read) -> Command:
    """Return the command of one read."""
    prefix, call = read.keys.prefix, read.call
    if call is None:
        return ("MGET", *(prefix + name for name in (CHECKPOINT, *read.documents)))
    names = [prefix + name for name in (CHECKPOINT, *call.names)]
    return ("EVALSHA_RO", call.script.sha, len(names), *names, *call.arguments)


def _resolve(waiting: _PendingRead, result: object) -> None:
    """Give a read its result; a key of another type is damage of this read's partition alone."""
    if not isinstance(result, redis.ResponseError):
        if not waiting.future.done():
            waiting.future.set_result(result)
    elif isinstance(result, REDIRECTIONS):
        _fail([waiting], Redirected(result))
    else:
        _fail([waiting], DocumentDamaged("a key is of another type"))


def _fail(reads: Sequence[_PendingRead], error: Exception) -> None:
    for waiting in reads:
        if not waiting.future.done():
            waiting.future.set_exception(error)
