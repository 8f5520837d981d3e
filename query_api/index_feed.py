"""Keeping the index: loaded from `movies`, then fed by `changes`, in rounds.

A change says only which movie it was. A round reads what has changed since the last one and then
each of those movies once, from its own partition, in one round trip for all; a partition that has
not yet applied the change is read again. So what the index holds of a movie is never older than the
position that the index states.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import redis.asyncio
import structlog

from query_api.changes import Change, Changes
from query_api.coalescing import CoalescedReads
from query_api.freshness import WAIT_MAX_S, Freshness
from query_api.generations import ActiveGenerations
from query_api.index import Index
from shared.errors import Unavailable
from shared.ids import START, Position
from shared.read_model import (
    CHANGES,
    MOVIES,
    Checkpoint,
    GenerationCopy,
    PartitionKeys,
    partition_of,
)

# A round costs a millisecond or two: a movie that is rated all the time is read once in each.
ROUND_EVERY_S = 0.1
MOVIES_A_READ = 200
CHANGES_A_ROUND = 2_000
POLL_S = 0.05
# Whether documents were repaired.
LOOK_EVERY_S = 1.0
RETRY_S = 0.5
# Before a load, so that an index that is outrun again and again does not take all of the time.
RELOAD_S = 0.1

log = structlog.get_logger()

_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode


class _Outrun(Exception):
    """The stream of changes no longer holds what follows, or another generation is active."""


class _Changed(NamedTuple):
    """The movies that changed and the position of each one's last change, all up to `last`."""

    last: Position
    movies: Mapping[bytes, Position]


