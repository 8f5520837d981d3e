"""Read movies from their partitions into the index.

A movie whose documents are damaged or missing keeps its last state, marked as stale, until
`read_again` finds them repaired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from query_api.catalogue.index import Index
from query_api.feed.change_feed import MOVIE_ID_BYTES, decoded_checkpoint
from query_api.redis_reads.coalescing import Reads
from query_api.redis_reads.damage import Damage
from shared.errors import DocumentDamaged
from shared.ids import Position
from shared.read_model.checkpoints import Checkpoint
from shared.read_model.clients import AsyncClient
from shared.read_model.generations import GenerationCopy, layout_of
from shared.read_model.keys import MOVIES, PartitionKeys, document_name, partition_of
from shared.read_model.kinds import CATALOGUE, CLOSED, LEFT, MOVIE, PARKED_MARK, STATISTICS

MOVIES_A_READ = 200


class MovieSource:
    """The movies of one generation, read into one index.

    `unread` holds the movies whose documents could not be read.
    """

    def __init__(
        self,
        client: AsyncClient,
        reads: Reads,
        damage: Damage,
        index: Index,
        generation: GenerationCopy,
    ) -> None:
        self._client: Any = client
        self._reads = reads
        self._damage = damage
        self._index = index
        self._generation = generation
        self._layout = layout_of(MOVIES, generation)
        self.unread: set[bytes] = set()

    def partition(self, number: int) -> PartitionKeys:
        return PartitionKeys(MOVIES, self._generation.number, number)

    def partition_of(self, movie: bytes) -> PartitionKeys:
        return self.partition(partition_of(UUID(bytes=movie), self._generation.partitions))

    async def load(self, number: int, alive: Callable[[], None]) -> Checkpoint:
        """Load one partition's movies, then those that left in the order in which they did.

        Returns the partition's checkpoint from before the read.
        """
        keys = self.partition(number)
        checkpoint = await self.checkpoint(number)
        for name in (CATALOGUE, LEFT):
            with self._damage.contained(keys):
                ranked = await self._client.zrange(keys.document(name), 0, -1, withscores=True)
            members = [member for member, rank in ranked if self._is_member(keys, member, rank)]
            for start in range(0, len(members), MOVIES_A_READ):
                await self.read(keys, members[start : start + MOVIES_A_READ])
                # A large partition takes longer than a task may go without a success.
                alive()
        return checkpoint

    def _is_member(self, keys: PartitionKeys, member: bytes, rank: float) -> bool:
        """Whether a member of the catalogue is valid; report it as damage otherwise."""
        try:
            self._layout.rank(member, rank)
        except DocumentDamaged as damaged:
            self._damage.found(keys, None, str(damaged))
            return False
        return len(member) == MOVIE_ID_BYTES

    async def read(self, keys: PartitionKeys, movies: Sequence[bytes]) -> Position:
        """Read movies of one partition into the index; return the partition's position."""
        names = [
            document_name(kind.name, movie.hex())
            for movie in movies
            for kind in (MOVIE, STATISTICS)
        ]
        checkpoint, stored = await self._reads.documents(keys, names)
        position = self._note_position(keys, checkpoint)
        documents = list(zip(movies, stored[::2], stored[1::2], strict=True))
        absent = [movie for movie, details, _ in documents if details is None]
        closed = await self._closed(keys, absent) if absent else {}
        for movie, details, statistics in documents:
            self._put(keys, movie, details, statistics, closed.get(movie))
        await asyncio.sleep(0)
        return position

    async def _closed(
        self, keys: PartitionKeys, movies: Sequence[bytes]
    ) -> Mapping[bytes, bytes | None]:
        """Return the documents of the movies that left the catalogue."""
        names = [document_name(CLOSED.name, movie.hex()) for movie in movies]
        _, stored = await self._reads.documents(keys, names)
        return dict(zip(movies, stored, strict=True))

    def _put(
        self,
        keys: PartitionKeys,
        movie: bytes,
        details: bytes | None,
        statistics: bytes | None,
        closed: bytes | None = None,
    ) -> None:
        """Put a movie into the index; one that cannot be read keeps its last state."""
        document = self._layout.document
        try:
            if closed is not None:
                self._index.leave(movie, document(closed))
            else:
                self._index.put(movie, document(_there(details)), document(_there(statistics)))
        except (DocumentDamaged, msgspec.MsgspecError) as damaged:
            if movie not in self.unread:
                self.unread.add(movie)
                self._damage.found(keys, UUID(bytes=movie), str(damaged))
            self._index.mark_stale(movie)
        else:
            self.unread.discard(movie)

    def _note_position(self, keys: PartitionKeys, stored: bytes | None) -> Position:
        position = _checkpoint(self._damage, keys, stored).position
        self._index.newest = max(self._index.newest, position)
        return position

    async def read_again(self, seen: Position) -> Mapping[bytes, Position]:
        """Read the unreadable movies again; return the ones that are repaired."""
        healed: dict[bytes, Position] = {}
        for movie in list(self.unread)[:MOVIES_A_READ]:
            keys = self.partition_of(movie)
            # A movie whose first event is parked has no documents, but nothing is damaged.
            names = [
                document_name(kind.name, movie.hex())
                for kind in (MOVIE, STATISTICS, PARKED_MARK, CLOSED)
            ]
            checkpoint, stored = await self._reads.documents(keys, names)
            details, statistics, parked, closed = stored
            self.unread.discard(movie)
            if closed is None and details is None and statistics is None and parked is not None:
                continue
            self._note_position(keys, checkpoint)
            self._put(keys, movie, details, statistics, closed)
            if movie not in self.unread:
                healed[movie] = seen
        return healed

    async def checkpoint(self, number: int) -> Checkpoint:
        return await read_checkpoint(self._reads, self._damage, self.partition(number))


async def read_checkpoint(reads: Reads, damage: Damage, keys: PartitionKeys) -> Checkpoint:
    """Read a partition's checkpoint; one that is damaged is reported and raised."""
    stored, _ = await reads.documents(keys, ())
    return _checkpoint(damage, keys, stored)


def _checkpoint(damage: Damage, keys: PartitionKeys, stored: bytes | None) -> Checkpoint:
    with damage.contained(keys):
        return decoded_checkpoint(stored)


def _there(stored: bytes | None) -> bytes:
    """Return a stored document, or raise `DocumentDamaged` if it is missing."""
    if stored is None:
        raise DocumentDamaged("a document is missing")
    return stored
