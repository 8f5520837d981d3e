"""Reading entities from the active generations, each with the position that its partition stands
at.

What is read is checked here: a value that is not what was written is never passed on. It is noted,
so that the projector heals it, and raised as `DocumentDamaged`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from query_api.redis_reads.coalescing import CoalescedReads, Page, PartitionRead, Rated, Values
from query_api.redis_reads.damage import Damage
from query_api.redis_reads.generations import ActiveGenerations
from shared.errors import DocumentDamaged, Unavailable
from shared.ids import NO_VERSION, START, Position, StreamId
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint
from shared.read_model.generations import GenerationCopy, Layout, layout_of
from shared.read_model.keys import PROFILES, PartitionKeys, document_name, partition_of
from shared.read_model.kinds import PARKED_MARK

ATTEMPTS = 2
# Partitions of generations whose positions are remembered.
SEEN_MAX = 1_024


class Documents(NamedTuple):
    """An entity's documents, in the order asked, and their partition's position.

    `build` is another one whenever the documents were not written by following the log.
    """

    position: Position
    build: UUID
    values: Values

    @property
    def newest(self) -> Position:
        return self.position


class RankedPage(NamedTuple):
    """Members of an entity's sorted set, highest rank first, with documents of the same moment.

    `fields` are the members' in a hash, if one was asked for; empty if there is none.
    """

    position: Position
    build: UUID
    members: list[tuple[bytes, int]]
    values: Values
    fields: Values


class RatedMovie(NamedTuple):
    """What a user says of a movie, of one moment."""

    profile: bytes | None
    rank: int | None
    review: bytes | None


class _Place(NamedTuple):
    """Where an entity is read, and how its values are stored there."""

    keys: PartitionKeys
    layout: Layout


class _Seen(NamedTuple):
    """A checkpoint as it was read, stored and decoded: most reads find the same one again."""

    stored: bytes | None
    checkpoint: Checkpoint


_NONE = _Seen(None, Checkpoint(START, StreamId(UUID(int=0)), NO_VERSION, 0, UUID(int=0)))
_NOWHERE: tuple[GenerationCopy | None, list[_Place]] = (None, [])


class Reader:
    """A partition without a checkpoint is no empty one: its generation is read again, then it is
    `Unavailable`. So is one that stands at an older position than this process has read before.
    """

    def __init__(
        self, reads: CoalescedReads, generations: ActiveGenerations, damage: Damage
    ) -> None:
        self._reads = reads
        self._generations = generations
        self._damage = damage
        # The newest checkpoint that was read of each partition.
        self._seen: dict[PartitionKeys, _Seen] = {}
        # The partitions of the active generation, by projection.
        self._places: dict[str, tuple[GenerationCopy | None, list[_Place]]] = {}

    async def documents(self, projection: str, entity: UUID, kinds: Sequence[str]) -> Documents:
        """The entity's documents of the given kinds."""
        hex_id = entity.hex
        return await self.named(projection, entity, [document_name(kind, hex_id) for kind in kinds])

    async def named(self, projection: str, entity: UUID, names: Sequence[str]) -> Documents:
        """Documents of the entity's partition, by what follows its prefix."""
        for _ in range(ATTEMPTS):
            keys, layout = await self._place(projection, entity)
            seen = self._seen.get(keys, _NONE)
            read: PartitionRead = await self._reads.documents(keys, names)
            if read.checkpoint is not None:
                checkpoint = self._checkpoint(keys, read.checkpoint, seen)
                try:
                    values = _documents(layout, read.values)
                except DocumentDamaged as damaged:
                    raise self._damage.found(keys, entity, str(damaged)) from damaged
                return Documents(checkpoint.position, checkpoint.build_token, values)
            await self._generations.refresh()
        raise Unavailable(f"the read model {projection} is being built")

    async def page(
        self,
        projection: str,
        entity: UUID,
        sorted_set: str,
        *,
        limit: int,
        after: tuple[int, bytes] | None,
        kinds: Sequence[str] = (),
        fields_of: str | None = None,
    ) -> RankedPage:
        """A page of the entity's sorted set, with what a hash of theirs has of each member."""
        hex_id = entity.hex
        for _ in range(ATTEMPTS):
            keys, layout = await self._place(projection, entity)
            seen = self._seen.get(keys, _NONE)
            try:
                page: Page = await self._reads.page(
                    keys,
                    document_name(sorted_set, hex_id),
                    limit=limit,
                    after=_stored_after(layout, after),
                    documents=[document_name(kind, hex_id) for kind in kinds],
                    fields_of=None if fields_of is None else document_name(fields_of, hex_id),
                )
                if page.checkpoint is not None:
                    checkpoint = self._checkpoint(keys, page.checkpoint, seen)
                    rank = layout.rank
                    return RankedPage(
                        checkpoint.position,
                        checkpoint.build_token,
                        [(member, rank(member, stored)) for member, stored in page.members],
                        _documents(layout, page.values),
                        _documents(layout, page.fields),
                    )
            except DocumentDamaged as damaged:
                raise self._damage.found(keys, entity, str(damaged)) from damaged
            await self._generations.refresh()
        raise Unavailable(f"the read model {projection} is being built")

    async def rated(
        self, movie_id: UUID, users: Sequence[UUID]
    ) -> tuple[Position, Position, Sequence[RatedMovie]]:
        """What users say of a movie, in the order asked, and the oldest and the newest of their
        positions.
        """
        for _ in range(ATTEMPTS):
            by_place: dict[_Place, list[UUID]] = {}
            for user_id in users:
                place = await self._place(PROFILES, user_id)
                by_place.setdefault(place, []).append(user_id)
            seen = [self._seen.get(place.keys, _NONE) for place in by_place]
            read = await asyncio.gather(
                *(
                    self._reads.rated(place.keys, [user_id.hex for user_id in of], movie_id.bytes)
                    for place, of in by_place.items()
                )
            )
            positions = [
                self._checkpoint(place.keys, one.checkpoint, before).position
                for place, one, before in zip(by_place, read, seen, strict=True)
                if one.checkpoint is not None
            ]
            if len(positions) == len(read):
                found = {
                    user_id: self._rated(place, user_id, movie_id, rated)
                    for (place, of), one in zip(by_place.items(), read, strict=True)
                    for user_id, rated in zip(of, one.users, strict=True)
                }
                return min(positions), max(positions), [found[user_id] for user_id in users]
            await self._generations.refresh()
        raise Unavailable(f"the read model {PROFILES} is being built")

    async def require_absent(self, projection: str, entity: UUID, *kinds: str) -> None:
        """Raise `DocumentDamaged` if some document of the entity is there: it was created, and what
        was not found has been lost. A parked entity may lack any.
        """
        read = await self.documents(projection, entity, (*kinds, PARKED_MARK.name))
        *values, parked = read.values
        if parked is None and any(value is not None for value in values):
            raise await self.lost(projection, entity)

    async def lost(self, projection: str, entity: UUID) -> DocumentDamaged:
        """Note that a document of an entity is missing; returns the error to raise."""
        keys, _ = await self._place(projection, entity)
        return self._damage.found(keys, entity, "a document is missing")

    def _rated(self, place: _Place, user_id: UUID, movie_id: UUID, stored: Rated) -> RatedMovie:
        keys, layout = place
        try:
            if stored.damage is not None:
                raise DocumentDamaged(stored.damage)  # noqa: TRY301  # Noted like any other.
            rank = None if stored.rank is None else layout.rank(movie_id.bytes, stored.rank)
            profile, review = _documents(layout, (stored.profile, stored.review))
        except DocumentDamaged as damaged:
            raise self._damage.found(keys, user_id, str(damaged)) from damaged
        return RatedMovie(profile, rank, review)

    def _checkpoint(self, keys: PartitionKeys, stored: bytes, seen: _Seen) -> Checkpoint:
        """The stored checkpoint; raises `Unavailable` for one older than what was `seen` before the
        read began: Redis has lost its tail, and may show what was revoked or erased since.
        """
        if stored == seen.stored:
            return seen.checkpoint
        try:
            checkpoint = decode_checkpoint(stored)
        except DocumentDamaged as damaged:
            raise self._damage.found(keys, None, str(damaged)) from damaged
        if checkpoint.position < seen.checkpoint.position:
            raise Unavailable(f"the read model {keys.projection} is being brought up again")
        if checkpoint.position >= self._seen.get(keys, _NONE).checkpoint.position:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen[keys] = _Seen(stored, checkpoint)
        return checkpoint

    async def _place(self, projection: str, entity: UUID) -> _Place:
        generation = await self._generations.require(projection)
        read_from, places = self._places.get(projection, _NOWHERE)
        if read_from is not generation:
            layout = layout_of(projection, generation)
            places = [
                _Place(PartitionKeys(projection, generation.number, number), layout)
                for number in range(generation.partitions)
            ]
            self._places[projection] = generation, places
        return places[partition_of(entity, generation.partitions)]


def _documents(layout: Layout, stored: Sequence[bytes | None]) -> Values:
    document = layout.document
    return [None if value is None else document(value) for value in stored]


def _stored_after(layout: Layout, after: tuple[int, bytes] | None) -> tuple[int, bytes] | None:
    if after is None:
        return None
    rank, member = after
    return layout.stored_rank(member, rank), member
