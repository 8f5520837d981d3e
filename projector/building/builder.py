"""Build partitions from the log: fold it in memory, then write the documents in bulk.

Several generations are built in one pass over the log. Nobody reads a generation that is being
built, so its partitions' checkpoints hold a marker with the build token until the last call for
each, which writes the real checkpoint. A second builder of the same share first writes its own
marker; from then on Redis refuses the first builder's calls, and that builder gives up.

A lost partition of a live generation is rebuilt in place. It has no checkpoint meanwhile, so nobody
reads it; the marker is under another key, and the last call moves the checkpoint into place.
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
from projector.log.reader import FETCH_EVENTS, LogReader
from projector.projections import DEFINITIONS, LogEvent, Projection
from projector.projections.selection import Share, selection
from shared.ids import START, Position, new_uuid7
from shared.read_model.keys import CHECKPOINT, REBUILDING, PartitionKeys

# Write members and fields during the build, but documents only at its end: they are read again and
# again. Of a stream, only the last entries are written.
FLUSH_COMMANDS = 20_000
PROGRESS_EVERY_S = 0.5
HELD_BACK_POLL_S = 0.5
CALLS_A_ROUND_TRIP = 8

log = structlog.get_logger()


class _BuildAbandoned(Exception):
    """Raised when another builder has taken over the share, or this one was told to stop."""


Kind = TypeVar("Kind", bound="_BuildJob")


class ShareId(NamedTuple):
    """The name of one share of a generation's partitions."""

    projection: str
    number: int
    share: int


