"""Read entities from the active generations, with the position of their partition.

The reader validates all it reads and never passes on a damaged value: it reports the damage, so
that the projector heals it, and raises `DocumentDamaged`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from query_api.redis_reads.coalescing import Reads, Values
from query_api.redis_reads.damage import Damage
from query_api.redis_reads.generations import ActiveGenerations
from shared.errors import DocumentDamaged, Unavailable
from shared.ids import NO_VERSION, START, Position, StreamId
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint
from shared.read_model.checksum import checked_positions, last_stored
from shared.read_model.generations import GenerationCopy, Layout, layout_of
from shared.read_model.keys import PROFILES, PartitionKeys, document_name, partition_of
from shared.read_model.kinds import PARKED_MARK

ATTEMPTS = 2
# Partitions of generations whose last positions are cached.
SEEN_MAX = 1_024


class Documents(NamedTuple):
    """An entity's documents in the requested order, and their partition's position.

    `build` changes whenever the documents were written by something other than following the log.
    """

    position: Position
    build: UUID
    values: Values

    @property
    def newest(self) -> Position:
        return self.position


class RankedPage(NamedTuple):
    """Members of an entity's sorted set, highest rank first, with documents of the same moment.

    `fields` are the members' fields in a hash, if one was requested; empty if there is none.
    """

    position: Position
    build: UUID
    members: list[tuple[bytes, int]]
    values: Values
    fields: Values


class ChangedRatings(NamedTuple):
    """A user's ratings with the positions of their last changes, read at one moment.

    `size` is the number of positions; too many of them are not read. `reviews` has None for the
    ratings that have not changed since the position asked for; it is empty if there is none.
    """

    position: Position
    values: Values
    size: int
    ratings: list[tuple[bytes, int]]
    positions: dict[bytes, Position]
    reviews: Values


class RatedMovie(NamedTuple):
    """A user's rating of a movie, read at one moment."""

    profile: bytes | None
    rank: int | None
    review: bytes | None


class _Place(NamedTuple):
    """The partition of an entity, and the layout of its values."""

    keys: PartitionKeys
    layout: Layout


class _Seen(NamedTuple):
    """A checkpoint both stored and decoded: most reads find the same one again."""

    stored: bytes | None
    checkpoint: Checkpoint


_NONE = _Seen(None, Checkpoint(START, StreamId(UUID(int=0)), NO_VERSION, 0, UUID(int=0)))
_NOWHERE: tuple[GenerationCopy | None, list[_Place]] = (None, [])


