"""Keep the index up to date: load it from `movies`, then follow `changes` in rounds.

A change names only the movie. A round reads the changes since the last one, and then each of those
movies once from its own partition, all in one round trip; it repeats the read of a partition that
has not yet applied the change. So a movie in the index is never older than the position that the
index reports.

A movie that cannot be read is read again until it is repaired; all other movies keep updating.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from prometheus_client import Gauge

from query_api.catalogue.index import Index
from query_api.feed.change_feed import (
    ChangedMovies,
    ChangeFeed,
    ReloadNeeded,
)
from query_api.feed.changes import Changes
from query_api.feed.movie_source import MovieSource, read_checkpoint
from query_api.redis_reads.coalescing import Reads
from query_api.redis_reads.damage import Damage
from query_api.redis_reads.freshness import WAIT_MAX_S, Freshness
from query_api.redis_reads.generations import ActiveGenerations
from shared.errors import Unavailable
from shared.ids import START, Position
from shared.read_model.checkpoints import Checkpoint
from shared.read_model.clients import AsyncClient
from shared.read_model.generations import MOVIE_POSITIONS_SINCE, GenerationCopy
from shared.read_model.keys import CHANGES, MOVIES, PartitionKeys

# A round costs a millisecond or two, and reads a constantly rated movie once.
ROUND_EVERY_S = 0.1
# After this time, serve an index that lacks the damaged movies rather than none.
HEALING_MAX_S = 30.0
# Rounds are less frequent while nothing changes, unless a reader waits for a position.
QUIET_ROUND_EVERY_S = 0.5
QUIET_AFTER_S = 2.0
# The longest pause after a round that took long, perhaps because a partition was behind.
LONG_PAUSE_S = 1.0
POLL_S = 0.05
# How often to check whether documents were repaired.
LOOK_EVERY_S = 1.0
# Without a completed round for this long, the index is behind and the process not ready.
BEHIND_AFTER_S = 5.0
# Delay before a load, so that repeated reloads do not take all of the processor's time.
RELOAD_S = 0.1

log = structlog.get_logger()

POSITION = Gauge("starfold_index_position", "Log position of the catalogue's index.")
ROUND_AGE = Gauge(
    "starfold_index_round_age_seconds", "Time since the index last included all changes."
)
DAMAGED_MOVIES = Gauge(
    "starfold_index_damaged_movies", "Movies that the index cannot read, and shows as stale."
)


class _Generations(NamedTuple):
    """The generations that the index reads."""

    movies: GenerationCopy | None = None
    changes: GenerationCopy | None = None


class IndexFeed:
    """Owns the index that readers see; a load replaces it as a whole."""

    def __init__(
        self,
        client: AsyncClient,
        reads: Reads,
        generations: ActiveGenerations,
        freshness: Freshness,
        changes: Changes,
        damage: Damage,
    ) -> None:
        self._client = client
        self._reads = reads
        self._generations = generations
        self._freshness = freshness
        self._changes = changes
        self._change_feed = ChangeFeed(client, damage)
        self._damage = damage
        self._read_from = _Generations()
        self._movies: MovieSource | None = None
        self._round_at = time.monotonic()
        self._index: Index | None = None
        self._wanted = START
        self._wanted_until = 0.0
        self._hurry = asyncio.Event()
        self.position = START
        ROUND_AGE.set_function(lambda: self.round_age_s)
        DAMAGED_MOVIES.set_function(lambda: len(self._movies.unread) if self._movies else 0)

    @property
    def round_age_s(self) -> float:
        """Time since the index last contained every known change."""
        return time.monotonic() - self._round_at

    def require_current(self) -> None:
        """Raise `Unavailable` if the index is not loaded, or is behind."""
        self.require()
        if self.round_age_s > BEHIND_AFTER_S:
            raise Unavailable(
                f"the index of the catalogue has been at position {self.position} for"
                f" {self.round_age_s:.0f} s"
            )

    def require(self, wanted: Position = START) -> Index:
        """Return the current index; raise `Unavailable` before it is loaded.

        If the index is behind `wanted`, the next rounds follow without a pause until it gets there.
        """
        if wanted > self.position:
            self._wanted = max(wanted, self._wanted)
            self._wanted_until = asyncio.get_running_loop().time() + WAIT_MAX_S
            self._hurry.set()
        if self._index is None:
            raise Unavailable("the index of the catalogue is being loaded")
        return self._index

    def require_changes(self, wanted: Position = START) -> Index:
        """Return the current index if it has every movie at the position of its last change.

        Raises `Unavailable` while it cannot read some movie, which would else come too late for a
        reader who has continued after that position.
        """
        index, movies = self.require(wanted), self._read_from.movies
        if self._movies and self._movies.unread:
            raise Unavailable("damaged movies are being rebuilt")
        if movies is None or movies.definition_version < MOVIE_POSITIONS_SINCE:
            raise Unavailable("the read model of this order is being built")
        return index

    async def step(self, alive: Callable[[], None]) -> None:
        """Load and follow until a reload is needed; call `alive` in every round."""
        try:
            await self._load_and_follow(alive)
        except ReloadNeeded:
            log.info("index_reloads", position=self.position)

    async def _load_and_follow(self, alive: Callable[[], None]) -> None:
        movies = await self._generations.require(MOVIES)
        changes = await self._generations.require(CHANGES)
        self._read_from = _Generations(movies, changes)
        first = PartitionKeys(CHANGES, changes.number, 0)
        start = await read_checkpoint(self._reads, self._damage, first)
        index = Index(is_loading=True)
        source = MovieSource(self._client, self._reads, self._damage, index, movies)
        self._movies = source
        loaded = [await source.load(number, alive) for number in range(movies.partitions)]
        seen = min(start.position, *(checkpoint.position for checkpoint in loaded))
        # Catch up to the position served before, so that readers never see older data.
        while seen < min(start.position, self.position):
            changed = await self._change_feed.after(changes, seen)
            if changed.last == seen:  # Redis has lost recent writes since the start.
                raise ReloadNeeded
            await self._take_in(source, changed, alive)
            seen = changed.last
        await self._wait_for_healing(source, loaded, seen, alive)
        for _ in index.sort():
            await asyncio.sleep(0)
            alive()
        complete_after, changed_before = await self._change_feed.history(changes, seen)
        self._index = index
        self._changes.restart(complete_after, changed_before)
        self._reached(seen)
        log.info("index_loaded", movies=len(index.entries), position=seen)
        changed_at = time.monotonic()
        look_at = changed_at + LOOK_EVERY_S
        while True:
            began_at = time.monotonic()
            self._require_same_sources()
            if began_at >= look_at:
                await self._require_same_builds(source, loaded)
                await self._require_same_build(first, start)
                self._changes.note(await source.read_again(seen))
                look_at = time.monotonic() + LOOK_EVERY_S
            news = self._freshness.news
            changed = await self._change_feed.after(changes, seen)
            await self._take_in(source, changed, alive)
            self._changes.note(changed.movies)
            seen = changed.last
            self._reached(seen)
            alive()
            if changed.movies:
                changed_at = time.monotonic()
            now = time.monotonic()
            every_s = QUIET_ROUND_EVERY_S if now > changed_at + QUIET_AFTER_S else ROUND_EVERY_S
            # After many changes a round takes longer: requests get as much time then.
            await self._pause(news, max(every_s, min(now - began_at, LONG_PAUSE_S)))

    async def _wait_for_healing(
        self,
        source: MovieSource,
        loaded: Sequence[Checkpoint],
        seen: Position,
        alive: Callable[[], None],
    ) -> None:
        """Give the projector time to heal unreadable movies before the index is served.

        An index that lacks a movie would answer that it does not exist. Raises `ReloadNeeded` once
        the partition is healed.
        """
        give_up_at = time.monotonic() + HEALING_MAX_S
        while source.unread and time.monotonic() < give_up_at:
            await asyncio.sleep(ROUND_EVERY_S)
            alive()
            self._require_same_sources()
            await self._require_same_builds(source, loaded)
            await source.read_again(seen)

    def _require_same_sources(self) -> None:
        """Raise `ReloadNeeded` if another generation has become active."""
        active = _Generations(self._generations.get(MOVIES), self._generations.get(CHANGES))
        if active != self._read_from:
            raise ReloadNeeded

    def _reached(self, position: Position) -> None:
        self._round_at = time.monotonic()
        POSITION.set(position)
        if position != self.position:
            self.position = position
            self._freshness.tell()
        if position >= self._wanted:
            self._wanted = START
            self._hurry.clear()

    async def _pause(self, news: asyncio.Event, seconds: float) -> None:
        """Wait for the given time, or for news while a reader waits for a position."""
        if self._hurry.is_set() and asyncio.get_running_loop().time() < self._wanted_until:
            await self._freshness.wait_for(news, POLL_S)
            return
        self._hurry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _require_same_builds(self, source: MovieSource, loaded: Sequence[Checkpoint]) -> None:
        """Raise `ReloadNeeded` after a repair of documents, which the change feed does not show."""
        checkpoints = await asyncio.gather(*map(source.checkpoint, range(len(loaded))))
        for before, now in zip(loaded, checkpoints, strict=True):
            if before.build_token != now.build_token:
                raise ReloadNeeded

    async def _require_same_build(self, changes: PartitionKeys, start: Checkpoint) -> None:
        """Raise `ReloadNeeded` after a repair of the change feed, which may have lacked changes."""
        now = await read_checkpoint(self._reads, self._damage, changes)
        if now.build_token != start.build_token:
            raise ReloadNeeded

    async def _take_in(
        self,
        source: MovieSource,
        changed: ChangedMovies,
        alive: Callable[[], None],
    ) -> None:
        """Read each changed movie, once its partition has applied the change."""
        waiting: dict[PartitionKeys, dict[bytes, Position]] = {}
        for movie, position in changed.movies.items():
            waiting.setdefault(source.partition_of(movie), {})[movie] = position
        while waiting:
            news = self._freshness.news
            read = await asyncio.gather(
                *(source.read(keys, list(found)) for keys, found in waiting.items())
            )
            waiting = {
                keys: found
                for (keys, found), position in zip(waiting.items(), read, strict=True)
                if position < max(found.values())
            }
            if waiting:
                # Some may never arrive: after a restore, read models are replayed one by one.
                self._require_same_sources()
                alive()
                await self._pause(news, POLL_S)