class Builder:
    """Build generations on the caller's thread.

    The builder calls `keep_on` between fetches; `events_per_s` limits how fast it reads the log.
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
        """Build a share from the log up to its current head; return whether it was built here.

        It was not if it was built already, another builder took it over, or this one was stopped.
        """
        return bool(self.build_together([ShareId(projection, number, share)]))

    def build_together(self, wanted: Sequence[ShareId]) -> list[ShareId]:
        """Build several shares in one pass over the log; return the ones that were built."""
        token = new_uuid7()
        until = self._reader.head()
        builds = [self._generations.take_build(*one, token, until) for one in wanted]
        shares = [_ShareBuild(self._store, self._generations, one, token) for one in builds if one]
        return [one.name for one in self._build(shares, until)]

    def rebuild(self, generation: Generation, partitions: Sequence[int]) -> bool:
        """Rebuild lost partitions of a generation in place; return whether that was completed.

        The caller holds the projection's bootstrap lock.
        """
        token = new_uuid7()
        lost = _LostPartitionsBuild(self._store, generation, partitions, token)
        return bool(self._build([lost], self._reader.head()))

    def _build(self, wanted: Sequence[Kind], until: Position) -> list[Kind]:
        started = time.monotonic()
        reader = self._reader.past(until)
        under_way = list(wanted)
        for one in wanted:
            one.take()
        reading = list(under_way)
        selected = selection(_share(wanted))
        start, folded = Position(START + 1), 0
        reported_at = started
        while reading and start <= until:
            events = reader.fetch(
                start,
                FETCH_EVENTS,
                personal=any(one.definition.personal for one in reading),
                selected=selected,
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
                    self._require_running()
                    more = one.fold(events)
                    if report:
                        one.report()
                    self._hold_back(one, folded, started)
                except _BuildAbandoned:
                    under_way.remove(one)
                    one.give_up()
                    more = False
                if not more:
                    reading.remove(one)
            start = Position(events[-1].position + 1)
        return [one for one in under_way if self._finish(one, started)]

    def _finish(self, built: _BuildJob, started: float) -> bool:
        try:
            self._require_running()
            built.finish()
        except _BuildAbandoned:
            built.give_up()
            return False
        seconds = round(time.monotonic() - started, 2)
        built.log.info("build_finished", events=built.folded, seconds=seconds)
        return True

    def _require_running(self) -> None:
        if not self._keep_on():
            raise _BuildAbandoned

    def _hold_back(self, built: _BuildJob, folded: int, started: float) -> None:
        """Sleep while the build is ahead of its events-per-second limit."""
        if self._events_per_s is None:
            return
        due_at = started + folded / self._events_per_s
        while self._keep_on() and (wait_s := due_at - time.monotonic()) > 0:
            built.report()
            time.sleep(min(wait_s, HELD_BACK_POLL_S))


class _BuildJob:
    """Partitions of one generation during their build."""

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
            _PartitionBuild(self.definition, PartitionKeys(projection, number, one), token)
            for one in partitions
        ]
        self.folded = 0
        self.log = log.bind(projection=projection, generation=number)
        self._marked_at = marked_at

    def take(self) -> None:
        """Mark each partition as this builder's, and drop its other keys.

        Such keys come from an interrupted build, or from another log's generation of the same
        number.
        """
        for one in self.partitions:
            self._store.mark(one.keys, self._marked_at, one.marker)
        self._store.drop([one.keys for one in self.partitions], but_for=self._marked_at)

    def fold(self, events: Sequence[LogEvent]) -> bool:
        """Fold events; return False at one that cannot be folded, where the build ends."""
        readable = events[: self.definition.readable(events)]
        if readable:
            shares = self.definition.by_partition(readable)
            for one in self.partitions:
                for event in shares.get(one.keys.partition, ()):
                    one.fold(event)
                one.last = readable[-1]
                if one.working_set.pending_commands > FLUSH_COMMANDS:
                    self._write(one, one.working_set.take_operations(final=False))
            self.folded += len(readable)
        return len(readable) == len(events)

    def report(self) -> None:
        """Store the progress. Raises `_BuildAbandoned` if another builder has taken over."""

    def give_up(self) -> None:
        self.log.info("build_given_up")

    def finish(self) -> None:
        """Write all pending operations, and the checkpoints."""
        for one in self.partitions:
            self._write(one, one.working_set.take_operations(), last=True)

    def _write(
        self, partition: _PartitionBuild, operations: Sequence[Operation], *, last: bool = False
    ) -> None:
        """Write operations in calls of bounded size; the `last` one sets the checkpoint."""
        marker = partition.marker
        calls = [
            Call(partition.keys, marker, marker, part, self._marked_at) for part in cut(operations)
        ]
        if last:
            final = partition.final_checkpoint()
            calls.append(Call(partition.keys, marker, final, (), self._marked_at))
        for start in range(0, len(calls), CALLS_A_ROUND_TRIP):
            results = self._store.apply(calls[start : start + CALLS_A_ROUND_TRIP])
            if any(refused is not None for refused in results):
                raise _BuildAbandoned


class _ShareBuild(_BuildJob):
    """The build of a share of a generation that nobody reads yet."""

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
            raise _BuildAbandoned

    def give_up(self) -> None:
        super().give_up()
        # A concurrent purge may have missed keys that this build wrote after it.
        generation = self._generations.get(self._build.projection, self._build.number)
        if generation is None or generation.state == "purged":
            self._store.drop([one.keys for one in self.partitions])

    def finish(self) -> None:
        super().finish()
        self.report()
        self._generations.finish_build(self._build, self._token)


class _LostPartitionsBuild(_BuildJob):
    """The rebuild of partitions without a checkpoint in a live generation."""

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
                raise _BuildAbandoned


def _share(jobs: Sequence[_BuildJob]) -> Share:
    """Return the partitions that the jobs build."""
    share: dict[str, set[int]] = {}
    for job in jobs:
        numbers = share.setdefault(job.definition.name, set())
        numbers.update(one.keys.partition for one in job.partitions)
    return share


class _PartitionBuild:
    """A partition during its build."""

    def __init__(self, definition: Projection, keys: PartitionKeys, token: UUID) -> None:
        self.keys = keys
        self.marker = building_marker(definition.version, token)
        self.working_set = WorkingSet(complete=True)
        self.fold = PartitionFold(definition, keys, self.working_set, {}).fold
        self.last: LogEvent | None = None
        self._definition = definition
        self._token = token

    def final_checkpoint(self) -> bytes:
        """Return the checkpoint at the last folded event, or the marker itself for an empty log."""
        if self.last is None:
            return self.marker
        return checkpoint_at(self.last.place, self._definition.version, self._token)
