"""Reading entities from the active generations, each with the position that its partition stands
at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from query_api.coalescing import CoalescedReads, Page, PartitionRead, Rated, Values
from query_api.generations import ActiveGenerations
from shared.errors import Unavailable
from shared.ids import Position
from shared.read_model import PROFILES, Checkpoint, PartitionKeys, partition_of

ATTEMPTS = 2

_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode


class Documents(NamedTuple):
    """An entity's documents as stored, in the order asked, and their partition's position.

    `build` is another one whenever the documents were not written by following the log.
    """

    position: Position
    build: UUID
    values: Values


class RankedPage(NamedTuple):
    """Members of an entity's sorted set, highest rank first, with documents of the same moment.

    `fields` are the members' in a hash, if one was asked for; empty if there is none.
    """

    position: Position
    build: UUID
    members: list[tuple[bytes, float]]
    values: Values
    fields: Values


class Reader:
    """A partition without a checkpoint is no empty one: its generation is read again, then it is
    `Unavailable`.
    """

    def __init__(self, reads: CoalescedReads, generations: ActiveGenerations) -> None:
        self._reads = reads
        self._generations = generations

    async def documents(self, projection: str, entity: UUID, kinds: Sequence[str]) -> Documents:
        """The entity's documents of the given kinds."""
        hex_id = entity.hex
        return await self.named(projection, entity, [f"{kind}:{hex_id}" for kind in kinds])

    async def named(self, projection: str, entity: UUID, names: Sequence[str]) -> Documents:
        """Documents of the entity's partition, by what follows its prefix."""
        for _ in range(ATTEMPTS):
            keys = await self._keys(projection, entity)
            read: PartitionRead = await self._reads.documents(keys, names)
            if read.checkpoint is not None:
                checkpoint = _decode_checkpoint(read.checkpoint)
                return Documents(checkpoint.position, checkpoint.build_token, read.values)
            await self._generations.refresh()
        raise Unavailable(f"the read model {projection} is being built")

    async def page(
        self,
        projection: str,
        entity: UUID,
        sorted_set: str,
        *,
        limit: int,
        after: tuple[float, bytes] | None,
        kinds: Sequence[str] = (),
        fields_of: str | None = None,
    ) -> RankedPage:
        """A page of the entity's sorted set, with what a hash of theirs has of each member."""
        hex_id = entity.hex
        for _ in range(ATTEMPTS):
            keys = await self._keys(projection, entity)
            page: Page = await self._reads.page(
                keys,
                f"{sorted_set}:{hex_id}",
                limit=limit,
                after=after,
                documents=[f"{kind}:{hex_id}" for kind in kinds],
                fields_of=None if fields_of is None else f"{fields_of}:{hex_id}",
            )
            if page.checkpoint is not None:
                checkpoint = _decode_checkpoint(page.checkpoint)
                position, build = checkpoint.position, checkpoint.build_token
                return RankedPage(position, build, page.members, page.values, page.fields)
            await self._generations.refresh()
        raise Unavailable(f"the read model {projection} is being built")

    async def rated(
        self, movie_id: UUID, users: Sequence[UUID]
    ) -> tuple[Position, Sequence[Rated]]:
        """What users say of a movie, in the order asked, and the oldest of their positions."""
        for _ in range(ATTEMPTS):
            by_partition: dict[PartitionKeys, list[UUID]] = {}
            for user_id in users:
                keys = await self._keys(PROFILES, user_id)
                by_partition.setdefault(keys, []).append(user_id)
            read = await asyncio.gather(
                *(
                    self._reads.rated(keys, [user_id.hex for user_id in of], movie_id.bytes)
                    for keys, of in by_partition.items()
                )
            )
            positions = [_decode_checkpoint(one.checkpoint) for one in read if one.checkpoint]
            if len(positions) == len(read):
                found = {
                    user_id: rated
                    for of, one in zip(by_partition.values(), read, strict=True)
                    for user_id, rated in zip(of, one.users, strict=True)
                }
                position = min(checkpoint.position for checkpoint in positions)
                return position, [found[user_id] for user_id in users]
            await self._generations.refresh()
        raise Unavailable(f"the read model {PROFILES} is being built")

    async def _keys(self, projection: str, entity: UUID) -> PartitionKeys:
        generation = await self._generations.require(projection)
        partition = partition_of(entity, generation.partitions)
        return PartitionKeys(projection, generation.number, partition)
