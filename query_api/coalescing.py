"""Coalesced reads of Redis: what is asked for while a round trip is under way goes together in the
next one.

A client library's cost per round trip is larger than everything else in a read; under load one
round trip serves many requests. Each partition's checkpoint and documents come in one MGET, so that
they are of the same moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import redis.asyncio
import structlog

from shared.errors import Overloaded, Unavailable
from shared.read_model import PartitionKeys

READS_A_ROUND_TRIP_MAX = 512
WAITING_MAX = 20_000
TIMEOUT_S = 1.0

log = structlog.get_logger()

Values = list[bytes | None]
Arguments = tuple[int | str | bytes, ...]


class PartitionRead(NamedTuple):
    """Documents of one partition and its checkpoint, of the same moment; `values` in the order
    asked.
    """

    checkpoint: bytes | None
    values: Values


class Page(NamedTuple):
    """Members of a sorted set and their ranks, highest first, and documents, of one moment.

    `fields` are the members' in a hash, if one was asked for; empty if there is none.
    """

    checkpoint: bytes | None
    members: list[tuple[bytes, float]]
    values: Values
    fields: Values


class _Waiting(NamedTuple):
    keys: PartitionKeys
    documents: Sequence[str]
    # A page: the sorted set, the hash, arguments; `fields`: a command, its key and its members.
    page: tuple[str, str, Arguments] | None
    fields: tuple[str, str, Sequence[bytes]] | None
    future: asyncio.Future[Any]


class CoalescedReads:
    """Reads of partitions. Raises `Unavailable` at once when Redis does not answer."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._page = client.register_script(files("query_api").joinpath("page.lua").read_bytes())
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def documents(self, keys: PartitionKeys, documents: Sequence[str]) -> PartitionRead:
        """The documents, named by what follows the partition's prefix."""
        read: PartitionRead = await self._enqueue(keys, documents, None)
        return read

    async def page(
        self,
        keys: PartitionKeys,
        sorted_set: str,
        *,
        limit: int,
        after: tuple[float, bytes] | None = None,
        documents: Sequence[str] = (),
        fields_of: str | None = None,
    ) -> Page:
        """At most `limit` members after the given rank and member; `fields_of` names a hash."""
        bound, member = (f"{after[0]:.0f}", after[1]) if after is not None else ("", b"")
        wanted = (sorted_set, fields_of or sorted_set, (limit, bound, member))
        page: Page = await self._enqueue(keys, documents, wanted)
        return page

    async def fields(self, keys: PartitionKeys, name: str, fields: Sequence[bytes]) -> Values:
        """Values of a hash's fields."""
        values: Values = await self._enqueue(keys, (), None, ("HMGET", name, fields))
        return values

    async def ranks(
        self, keys: PartitionKeys, sorted_set: str, members: Sequence[bytes]
    ) -> list[float | None]:
        """Ranks of a sorted set's members."""
        ranks: list[float | None] = await self._enqueue(
            keys, (), None, ("ZMSCORE", sorted_set, members)
        )
        return ranks

    async def _enqueue(
        self,
        keys: PartitionKeys,
        documents: Sequence[str],
        page: tuple[str, str, Arguments] | None,
        fields: tuple[str, str, Sequence[bytes]] | None = None,
    ) -> Any:
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{len(self._waiting)} reads are waiting already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Waiting(keys, documents, page, fields, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch = self._waiting[:READS_A_ROUND_TRIP_MAX]
            del self._waiting[:READS_A_ROUND_TRIP_MAX]
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._round_trip(batch)
            except (redis.RedisError, TimeoutError, OSError) as error:
                log.warning("read_models_unavailable", error=type(error).__name__)
                _fail(batch, Unavailable("the read models do not answer"))
            except Exception as error:  # noqa: BLE001  # Whoever waits must hear of it, whatever it is.
                _fail(batch, error)
        self._task = None

    async def _round_trip(self, batch: Sequence[_Waiting]) -> None:
        by_partition: dict[PartitionKeys, dict[str, int]] = {}
        plain = [one for one in batch if one.page is None and one.fields is None]
        pages = [one for one in batch if one.page is not None]
        hashes = [one for one in batch if one.fields is not None]
        for waiting in plain:
            wanted = by_partition.setdefault(waiting.keys, {"checkpoint": 0})
            for document in waiting.documents:
                wanted.setdefault(document, len(wanted))
        pipeline = self._client.pipeline(transaction=False)
        for keys, wanted in by_partition.items():
            prefix = keys.prefix
            pipeline.mget([prefix + document for document in wanted])
        for waiting in pages:
            assert waiting.page is not None
            prefix = waiting.keys.prefix
            sorted_set, fields_of, arguments = waiting.page
            names = ("checkpoint", sorted_set, fields_of, *waiting.documents)
            await self._page([prefix + name for name in names], arguments, client=pipeline)
        for waiting in hashes:
            assert waiting.fields is not None
            command, name, fields = waiting.fields
            pipeline.execute_command(command, waiting.keys.prefix + name, *fields)
        results = iter(await pipeline.execute())
        found = {keys: next(results) for keys in by_partition}
        for waiting in pages:
            _resolve(waiting, _as_page(next(results)))
        for waiting in hashes:
            _resolve(waiting, next(results))
        for waiting in plain:
            places, values = by_partition[waiting.keys], found[waiting.keys]
            documents = [values[places[document]] for document in waiting.documents]
            _resolve(waiting, PartitionRead(values[0], documents))


def _as_page(result: list[Any]) -> Page:
    checkpoint, flat, documents, fields = result
    members = [(flat[i], float(flat[i + 1])) for i in range(0, len(flat), 2)]
    return Page(checkpoint, members, documents, fields)


def _resolve(waiting: _Waiting, result: object) -> None:
    if not waiting.future.done():
        waiting.future.set_result(result)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
