"""The audit: compare a generation's stored documents with a fresh fold of the log.

The generation is followed meanwhile. The audit reads every key together with its partition's
checkpoint and compares it with the fold at exactly that position, so nothing has to be paused. It
reads a key that differs a second time once the partition has passed the head of the log: an erasure
takes the person's key from all earlier events at once, and the generation applies it a moment
later. A repair is a compare-and-set like every other write; its new build token makes followers
drop their caches.
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
from projector.documents.key_ranges import KeyRange, Parts
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

# Events folded at once; for a longer log the audit takes the partitions in groups to bound memory.
EVENTS_A_PASS = 2_000_000
RANGES_A_READ = 500
MEMBERS_A_READ = 5_000
CONFIRM_S = 2.0
CONFIRM_POLL_S = 0.02
ATTEMPTS_MAX = 100


class Report(NamedTuple):
    """The result of an audit; `position` is the lowest at which a partition was compared."""

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
    """Audit generations; `on_progress` receives the number of events folded so far.

    Not thread-safe.
    """

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
        """Compare a generation, or only some entities or partitions; with `repair`, mend it.

        Raises `AuditImpossible`, `LogDiverged`, `EventUnreadable`, `TooManyParked`.
        """
        definition = DEFINITIONS[generation.projection]
        if generation.definition_version != definition.version:
            raise AuditImpossible(
                f"generation {generation.number} of {generation.projection} has definition"
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
        """Accept a parked entity's documents as they were before the faulty event, or undo that.

        Raises `AuditImpossible` if the entity is not parked.
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
        raise AuditImpossible(f"{keys.prefix} changes too often: try again")

    def _groups(self, partitions: Sequence[PartitionKeys]) -> list[Sequence[PartitionKeys]]:
        passes = min(len(partitions), self._reader.head() // EVENTS_A_PASS + 1)
        return [partitions[first::passes] for first in range(passes)]

    def _fold(self, shadows: Sequence[Shadow]) -> None:
        """Fold the log up to the lowest checkpoint of the partitions."""
        until = min(
            self._checkpoint(shadow.keys, stored).position
            for shadow, stored in zip(
                shadows, self._store.checkpoints([one.keys for one in shadows]), strict=True
            )
        )
        definition = shadows[0].definition
        for events in self._reader.past(until).fetches(definition, after=START, until=until):
            slices, last = definition.by_partition(events), events[-1].place
            for shadow in shadows:
                shadow.fold(slices.get(shadow.keys.partition, ()), last)
            self._events += len(events)
            self._on_progress(self._events)

    def _unexpected(
        self,
        generation: Generation,
        shadows: Sequence[Shadow],
        entities: Collection[UUID] | None,
    ) -> dict[int, set[Key]]:
        """Return the stored keys that the fold does not have."""
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
        """Yield the keys that differ at the first look."""
        for ranges in self._reads(shadow):
            _, stored = self._read(shadow, ranges)
            for part, parts in zip(ranges, stored, strict=True):
                if any(differences(shadow, part, parts)):
                    yield part.key

    def _reads(self, shadow: Shadow) -> Iterator[list[KeyRange]]:
        """Yield the fold's keys in groups that do not delay other clients; at least one group."""
        ranges: list[KeyRange] = []
        members = 0
        for key in shadow.all_keys():
            self._keys += 1
            for part in shadow.ranges(key):
                members += shadow.size(part)
                if ranges and (len(ranges) == RANGES_A_READ or members > MEMBERS_A_READ):
                    yield ranges
                    ranges, members = [], shadow.size(part)
                ranges.append(part)
        yield ranges

    def _settle(
        self,
        shadow: Shadow,
        suspects: set[Key],
        entities: Collection[UUID] | None,
        *,
        repair: bool,
    ) -> list[Difference]:
        """Return the differences that remain at the second look."""
        if not suspects:
            return []
        self._let_pass(shadow.keys, self._reader.head())
        (parked,) = self._store.parked([shadow.keys])
        passed_over = {one.entity for one in parked if one.discarded}
        found: list[Difference] = []
        for key in sorted(suspects):
            for attempt in range(ATTEMPTS_MAX):
                stored, remaining = self._compared(shadow, key)
                remaining = [
                    one
                    for one in remaining
                    if one.entity not in passed_over
                    and (entities is None or one.entity in entities)
                ]
                if attempt == 0:
                    found += remaining
                if not remaining or not repair:
                    break
                mending = [operation for one in remaining for operation in one.mending]
                self._write(shadow.keys, stored, mending)
            else:
                raise AuditImpossible(f"{shadow.keys.prefix}{key[0]}:{key[1]} cannot be repaired")
        return found

    def _compared(self, shadow: Shadow, key: Key) -> tuple[bytes, list[Difference]]:
        """Read the whole key and the checkpoint in one transaction, and compare."""
        while True:
            ranges = list(shadow.ranges(key))
            checkpoint, stored = self._read(shadow, ranges)
            if shadow.type(key) == ranges[0].type:
                break
        found = [
            difference
            for part, parts in zip(ranges, stored, strict=True)
            for difference in differences(shadow, part, parts)
        ]
        return checkpoint, found

    def _read(self, shadow: Shadow, ranges: Sequence[KeyRange]) -> tuple[bytes, list[Parts | None]]:
        """Read the ranges, and advance the fold to their checkpoint."""
        encoded, stored = self._store.snapshot(shadow.keys, ranges)
        checkpoint = self._checkpoint(shadow.keys, encoded)
        if checkpoint.position < shadow.position:
            raise AuditImpossible(
                f"{shadow.keys.prefix} went back to position {checkpoint.position}: audit again"
            )
        read = self._reader.fetches(
            shadow.definition, after=shadow.position, until=checkpoint.position
        )
        for events in read:
            slices = shadow.definition.by_partition(events)
            shadow.fold(slices.get(shadow.keys.partition, ()), events[-1].place)
        shadow.require_same_log(checkpoint)
        return encoded, stored

    def _write(self, keys: PartitionKeys, stored: bytes, operations: Sequence[Operation]) -> bool:
        """Write unless the partition has changed; the new build token makes followers reload it."""
        checkpoint = msgspec.structs.replace(decode_checkpoint(stored), build_token=new_uuid7())
        written = encode_checkpoint(checkpoint)
        calls: list[Call] = []
        for part in cut(operations):
            calls.append(Call(keys, stored if not calls else written, written, part))
        return not any(self._store.apply(calls))

    def _let_pass(self, keys: PartitionKeys, head: Position) -> None:
        """Wait until the partition has passed the head, or a timeout if nothing follows it."""
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
