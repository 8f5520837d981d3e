"""Building partitions from the log: fold it in memory, then write the documents in bulk.

Several generations are built in one pass over the log. Nobody reads a generation that is being
built, so its partitions' checkpoints hold a marker with the build token until the very last call of
each, which sets the real one. A second builder of the same share puts its own marker there first:
from then on the first one's calls are refused, and it gives up.

A lost partition of a generation that is read is rebuilt in place. It has no checkpoint meanwhile,
so that nobody reads it; the marker is another key, and the last call puts the checkpoint there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

import structlog

from projector.documents.calls import Call, cut
from projector.documents.store import PartitionStore, building_marker
from projector.documents.working_set import Operation, WorkingSet
from projector.following.fold import PartitionFold
from projector.following.partition import checkpoint_at
from projector.generations.table import Build, Generation, Generations
from projector.log.reader import BATCH_EVENTS, LogReader
from projector.projections import DEFINITIONS, LogEvent, Projection
from shared.ids import START, Position, new_uuid7
from shared.read_model.keys import CHECKPOINT, REBUILDING, PartitionKeys

# Members and fields are written as they come; documents once, at the end, since they are read
# again and again, and of a stream the last entries.
FLUSH_COMMANDS = 20_000
PROGRESS_EVERY_S = 0.5
HELD_BACK_POLL_S = 0.5
CALLS_A_ROUND_TRIP = 8

log = structlog.get_logger()


class _TakenOver(Exception):
    """Another builder has this share now, or this one has been told to stop."""


Kind = TypeVar("Kind", bound="_Built")


class ShareId(NamedTuple):
    """One share of a generation's partitions."""

    projection: str
    number: int
    share: int


