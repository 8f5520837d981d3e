"""Keeping the index: loaded from `movies`, then fed by `changes`.

A change says only which movie it was; the movie is read again from its own partition, and waits if
that partition has not yet applied the change. So what the index holds of a movie is never older
than the position that the index states.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
import redis.asyncio
import structlog

from query_api.freshness import Freshness
from query_api.generations import ActiveGenerations
from query_api.index import Index
from shared.errors import Unavailable
from shared.ids import START, Position
from shared.read_model import (
    CHANGES,
    MOVIES,
    Checkpoint,
    GenerationCopy,
    MovieDocument,
    PartitionKeys,
    RatingStatistics,
    partition_of,
)

MOVIES_A_READ = 200
CHANGES_A_READ = 2_000
POLL_S = 0.1
RETRY_S = 0.5

log = structlog.get_logger()

_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
_decode_movie = msgspec.json.Decoder(MovieDocument).decode
_decode_statistics = msgspec.json.Decoder(RatingStatistics).decode


class _Outrun(Exception):
    """The stream of changes no longer holds what follows, or another generation is active."""


class IndexFeed:
    """Owns the index that readers see; it is replaced as a whole by a load."""

    def __init__(
        self, client: redis.asyncio.Redis, generations: ActiveGenerations, freshness: Freshness
    ) -> None:
        self._client: Any = client
        self._generations = generations
        self._freshness = freshness
        self._index: Index | None = None
        self.position = START

    @property
    def loaded(self) -> bool:
        return self._index is not None

    def require(self) -> Index:
        """The index; raises `Unavailable` before it is loaded."""
        if self._index is None:
            raise Unavailable("the index of the catalogue is being loaded")
        return self._index

    async def run(self) -> None:
        """Load and follow for ever."""
        while True:
            try:
                await self._load_and_follow()
            except _Outrun:
                log.info("index_reloads", position=self.position)
            except (Unavailable, redis.RedisError, OSError) as error:
                log.debug("index_waits", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _load_and_follow(self) -> None:
        movies = await self._generations.require(MOVIES)
        changes = await self._generations.require(CHANGES)
        start = await self._changes_position(changes)
        index = Index()
        positions = [await self._load(index, movies, number) for number in range(movies.partitions)]
        self._index = index
        self.position = min(start, *positions)
        log.info("index_loaded", movies=len(index.entries), position=self.position)
        seen = start
        while True:
            if self._generations.get(MOVIES) != movies or self._generations.get(CHANGES) != changes:
                raise _Outrun
            seen = await self._apply_changes(index, movies, changes, seen)
            await self._freshness.wait_for_news(POLL_S)

    async def _load(self, index: Index, movies: GenerationCopy, number: int) -> Position:
        """One partition's movies; the position is of before they were read."""
        keys = PartitionKeys(MOVIES, movies.number, number)
        position = _position(await self._client.get(keys.checkpoint))
        members = await self._client.zrange(keys.document("catalogue"), 0, -1)
        for start in range(0, len(members), MOVIES_A_READ):
            await self._put(index, keys, members[start : start + MOVIES_A_READ])
        return position

    async def _put(self, index: Index, keys: PartitionKeys, movies: Sequence[bytes]) -> Position:
        """Read movies of one partition and take them in; returns the position that they are of."""
        names = [keys.checkpoint]
        for movie in movies:
            names += (keys.document("movie", movie.hex()), keys.document("stats", movie.hex()))
        checkpoint, *stored = await self._client.mget(names)
        for place in range(0, len(stored), 2):
            movie, statistics = stored[place], stored[place + 1]
            if movie is not None and statistics is not None:
                index.put(_decode_movie(movie), _decode_statistics(statistics))
        await asyncio.sleep(0)
        return _position(checkpoint)

    async def _apply_changes(
        self, index: Index, movies: GenerationCopy, changes: GenerationCopy, seen: Position
    ) -> Position:
        """Take in what changed after `seen`; returns the last position taken in."""
        stream = PartitionKeys(CHANGES, changes.number, 0).document("movies")
        # Read before the stream: all changes up to here are then among those found.
        applied = await self._changes_position(changes)
        entries = await self._client.xrange(stream, f"({seen}-0", "+", count=CHANGES_A_READ)
        if entries:
            await self._require_complete(stream, seen)
            last = Position(int(entries[-1][0].split(b"-")[0]))
            await self._reread(index, movies, (fields[b"movie"] for _, fields in entries), last)
        if len(entries) < CHANGES_A_READ:
            last = max(last, applied) if entries else max(seen, applied)
        self.position = last
        return last

    async def _require_complete(self, stream: str, seen: Position) -> None:
        """Raise `_Outrun` if the capped stream has dropped entries after `seen`."""
        oldest, dropped = await asyncio.gather(
            self._client.xrange(stream, "-", "+", count=1), self._client.xinfo_stream(stream)
        )
        first = int(oldest[0][0].split(b"-")[0])
        deleted = dropped["entries-added"] > dropped["length"]
        if deleted and first > seen + 1:
            raise _Outrun

    async def _reread(
        self, index: Index, movies: GenerationCopy, changed: Iterable[bytes], last: Position
    ) -> None:
        """Read each changed movie once its partition has applied `last`."""
        waiting: dict[int, list[bytes]] = {}
        for movie in dict.fromkeys(changed):
            number = partition_of(UUID(bytes=movie), movies.partitions)
            waiting.setdefault(number, []).append(movie)
        for number, of_partition in waiting.items():
            keys = PartitionKeys(MOVIES, movies.number, number)
            while _position(await self._client.get(keys.checkpoint)) < last:
                if self._generations.get(MOVIES) != movies:
                    raise _Outrun
                await self._freshness.wait_for_news(POLL_S)
            for start in range(0, len(of_partition), MOVIES_A_READ):
                await self._put(index, keys, of_partition[start : start + MOVIES_A_READ])

    async def _changes_position(self, changes: GenerationCopy) -> Position:
        checkpoint = PartitionKeys(CHANGES, changes.number, 0).checkpoint
        return _position(await self._client.get(checkpoint))


def _position(checkpoint: bytes | None) -> Position:
    if checkpoint is None:
        raise Unavailable("a read model is being built")
    return _decode_checkpoint(checkpoint).position
