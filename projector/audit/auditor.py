"""The audit: a generation's stored documents against a fresh fold of the log, while it is followed.

Every key is read together with its partition's checkpoint, and compared with the fold at just that
position, so nothing has to stand still. What differs is read a second time, once the partition has
passed the head of the log: an erasure takes a person's key from all earlier events at once, and the
generation hears of it a moment later. A repair is a compare-and-set like any other write, with a
build token of its own, so that whoever follows forgets what it has cached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from projector.audit.differences import Difference, differences, entity_of
from projector.audit.shadow import Shadow
from projector.documents.calls import Call, cut
from projector.documents.slices import Parts, Slice
from projector.documents.store import ABSENT, PartitionStore
from projector.documents.working_set import Key, Operation, WorkingSet
from projector.following.fold import mark
from projector.generations.table import Generation
from projector.log.reader import LogReader
from projector.projections import DEFINITIONS
from shared.errors import AuditImpossible
from shared.ids import START, Position, new_uuid7
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from shared.read_model.documents import Parked
from shared.read_model.keys import PartitionKeys, partition_of
from shared.read_model.kinds import PARKED_ENTITIES

# Folded at once; of a longer log the partitions are taken in groups, which bounds the memory.
EVENTS_A_PASS = 2_000_000
SLICES_A_READ = 500
MEMBERS_A_READ = 5_000
CONFIRM_S = 2.0
CONFIRM_POLL_S = 0.02
ATTEMPTS_MAX = 100


class Report(NamedTuple):
    """What an audit found. `position` is the lowest that a partition was compared at."""

    generation: Generation
    events: int
    keys: int
    position: Position
    differences: list[Difference]
    parked: list[Parked]

    @property
    def passed(self) -> bool:
        return not self.differences


class Audit:
    """Not for several threads at once. `on_progress` is told how many events were folded."""

    def __init__(
        self,
        reader: LogReader,
        store: PartitionStore,
        *,
        on_progress: Callable[[int], None] = lambda _events: None,
    ) -> None:
        self._reader = reader
        self._store = store
        self._on_progress = on_progress
        self._events = 0
        self._keys = 0

    def verify(
        self,
        generation: Generation,
        *,
        entities: Collection[UUID] | None = None,
        partitions: Collection[int] | None = None,
        repair: bool = False,
    ) -> Report:
        """Compare a generation, or what it has of some movies or users, or some of its partitions;
        with `repair`, mend it.

        Raises `AuditImpossible`, `LogDiverged`, `EventUnreadable`, `TooManyParked`.
        """
        definition = DEFINITIONS[generation.projection]
        if generation.definition_version != definition.version:
            raise AuditImpossible(
                f"generation {generation.number} of {generation.projection} is of definition"
                f" v{generation.definition_version}, this release has v{definition.version}"
            )
        self._events = self._keys = 0
        chosen = partitions
        if entities is not None:
            chosen = {partition_of(one, generation.partitions) for one in entities}
        compared = [one for one in generation.all_keys if chosen is None or one.partition in chosen]
        found: list[Difference] = []
        lowest: Position | None = None
        for group in self._groups(compared):
            shadows = [Shadow(definition, keys, entities) for keys in group]
            self._fold(shadows)
            unexpected = self._unexpected(generation, shadows, entities)
            for shadow in shadows:
                suspects = {*self._suspects(shadow), *unexpected[shadow.keys.partition]}
                found += self._settle(shadow, suspects, entities, repair=repair)
                lowest = min(shadow.position, lowest or shadow.position)
        parked = [one for part in self._store.parked(compared) for one in part]
        return Report(generation, self._events, self._keys, lowest or START, found, parked)

    def discard(self, generation: Generation, entity: UUID, *, discarded: bool = True) -> None:
        """Leave a parked entity's documents as they were before the event that parked it, or not.

        Raises `AuditImpossible` if it is not parked.
        """
        keys = generation.keys(partition_of(entity, generation.partitions))
        for _ in range(ATTEMPTS_MAX):
            (stored,) = self._store.checkpoints([keys])
            self._checkpoint(keys, stored)
            (parked,) = self._store.parked([keys])
            found = next((one for one in parked if one.entity == entity), None)
            if found is None:
                raise AuditImpossible(f"{entity} is not parked in {generation.projection}")
            working_set = WorkingSet(complete=False)
            mark(working_set, msgspec.structs.replace(found, discarded=discarded))
            if self._write(keys, stored, working_set.take_operations()):
                return
        raise AuditImpossible(f"{keys.prefix} is written too often: try again")

    def _groups(self, partitions: Sequence[PartitionKeys]) -> list[Sequence[PartitionKeys]]:
        passes = min(len(partitions), self._reader.head() // EVENTS_A_PASS + 1)
        return [partitions[first::passes] for first in range(passes)]

    def _fold(self, shadows: Sequence[Shadow]) -> None:
        """Fold the log up to where all of these partitions stand."""
        until = min(
            self._checkpoint(shadow.keys, stored).position
            for shadow, stored in zip(
                shadows, self._store.checkpoints([one.keys for one in shadows]), strict=True
            )
        )
        definition = shadows[0].definition
        for batch in self._reader.batches(definition, after=START, until=until):
            shares, last = definition.shares(batch), batch[-1].place
            for shadow in shadows:
                shadow.fold(shares.get(shadow.keys.partition, ()), last)
            self._events += len(batch)
            self._on_progress(self._events)

    def _unexpected(
        self,
        generation: Generation,
        shadows: Sequence[Shadow],
        entities: Collection[UUID] | None,
    ) -> dict[int, set[Key]]:
        """The stored keys that the fold does not have."""
        by_partition = {shadow.keys.partition: shadow for shadow in shadows}
        unexpected: dict[int, set[Key]] = {number: set() for number in by_partition}
        if entities is not None:
            for own in unexpected.values():
                own.add((PARKED_ENTITIES, ""))
        for partition, name in self._store.stored_keys(generation.projection, generation.number):
            kind, _, suffix = name.partition(":")
            key = (kind, suffix)
            shadow = by_partition.get(partition)
            if shadow is None or shadow.holds(key):
                continue
            if entities is None or entity_of(key) in entities:
                unexpected[partition].add(key)
        return unexpected

    def _suspects(self, shadow: Shadow) -> Iterator[Key]:
        """The keys with a difference at the first look."""
        for slices in self._reads(shadow):
            _, stored = self._read(shadow, slices)
            for part, parts in zip(slices, stored, strict=True):
                if any(differences(shadow, part, parts)):
                    yield part.key

    def _reads(self, shadow: Shadow) -> Iterator[list[Slice]]:
        """All that the fold has, in pieces that hold nobody up; at least one."""
        slices: list[Slice] = []
        members = 0
        for key in shadow.all_keys():
            self._keys += 1
            for part in shadow.slices(key):
                members += shadow.size(part)
                if slices and (len(slices) == SLICES_A_READ or members > MEMBERS_A_READ):
                    yield slices
                    slices, members = [], shadow.size(part)
                slices.append(part)
        yield slices

    def _settle(
        self,
        shadow: Shadow,
        suspects: set[Key],
        entities: Collection[UUID] | None,
        *,
        repair: bool,
    ) -> list[Difference]:
        """The differences that stay."""
        if not suspects:
            return []
        self._let_pass(shadow.keys, self._reader.head())
        (parked,) = self._store.parked([shadow.keys])
        passed_over = {one.entity for one in parked if one.discarded}
        found: list[Difference] = []
        for key in sorted(suspects):
            for attempt in range(ATTEMPTS_MAX):
                stored, standing = self._compared(shadow, key)
                standing = [
                    one
                    for one in standing
                    if one.entity not in passed_over
                    and (entities is None or one.entity in entities)
                ]
                if attempt == 0:
                    found += standing
                if not standing or not repair:
                    break
                mending = [operation for one in standing for operation in one.mending]
                self._write(shadow.keys, stored, mending)
            else:
                raise AuditImpossible(f"{shadow.keys.prefix}{key[0]}:{key[1]} cannot be repaired")
        return found

    def _compared(self, shadow: Shadow, key: Key) -> tuple[bytes, list[Difference]]:
        """The whole key at one moment, and the checkpoint with it."""
        while True:
            slices = list(shadow.slices(key))
            checkpoint, stored = self._read(shadow, slices)
            if shadow.type(key) == slices[0].type:
                break
        found = [
            difference
            for part, parts in zip(slices, stored, strict=True)
            for difference in differences(shadow, part, parts)
        ]
        return checkpoint, found

    def _read(self, shadow: Shadow, slices: Sequence[Slice]) -> tuple[bytes, list[Parts | None]]:
        """Read the slices, and bring the fold to where they stand."""
        encoded, stored = self._store.snapshot(shadow.keys, slices)
        checkpoint = self._checkpoint(shadow.keys, encoded)
        if checkpoint.position < shadow.position:
            raise AuditImpossible(
                f"{shadow.keys.prefix} went back to position {checkpoint.position}: audit it again"
            )
        batches = self._reader.batches(
            shadow.definition, after=shadow.position, until=checkpoint.position
        )
        for batch in batches:
            shares = shadow.definition.shares(batch)
            shadow.fold(shares.get(shadow.keys.partition, ()), batch[-1].place)
        shadow.require_same_log(checkpoint)
        return encoded, stored

    def _write(self, keys: PartitionKeys, stored: bytes, operations: Sequence[Operation]) -> bool:
        """Write unless somebody has written meanwhile; who follows is made to read anew."""
        checkpoint = msgspec.structs.replace(decode_checkpoint(stored), build_token=new_uuid7())
        written = encode_checkpoint(checkpoint)
        calls: list[Call] = []
        for part in cut(operations):
            calls.append(Call(keys, stored if not calls else written, written, part))
        return not any(self._store.apply(calls))

    def _let_pass(self, keys: PartitionKeys, head: Position) -> None:
        """Wait until the partition has passed the head, if somebody follows it."""
        waited_until = time.monotonic() + CONFIRM_S
        while time.monotonic() < waited_until:
            (stored,) = self._store.checkpoints([keys])
            if self._checkpoint(keys, stored).position >= head:
                return
            time.sleep(CONFIRM_POLL_S)

    @staticmethod
    def _checkpoint(keys: PartitionKeys, stored: bytes) -> Checkpoint:
        if stored == ABSENT:
            raise AuditImpossible(
                f"{keys.prefix} has no readable checkpoint: a projector rebuilds it"
            )
        return decode_checkpoint(stored)
