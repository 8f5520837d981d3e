"""Building one share of a generation: fold the log in memory, then write the documents in bulk.

Nobody reads a generation that is being built, so its partitions' checkpoints hold a marker with the
build token until the very last call of each, which sets the real one. A second builder of the same
share puts its own marker there first: from then on the first one's calls are refused, and it gives
up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from projector.documents import Operation, WorkingSet
from projector.fold import PartitionFold
from projector.generations import Build, Generations
from projector.log_reader import LogReader
from projector.partition import checkpoint_at
from projector.partition_store import (
    Call,
    PartitionStore,
    building_marker,
    cut,
)
from projector.projections import DEFINITIONS, LogEvent, Projection
from shared.ids import START, Position, new_uuid7
from shared.read_model import PartitionKeys

# Members and fields are written as they come; documents once, at the end, since they are read
# again and again, and of a stream the last entries.
FLUSH_COMMANDS = 20_000
PROGRESS_EVERY_S = 0.5
HELD_BACK_POLL_S = 0.5
CALLS_A_ROUND_TRIP = 8

log = structlog.get_logger()


class _TakenOver(Exception):
    """Another builder has this share now, or this one has been told to stop."""


class Builder:
    """Builds shares, one at a time, on the caller's thread.

    `keep_on` is asked between fetches; `events_per_s` bounds how fast the log is read.
    """

    def __init__(
        self,
        reader: LogReader,
        store: PartitionStore,
        generations: Generations,
        *,
        keep_on: Callable[[], bool] = lambda: True,
        events_per_s: float | None = None,
    ) -> None:
        self._reader = reader
        self._store = store
        self._generations = generations
        self._keep_on = keep_on
        self._events_per_s = events_per_s

    def build(self, projection: str, number: int, share: int) -> bool:
        """Build a share from the log as it stands now.

        False if it was built already, another builder took it over, or it was told to stop.
        """
        token = new_uuid7()
        target = self._reader.head()
        build = self._generations.take_build(projection, number, share, token, target)
        if build is None:
            return False
        share_log = log.bind(projection=projection, generation=number, share=share)
        started = time.monotonic()
        shares = self._take_partitions(build, token)
        try:
            folded = self._fold(build, token, shares, target)
            for partition in shares:
                self._write(partition, partition.working_set.take_operations(), last=True)
            self._report(build, token, folded)
        except _TakenOver:
            share_log.info("build_given_up")
            self._drop_if_purged(build)
            return False
        self._generations.finish_build(build, token)
        seconds = round(time.monotonic() - started, 2)
        share_log.info("build_finished", events=folded, seconds=seconds)
        return True

    def _take_partitions(self, build: Build, token: UUID) -> list[_BuiltPartition]:
        """Mark each partition as this builder's; drop what an interrupted build left in it."""
        definition = DEFINITIONS[build.projection]
        taken = []
        for number in build.partitions:
            keys = PartitionKeys(build.projection, build.number, number)
            partition = _BuiltPartition(definition, keys, token)
            self._store.replace_checkpoint(keys, partition.marker)
            if build.attempts > 1:
                self._store.drop(keys)
                self._store.replace_checkpoint(keys, partition.marker)
            taken.append(partition)
        return taken

    def _drop_if_purged(self, build: Build) -> None:
        """A purge under way beside the build may have missed what was written after it."""
        generation = self._generations.get(build.projection, build.number)
        if generation is None or generation.state == "purged":
            for number in build.partitions:
                self._store.drop(PartitionKeys(build.projection, build.number, number))

    def _fold(
        self, build: Build, token: UUID, shares: Sequence[_BuiltPartition], target: Position
    ) -> int:
        """Fold the log up to `target`; returns how many events that were."""
        definition = DEFINITIONS[build.projection]
        folds = {partition.keys.partition: partition.fold for partition in shares}
        folded = 0
        started_at = reported_at = time.monotonic()
        for batch in self._reader.batches(definition, after=START, until=target):
            if not self._keep_on():
                raise _TakenOver
            for number, events in definition.shares(batch).items():
                if number in folds:
                    for event in events:
                        folds[number](event)
            folded += len(batch)
            self._hold_back(build, token, folded, started_at)
            for partition in shares:
                partition.last = batch[-1]
                if partition.working_set.pending_commands > FLUSH_COMMANDS:
                    operations = partition.working_set.take_operations(final=False)
                    self._write(partition, operations, last=False)
            if time.monotonic() - reported_at > PROGRESS_EVERY_S:
                reported_at = time.monotonic()
                self._report(build, token, folded)
        return folded

    def _report(self, build: Build, token: UUID, folded: int) -> None:
        if not self._generations.report_progress(build, token, folded):
            raise _TakenOver

    def _hold_back(self, build: Build, token: UUID, folded: int, started_at: float) -> None:
        """Wait while more events were folded than are allowed for the time that has passed."""
        if self._events_per_s is None:
            return
        due_at = started_at + folded / self._events_per_s
        while self._keep_on() and (wait_s := due_at - time.monotonic()) > 0:
            self._report(build, token, folded)
            time.sleep(min(wait_s, HELD_BACK_POLL_S))

    def _write(
        self, partition: _BuiltPartition, operations: Sequence[Operation], *, last: bool
    ) -> None:
        """Write operations in calls of bounded size; with `last`, the final one sets the
        checkpoint.
        """
        calls = [
            Call(partition.keys, partition.marker, partition.marker, part)
            for part in cut(operations)
        ]
        if last:
            calls.append(Call(partition.keys, partition.marker, partition.final_checkpoint(), ()))
        for start in range(0, len(calls), CALLS_A_ROUND_TRIP):
            results = self._store.apply(calls[start : start + CALLS_A_ROUND_TRIP])
            if any(standing is not None for standing in results):
                raise _TakenOver


class _BuiltPartition:
    """A partition while it is built."""

    def __init__(self, definition: Projection, keys: PartitionKeys, token: UUID) -> None:
        self.keys = keys
        self.marker = building_marker(definition.version, token)
        self.working_set = WorkingSet(complete=True)
        self.fold = PartitionFold(definition, keys, self.working_set, {}).fold
        self.last: LogEvent | None = None
        self._definition = definition
        self._token = token

    def final_checkpoint(self) -> bytes:
        """At the last event folded; of an empty log, the marker itself."""
        if self.last is None:
            return self.marker
        return checkpoint_at(self.last.place, self._definition.version, self._token)