class Builder:
    """Builds on the caller's thread.

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
        return bool(self.build_together([ShareId(projection, number, share)]))

    def build_together(self, wanted: Sequence[ShareId]) -> list[ShareId]:
        """Build several shares in one pass over the log; return those that are built."""
        token = new_uuid7()
        until = self._reader.head()
        builds = [self._generations.take_build(*one, token, until) for one in wanted]
        shares = [_Share(self._store, self._generations, one, token) for one in builds if one]
        return [one.name for one in self._build(shares, until)]

    def rebuild(self, generation: Generation, partitions: Sequence[int]) -> bool:
        """Rebuild lost partitions of a generation in place; False if it was told to stop.

        The caller holds the projection's bootstrap lock.
        """
        token = new_uuid7()
        lost = _LostPartitions(self._store, generation, partitions, token)
        return bool(self._build([lost], self._reader.head()))

    def _build(self, wanted: Sequence[Kind], until: Position) -> list[Kind]:
        started = time.monotonic()
        under_way = list(wanted)
        for one in wanted:
            one.take()
        reading = list(under_way)
        start, folded = Position(START + 1), 0
        reported_at = started
        while reading and start <= until:
            events = self._reader.fetch(
                start, BATCH_EVENTS, personal=any(one.definition.personal for one in reading)
            )
            while events and events[-1].position > until:
                events.pop()
            if not events:
                break
            folded += len(events)
            report = time.monotonic() - reported_at > PROGRESS_EVERY_S
            if report:
                reported_at = time.monotonic()
            for one in list(reading):
                try:
                    self._require_going_on()
                    more = one.fold(events)
                    if report:
                        one.report()
                    self._hold_back(one, folded, started)
                except _TakenOver:
                    under_way.remove(one)
                    one.give_up()
                    more = False
                if not more:
                    reading.remove(one)
            start = Position(events[-1].position + 1)
        return [one for one in under_way if self._finish(one, started)]

    def _finish(self, built: _Built, started: float) -> bool:
        try:
            self._require_going_on()
            built.finish()
        except _TakenOver:
            built.give_up()
            return False
        seconds = round(time.monotonic() - started, 2)
        built.log.info("build_finished", events=built.folded, seconds=seconds)
        return True

    def _require_going_on(self) -> None:
        if not self._keep_on():
            raise _TakenOver

    def _hold_back(self, built: _Built, folded: int, started: float) -> None:
        """Wait while more events were folded than are allowed for the time that has passed."""
        if self._events_per_s is None:
            return
        due_at = started + folded / self._events_per_s
        while self._keep_on() and (wait_s := due_at - time.monotonic()) > 0:
            built.report()
            time.sleep(min(wait_s, HELD_BACK_POLL_S))


class _Built:
    """Partitions of one generation while they are built."""

    def __init__(
        self,
        store: PartitionStore,
        projection: str,
        number: int,
        partitions: Sequence[int],
        token: UUID,
        *,
        marked_at: str,
    ) -> None:
        self._store = store
        self.definition = DEFINITIONS[projection]
        self.partitions = [
            _BuiltPartition(self.definition, PartitionKeys(projection, number, one), token)
            for one in partitions
        ]
        self.folded = 0
        self.log = log.bind(projection=projection, generation=number)
        self._marked_at = marked_at

    def take(self) -> None:
        """Mark each partition as this builder's, and drop what else stands in it: an interrupted
        build has left it, or another log's generation of the same number.
        """
        for one in self.partitions:
            self._store.mark(one.keys, self._marked_at, one.marker)
        self._store.drop([one.keys for one in self.partitions], but_for=self._marked_at)

    def fold(self, events: Sequence[LogEvent]) -> bool:
        """Fold a batch; False if it holds an event that cannot be folded, at which it ends."""
        readable = events[: self.definition.readable(events)]
        if readable:
            shares = self.definition.shares(readable)
            for one in self.partitions:
                for event in shares.get(one.keys.partition, ()):
                    one.fold(event)
                one.last = readable[-1]
                if one.working_set.pending_commands > FLUSH_COMMANDS:
                    self._write(one, one.working_set.take_operations(final=False))
            self.folded += len(readable)
        return len(readable) == len(events)

    def report(self) -> None:
        """Keep the progress. Raises `_TakenOver` if another builder has taken over."""

    def give_up(self) -> None:
        self.log.info("build_given_up")

    def finish(self) -> None:
        """Write all that is pending, and the checkpoints."""
        for one in self.partitions:
            self._write(one, one.working_set.take_operations(), last=True)

    def _write(
        self, partition: _BuiltPartition, operations: Sequence[Operation], *, last: bool = False
    ) -> None:
        """Write operations in calls of bounded size; with `last`, the final one sets the
        checkpoint.
        """
        marker = partition.marker
        calls = [
            Call(partition.keys, marker, marker, part, self._marked_at) for part in cut(operations)
        ]
        if last:
            final = partition.final_checkpoint()
            calls.append(Call(partition.keys, marker, final, (), self._marked_at))
        for start in range(0, len(calls), CALLS_A_ROUND_TRIP):
            results = self._store.apply(calls[start : start + CALLS_A_ROUND_TRIP])
            if any(standing is not None for standing in results):
                raise _TakenOver


class _Share(_Built):
    """A share of a generation that nobody reads yet."""

    def __init__(
        self, store: PartitionStore, generations: Generations, build: Build, token: UUID
    ) -> None:
        super().__init__(
            store,
            build.projection,
            build.number,
            build.partitions,
            token,
            marked_at=CHECKPOINT,
        )
        self.log = self.log.bind(share=build.share)
        self.name = ShareId(build.projection, build.number, build.share)
        self._generations = generations
        self._build = build
        self._token = token

    def report(self) -> None:
        if not self._generations.report_progress(self._build, self._token, self.folded):
            raise _TakenOver

    def give_up(self) -> None:
        super().give_up()
        # A purge under way beside the build may have missed what was written after it.
        generation = self._generations.get(self._build.projection, self._build.number)
        if generation is None or generation.state == "purged":
            self._store.drop([one.keys for one in self.partitions])

    def finish(self) -> None:
        super().finish()
        self.report()
        self._generations.finish_build(self._build, self._token)


class _LostPartitions(_Built):
    """Partitions without a checkpoint of a generation that is read and followed."""

    def __init__(
        self,
        store: PartitionStore,
        generation: Generation,
        partitions: Sequence[int],
        token: UUID,
    ) -> None:
        super().__init__(
            store,
            generation.projection,
            generation.number,
            partitions,
            token,
            marked_at=REBUILDING,
        )
        self.log = self.log.bind(partitions=list(partitions))

    def finish(self) -> None:
        super().finish()
        for one in self.partitions:
            if not self._store.put_back(one.keys, one.final_checkpoint()):
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
