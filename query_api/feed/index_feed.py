"""Keep the index up to date: load it from `movies`, then follow `changes` in rounds.

A change names only the movie. A round reads the changes since the last one, and then each of those
movies once from its own partition, all in one round trip; it repeats the read of a partition that
has not yet applied the change. So a movie in the index is never older than the position that the
index reports.

A movie whose documents are damaged or missing keeps its last state, marked as stale, and is read
again until it is repaired; all other movies keep updating.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Gauge

from query_api.catalogue.index import Index
from query_api.feed.change_feed import (
    MOVIE_ID_BYTES,
    ChangedMovies,
    ChangeFeed,
    ReloadNeeded,
    decoded_checkpoint,
)
from query_api.feed.changes import Changes
from query_api.redis_reads.coalescing import Reads
from query_api.redis_reads.damage import Damage
from query_api.redis_reads.freshness import WAIT_MAX_S, Freshness
from query_api.redis_reads.generations import ActiveGenerations
from shared.errors import DocumentDamaged, Unavailable
from shared.ids import START, Position
from shared.read_model.checkpoints import Checkpoint
from shared.read_model.clients import AsyncClient
from shared.read_model.generations import (
    MOVIE_POSITIONS_SINCE,
    GenerationCopy,
    Layout,
    layout_of,
)
from shared.read_model.keys import CHANGES, MOVIES, PartitionKeys, document_name, partition_of
from shared.read_model.kinds import CATALOGUE, CLOSED, LEFT, MOVIE, PARKED_MARK, STATISTICS

# A round costs a millisecond or two, and reads a constantly rated movie once.
ROUND_EVERY_S = 0.1
# After this time, serve an index that lacks the damaged movies rather than none.
HEALING_MAX_S = 30.0
# Rounds are less frequent while nothing changes, unless a reader waits for a position.
QUIET_ROUND_EVERY_S = 0.5
QUIET_AFTER_S = 2.0
MOVIES_A_READ = 200
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


class _Sources(NamedTuple):
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
        self._client: Any = client
        self._reads = reads
        self._generations = generations
        self._freshness = freshness
        self._changes = changes
        self._change_feed = ChangeFeed(client, damage)
        self._damage = damage
        # Movies whose documents could not be read, to be read again.
        self._unread: set[bytes] = set()
        self._sources = _Sources()
        self._round_at = time.monotonic()
        self._index: Index | None = None
        self._wanted = START
        self._wanted_until = 0.0
        self._hurry = asyncio.Event()
        self.position = START
        ROUND_AGE.set_function(lambda: self.round_age_s)
        DAMAGED_MOVIES.set_function(lambda: len(self._unread))

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
        index, movies = self.require(wanted), self._sources.movies
        if self._unread:
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
        self._sources = _Sources(movies, changes)
        start = await self._checkpoint(PartitionKeys(CHANGES, changes.number, 0))
        index = Index()
        self._unread.clear()
        loaded = [
            await self._load(index, movies, number, alive) for number in range(movies.partitions)
        ]
        seen = min(start.position, *(checkpoint.position for checkpoint in loaded))
        # Catch up to the position served before, so that readers never see older data.
        while seen < min(start.position, self.position):
            changed = await self._change_feed.after(changes, seen)
            if changed.last == seen:  # Redis has lost recent writes since the start.
                raise ReloadNeeded
            await self._take_in(index, movies, changed, alive)
            seen = changed.last
        await self._wait_for_healing(index, movies, loaded, seen, alive)
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
            self._require_same_sources()
            if time.monotonic() >= look_at:
                await self._require_same_builds(movies, loaded)
                self._changes.note(await self._read_again(index, movies, seen))
                look_at = time.monotonic() + LOOK_EVERY_S
            news = self._freshness.news
            changed = await self._change_feed.after(changes, seen)
            await self._take_in(index, movies, changed, alive)
            self._changes.note(changed.movies)
            seen = changed.last
            self._reached(seen)
            alive()
            if changed.movies:
                changed_at = time.monotonic()
            quiet = time.monotonic() > changed_at + QUIET_AFTER_S
            await self._pause(news, QUIET_ROUND_EVERY_S if quiet else ROUND_EVERY_S)

    async def _wait_for_healing(
        self,
        index: Index,
        movies: GenerationCopy,
        loaded: Sequence[Checkpoint],
        seen: Position,
        alive: Callable[[], None],
    ) -> None:
        """Give the projector time to heal unreadable movies before the index is served.

        An index that lacks a movie would answer that it does not exist. Raises `ReloadNeeded` once
        the partition is healed.
        """
        give_up_at = time.monotonic() + HEALING_MAX_S
        while self._unread and time.monotonic() < give_up_at:
            await asyncio.sleep(ROUND_EVERY_S)
            alive()
            self._require_same_sources()
            await self._require_same_builds(movies, loaded)
            await self._read_again(index, movies, seen)

    def _require_same_sources(self) -> None:
        """Raise `ReloadNeeded` if another generation has become active."""
        active = _Sources(self._generations.get(MOVIES), self._generations.get(CHANGES))
        if active != self._sources:
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

    async def _require_same_builds(
        self, movies: GenerationCopy, loaded: Sequence[Checkpoint]
    ) -> None:
        """Raise `ReloadNeeded` after a repair of documents, which the change feed does not show."""
        keys = [PartitionKeys(MOVIES, movies.number, number) for number in range(len(loaded))]
        checkpoints = await asyncio.gather(*map(self._checkpoint, keys))
        for before, now in zip(loaded, checkpoints, strict=True):
            if before.build_token != now.build_token:
                raise ReloadNeeded

    async def _load(
        self, index: Index, movies: GenerationCopy, number: int, alive: Callable[[], None]
    ) -> Checkpoint:
        """Load one partition's movies, then those that left in the order in which they did.

        Returns the partition's checkpoint from before the read.
        """
        keys, layout = PartitionKeys(MOVIES, movies.number, number), layout_of(MOVIES, movies)
        checkpoint = await self._checkpoint(keys)
        for name in (CATALOGUE, LEFT):
            with self._damage.contained(keys):
                ranked = await self._client.zrange(keys.document(name), 0, -1, withscores=True)
            members = [
                member for member, rank in ranked if self._is_member(keys, layout, member, rank)
            ]
            for start in range(0, len(members), MOVIES_A_READ):
                await self._put(index, keys, layout, members[start : start + MOVIES_A_READ])
                # A large partition takes longer than a task may go without a success.
                alive()
        return checkpoint

    def _is_member(self, keys: PartitionKeys, layout: Layout, member: bytes, rank: float) -> bool:
        """Whether a member of the catalogue is valid; report it as damage otherwise."""
        try:
            layout.rank(member, rank)
        except DocumentDamaged as damaged:
            self._damage.found(keys, None, str(damaged))
            return False
        return len(member) == MOVIE_ID_BYTES

    async def _take_in(
        self,
        index: Index,
        movies: GenerationCopy,
        changed: ChangedMovies,
        alive: Callable[[], None],
    ) -> None:
        """Read each changed movie, once its partition has applied the change."""
        layout = layout_of(MOVIES, movies)
        waiting: dict[PartitionKeys, dict[bytes, Position]] = {}
        for movie, position in changed.movies.items():
            number = partition_of(UUID(bytes=movie), movies.partitions)
            keys = PartitionKeys(MOVIES, movies.number, number)
            waiting.setdefault(keys, {})[movie] = position
        while waiting:
            news = self._freshness.news
            read = await asyncio.gather(
                *(self._put(index, keys, layout, list(found)) for keys, found in waiting.items())
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

    async def _put(
        self, index: Index, keys: PartitionKeys, layout: Layout, movies: Sequence[bytes]
    ) -> Position:
        """Read movies of one partition into the index; return the partition's position."""
        names = [
            document_name(kind.name, movie.hex())
            for movie in movies
            for kind in (MOVIE, STATISTICS)
        ]
        checkpoint, stored = await self._reads.documents(keys, names)
        position = self._position(keys, checkpoint)
        index.newest = max(index.newest, position)
        documents = list(zip(movies, stored[::2], stored[1::2], strict=True))
        absent = [movie for movie, details, _ in documents if details is None]
        closed = await self._closed(keys, absent) if absent else {}
        for movie, details, statistics in documents:
            left = closed.get(movie)
            self._put_one(index, keys, layout, movie, details, statistics, left)
        await asyncio.sleep(0)
        return position

    async def _closed(
        self, keys: PartitionKeys, movies: Sequence[bytes]
    ) -> Mapping[bytes, bytes | None]:
        """Return the documents of the movies that left the catalogue."""
        names = [document_name(CLOSED.name, movie.hex()) for movie in movies]
        _, stored = await self._reads.documents(keys, names)
        return dict(zip(movies, stored, strict=True))

    def _put_one(
        self,
        index: Index,
        keys: PartitionKeys,
        layout: Layout,
        movie: bytes,
        details: bytes | None,
        statistics: bytes | None,
        closed: bytes | None = None,
    ) -> None:
        """Put a movie into the index; one that cannot be read keeps its last state."""
        try:
            if closed is not None:
                index.leave(movie, layout.document(closed))
            else:
                stored = layout.document(_there(details)), layout.document(_there(statistics))
                index.put(movie, *stored)
        except (DocumentDamaged, msgspec.MsgspecError) as damaged:
            if movie not in self._unread:
                self._unread.add(movie)
                self._damage.found(keys, UUID(bytes=movie), str(damaged))
            index.mark_stale(movie)
        else:
            self._unread.discard(movie)

    async def _read_again(
        self, index: Index, movies: GenerationCopy, seen: Position
    ) -> Mapping[bytes, Position]:
        """Read the unreadable movies again; return the ones that are repaired."""
        layout = layout_of(MOVIES, movies)
        healed: dict[bytes, Position] = {}
        for movie in list(self._unread)[:MOVIES_A_READ]:
            number = partition_of(UUID(bytes=movie), movies.partitions)
            keys = PartitionKeys(MOVIES, movies.number, number)
            # A movie whose first event is parked has no documents, but nothing is damaged.
            names = [
                document_name(kind.name, movie.hex())
                for kind in (MOVIE, STATISTICS, PARKED_MARK, CLOSED)
            ]
            checkpoint, stored = await self._reads.documents(keys, names)
            details, statistics, parked, closed = stored
            self._unread.discard(movie)
            if closed is None and details is None and statistics is None and parked is not None:
                continue
            index.newest = max(index.newest, self._position(keys, checkpoint))
            self._put_one(index, keys, layout, movie, details, statistics, closed)
            if movie not in self._unread:
                healed[movie] = seen
        return healed

    async def _checkpoint(self, keys: PartitionKeys) -> Checkpoint:
        stored = (await self._reads.documents(keys, ()))[0]
        with self._damage.contained(keys):
            return decoded_checkpoint(stored)

    def _position(self, keys: PartitionKeys, stored: bytes | None) -> Position:
        with self._damage.contained(keys):
            return decoded_checkpoint(stored).position


def _there(stored: bytes | None) -> bytes:
    """Return a stored document, or raise `DocumentDamaged` if it is missing."""
    if stored is None:
        raise DocumentDamaged("a document is missing")
    return stored