class Reader:
    """Reads entities, and refuses partitions that are lost or have gone back.

    A partition without a checkpoint is not an empty one: the generations are refreshed once, then
    the reader raises `Unavailable`. It does so too for a checkpoint older than one that this
    process has read.
    """

    def __init__(self, reads: Reads, generations: ActiveGenerations, damage: Damage) -> None:
        self._reads = reads
        self._generations = generations
        self._damage = damage
        # The newest checkpoint read of each partition.
        self._seen: dict[PartitionKeys, _Seen] = {}
        # The partitions of the active generation, by projection.
        self._places: dict[str, tuple[GenerationCopy | None, list[_Place]]] = {}

    async def documents(self, projection: str, entity: UUID, kinds: Sequence[str]) -> Documents:
        """Return the entity's documents of the given kinds."""
        hex_id = entity.hex
        return await self.named(projection, entity, [document_name(kind, hex_id) for kind in kinds])

    async def named(self, projection: str, entity: UUID, names: Sequence[str]) -> Documents:
        """Return documents of the entity's partition, by their names after its prefix."""
        for _ in range(ATTEMPTS):
            keys, layout = await self._place(projection, entity)
            seen = self._seen.get(keys, _NONE)
            stored, values = await self._reads.documents(keys, names)
            if stored is not None:
                checkpoint = self._checkpoint(keys, stored, seen)
                try:
                    values = _documents(layout, values)
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
        """Return a page of the entity's sorted set, with the members' fields of a hash."""
        hex_id = entity.hex
        for _ in range(ATTEMPTS):
            keys, layout = await self._place(projection, entity)
            seen = self._seen.get(keys, _NONE)
            try:
                stored, ranked, values, fields = await self._reads.page(
                    keys,
                    document_name(sorted_set, hex_id),
                    limit=limit,
                    after=_stored_after(layout, after),
                    documents=[document_name(kind, hex_id) for kind in kinds],
                    fields_of=None if fields_of is None else document_name(fields_of, hex_id),
                )
                if stored is not None:
                    checkpoint = self._checkpoint(keys, stored, seen)
                    return RankedPage(
                        checkpoint.position,
                        checkpoint.build_token,
                        layout.ranks(ranked),
                        _documents(layout, values),
                        _documents(layout, fields),
                    )
            except DocumentDamaged as damaged:
                raise self._damage.found(keys, entity, str(damaged)) from damaged
            await self._generations.refresh()
        raise Unavailable(f"the read model {projection} is being built")

    async def changed(
        self, user_id: UUID, *, since: Position, positions_max: int, kinds: Sequence[str]
    ) -> ChangedRatings:
        """Return a user's ratings with the positions of their last changes, and documents."""
        for _ in range(ATTEMPTS):
            keys, layout = await self._place(PROFILES, user_id)
            if not layout.has_rating_positions:
                raise Unavailable("the read model of this order is being built")
            seen = self._seen.get(keys, _NONE)
            try:
                stored, values, size, ratings, positions, reviews = await self._reads.changed(
                    keys,
                    user_id.hex,
                    since=last_stored(since),
                    positions_max=positions_max,
                    documents=[document_name(kind, user_id.hex) for kind in kinds],
                )
                if stored is not None:
                    checkpoint = self._checkpoint(keys, stored, seen)
                    return ChangedRatings(
                        checkpoint.position,
                        _documents(layout, values),
                        size,
                        layout.ranks(ratings),
                        checked_positions(chain(*positions), until=checkpoint.position),
                        _documents(layout, reviews),
                    )
            except DocumentDamaged as damaged:
                raise self._damage.found(keys, user_id, str(damaged)) from damaged
            await self._generations.refresh()
        raise Unavailable(f"the read model {PROFILES} is being built")

    async def rated(
        self, movie_id: UUID, users: Sequence[bytes]
    ) -> tuple[Position, Position, Sequence[RatedMovie]]:
        """Return users' ratings of a movie in the requested order, and two positions.

        Those are the oldest and the newest position of the partitions read.
        """
        movie = movie_id.bytes
        for _ in range(ATTEMPTS):
            places = await self._all_places(PROFILES)
            # The indexes of each partition's users in the requested order.
            by_partition: dict[int, list[int]] = {}
            for number, user in enumerate(users):
                by_partition.setdefault(int.from_bytes(user) % len(places), []).append(number)
            asked = [(places[partition], of) for partition, of in by_partition.items()]
            seen = [self._seen.get(place.keys, _NONE) for place, _ in asked]
            read = await asyncio.gather(
                *(
                    self._reads.opinions(place.keys, [users[number].hex() for number in of], movie)
                    for place, of in asked
                )
            )
            positions = [
                self._checkpoint(place.keys, stored, before).position
                for (place, _), (stored, _), before in zip(asked, read, seen, strict=True)
                if stored is not None
            ]
            if len(positions) == len(read):
                found: dict[int, RatedMovie] = {}
                for (place, of), (_, opinions) in zip(asked, read, strict=True):
                    parts = iter(opinions)
                    for number, *opinion in zip(of, parts, parts, parts, strict=True):
                        found[number] = self._rated(place, users[number], movie, opinion)
                in_order = [found[number] for number in range(len(users))]
                return min(positions), max(positions), in_order
            await self._generations.refresh()
        raise Unavailable(f"the read model {PROFILES} is being built")

    async def require_absent(self, projection: str, entity: UUID, *kinds: str) -> None:
        """Raise `DocumentDamaged` if some document of the entity exists.

        The entity was then created, and the missing document has been lost. A parked entity may
        lack any.
        """
        read = await self.documents(projection, entity, (*kinds, PARKED_MARK.name))
        *values, parked = read.values
        if parked is None and any(value is not None for value in values):
            raise await self.lost(projection, entity)

    async def lost(self, projection: str, entity: UUID) -> DocumentDamaged:
        """Report that a document of an entity is missing; return the error to raise."""
        keys, _ = await self._place(projection, entity)
        return self._damage.found(keys, entity, "a document is missing")

    def _rated(
        self, place: _Place, user: bytes, movie: bytes, opinion: Sequence[bytes | Exception | None]
    ) -> RatedMovie:
        keys, layout = place
        try:
            profile, rank, review = map(_readable, opinion)
            return RatedMovie(
                None if profile is None else layout.document(profile),
                None if rank is None else layout.rank(movie, float(rank)),
                None if review is None else layout.document(review),
            )
        except DocumentDamaged as damaged:
            raise self._damage.found(keys, UUID(bytes=user), str(damaged)) from damaged

    def _checkpoint(self, keys: PartitionKeys, stored: bytes, seen: _Seen) -> Checkpoint:
        """Return the decoded checkpoint; raise `Unavailable` if it is older than `seen`.

        Redis has then lost recent writes, and might show data that was revoked or erased since.
        """
        if stored == seen.stored:
            return seen.checkpoint
        try:
            checkpoint = decode_checkpoint(stored)
        except DocumentDamaged as damaged:
            raise self._damage.found(keys, None, str(damaged)) from damaged
        if checkpoint.position < seen.checkpoint.position:
            raise Unavailable(f"the read model {keys.projection} is catching up again")
        if checkpoint.position >= self._seen.get(keys, _NONE).checkpoint.position:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen[keys] = _Seen(stored, checkpoint)
        return checkpoint

    async def _place(self, projection: str, entity: UUID) -> _Place:
        places = await self._all_places(projection)
        return places[partition_of(entity, len(places))]

    async def _all_places(self, projection: str) -> list[_Place]:
        """Return the partitions of the active generation, by number."""
        generation = self._generations.get(projection)
        if generation is None:
            generation = await self._generations.require(projection)
        read_from, places = self._places.get(projection, _NOWHERE)
        if read_from is not generation:
            layout = layout_of(projection, generation)
            places = [
                _Place(PartitionKeys(projection, generation.number, number), layout)
                for number in range(generation.partitions)
            ]
            self._places[projection] = generation, places
        return places


def _readable(value: bytes | Exception | None) -> bytes | None:
    if isinstance(value, Exception):  # A key of another type.
        raise DocumentDamaged(str(value))
    return value


def _documents(layout: Layout, stored: Sequence[bytes | None]) -> Values:
    document = layout.document
    return [None if value is None else document(value) for value in stored]


def _stored_after(layout: Layout, after: tuple[int, bytes] | None) -> tuple[int, bytes] | None:
    if after is None:
        return None
    rank, member = after
    return layout.stored_rank(member, rank), member