class IndexFeed:
    """Owns the index that readers see; it is replaced as a whole by a load."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        reads: CoalescedReads,
        generations: ActiveGenerations,
        freshness: Freshness,
        changes: Changes,
    ) -> None:
        self._client: Any = client
        self._reads = reads
        self._generations = generations
        self._freshness = freshness
        self._changes = changes
        self._index: Index | None = None
        self._wanted = START
        self._wanted_until = 0.0
        self._hurry = asyncio.Event()
        self.position = START

    def require(self, wanted: Position = START) -> Index:
        """The index as it is; raises `Unavailable` before it is loaded.

        Somebody waits for `wanted`: until it stands there, the next round begins at once.
        """
        if wanted > self.position:
            self._wanted = max(wanted, self._wanted)
            self._wanted_until = asyncio.get_running_loop().time() + WAIT_MAX_S
            self._hurry.set()
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
                await asyncio.sleep(RELOAD_S)
            except (Unavailable, redis.RedisError, OSError) as error:
                log.debug("index_waits", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _load_and_follow(self) -> None:
        movies = await self._generations.require(MOVIES)
        changes = await self._generations.require(CHANGES)
        start = await self._checkpoint(PartitionKeys(CHANGES, changes.number, 0))
        index = Index()
        loaded = [await self._load(index, movies, number) for number in range(movies.partitions)]
        seen = min(start.position, *(checkpoint.position for checkpoint in loaded))
        # Partitions that rest are brought up a moment later: readers would step back.
        while seen < min(start.position, self.position):
            changed = await self._changed_after(changes, seen)
            if changed.last == seen:  # Redis has lost its tail since the start.
                raise _Outrun
            await self._take_in(index, movies, changed)
            seen = changed.last
        complete_after, changed_before = await self._history(changes, seen)
        self._index = index
        self._changes.restart(complete_after, changed_before)
        self._reached(seen)
        log.info("index_loaded", movies=len(index.entries), position=seen)
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_EVERY_S
        while True:
            if self._generations.get(MOVIES) != movies or self._generations.get(CHANGES) != changes:
                raise _Outrun
            if loop.time() >= look_at:
                await self._require_same_builds(movies, loaded)
                look_at = loop.time() + LOOK_EVERY_S
            news = self._freshness.news
            changed = await self._changed_after(changes, seen)
            await self._take_in(index, movies, changed)
            self._changes.note(changed.movies)
            seen = changed.last
            self._reached(seen)
            await self._pause(news, ROUND_EVERY_S)

    def _reached(self, position: Position) -> None:
        if position != self.position:
            self.position = position
            self._freshness.tell()
        if position >= self._wanted:
            self._wanted = START
            self._hurry.clear()

    async def _pause(self, news: asyncio.Event, seconds: float) -> None:
        """Wait for so long, or while somebody waits for a position, for news."""
        if self._hurry.is_set() and asyncio.get_running_loop().time() < self._wanted_until:
            await self._freshness.wait_for(news, POLL_S)
            return
        self._hurry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _require_same_builds(
        self, movies: GenerationCopy, loaded: Sequence[Checkpoint]
    ) -> None:
        """Raises `_Outrun` where documents were repaired: that is no change of the log's."""
        keys = [PartitionKeys(MOVIES, movies.number, number) for number in range(len(loaded))]
        standing = await asyncio.gather(*map(self._checkpoint, keys))
        for before, now in zip(loaded, standing, strict=True):
            if before.build_token != now.build_token:
                raise _Outrun

    async def _load(self, index: Index, movies: GenerationCopy, number: int) -> Checkpoint:
        """One partition's movies; the checkpoint is of before they were read."""
        keys = PartitionKeys(MOVIES, movies.number, number)
        checkpoint = await self._checkpoint(keys)
        members = await self._client.zrange(keys.document("catalogue"), 0, -1)
        for start in range(0, len(members), MOVIES_A_READ):
            await self._put(index, keys, members[start : start + MOVIES_A_READ])
        return checkpoint

    async def _history(
        self, changes: GenerationCopy, until: Position
    ) -> tuple[Position, list[Change]]:
        """The changes that the stream still holds, and the position after which those are all."""
        stream = PartitionKeys(CHANGES, changes.number, 0).document("movies")
        entries = await self._client.xrange(stream, "-", f"{until}-0")
        held = [(_entry_position(entry), entry[1][b"movie"]) for entry in entries]
        return (Position(held[0][0] - 1) if held else until), held

    async def _changed_after(self, changes: GenerationCopy, seen: Position) -> _Changed:
        """What changed after `seen`; raises `_Outrun` if the capped stream may have dropped some
        of it.
        """
        keys = PartitionKeys(CHANGES, changes.number, 0)
        stream = keys.document("movies")
        pipeline = self._client.pipeline(transaction=False)
        # Read before the stream: all changes up to here are then among those found.
        pipeline.get(keys.checkpoint)
        pipeline.xrange(stream, f"({seen}-0", "+", count=CHANGES_A_ROUND)
        pipeline.xrange(stream, "-", "+", count=1)
        checkpoint, entries, oldest = await pipeline.execute()
        applied = _decoded(checkpoint).position
        if not entries:
            return _Changed(max(seen, applied), {})
        if _entry_position(oldest[0]) > seen + 1 and await self._has_dropped(stream):
            raise _Outrun
        movies = {fields[b"movie"]: entry_id for entry_id, fields in entries}
        last = _entry_position(entries[-1])
        if len(entries) < CHANGES_A_ROUND:
            last = max(last, applied)
        changed = {movie: _entry_position((entry_id,)) for movie, entry_id in movies.items()}
        return _Changed(last, changed)

    async def _has_dropped(self, stream: str) -> bool:
        """Whether the stream has ever dropped an entry since it was followed."""
        about = await self._client.xinfo_stream(stream)
        return bool(about["entries-added"] > about["length"])

    async def _take_in(self, index: Index, movies: GenerationCopy, changed: _Changed) -> None:
        """Read each changed movie, once its partition has applied the change."""
        waiting: dict[PartitionKeys, dict[bytes, Position]] = {}
        for movie, position in changed.movies.items():
            number = partition_of(UUID(bytes=movie), movies.partitions)
            keys = PartitionKeys(MOVIES, movies.number, number)
            waiting.setdefault(keys, {})[movie] = position
        while waiting:
            news = self._freshness.news
            read = await asyncio.gather(
                *(self._put(index, keys, list(found)) for keys, found in waiting.items())
            )
            waiting = {
                keys: found
                for (keys, found), position in zip(waiting.items(), read, strict=True)
                if position < max(found.values())
            }
            if waiting:
                if self._generations.get(MOVIES) != movies:
                    raise _Outrun
                await self._pause(news, POLL_S)

    async def _put(self, index: Index, keys: PartitionKeys, movies: Sequence[bytes]) -> Position:
        """Read movies of one partition and take them in; returns the position that they are of."""
        names = [f"{kind}:{movie.hex()}" for movie in movies for kind in ("movie", "stats")]
        checkpoint, stored = await self._reads.documents(keys, names)
        documents = iter(stored)
        for movie, details, statistics in zip(movies, documents, documents, strict=True):
            if details is not None and statistics is not None:
                index.put(movie, details, statistics)
        await asyncio.sleep(0)
        return _decoded(checkpoint).position

    async def _checkpoint(self, keys: PartitionKeys) -> Checkpoint:
        return _decoded((await self._reads.documents(keys, ())).checkpoint)


def _decoded(checkpoint: bytes | None) -> Checkpoint:
    if checkpoint is None:
        raise Unavailable("a read model is being built")
    return _decode_checkpoint(checkpoint)


def _entry_position(entry: Sequence[Any]) -> Position:
    """Of an entry of the stream: its id, `<position>-0`, and its fields."""
    return Position(int(entry[0].split(b"-")[0]))
