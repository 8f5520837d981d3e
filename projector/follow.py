"""Following the log: every followed generation folds each batch in one pass.

A pass fetches from the lowest checkpoint on, inclusive, so that the event at every checkpoint is
seen again: if another one stands there, or none, the log is not the one that was applied (a
restored backup, a fail-over that lost its tail), and the generation stops. What a pass writes is
compared and set by `apply.lua`; a refused partition forgets what it knew and goes on from what
stands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg
import redis
import structlog
from eventsourcing.persistence import PersistenceError

from projector.generations import Generation
from projector.log_reader import LogEvent, LogReader
from projector.partition import Partition
from projector.partition_store import ABSENT, Call, PartitionStore
from projector.projections import DEFINITIONS, Projection
from shared.errors import LogDiverged
from shared.ids import START, Position
from shared.read_model import Applied

BATCH_EVENTS_MAX = 5_000
# Partitions that no event of a batch concerns are brought up this much later at most.
IDLE_ADVANCE_S = 0.05

# A server that does not answer: the pass is repeated, nothing is wrong with an event.
SERVER_ERRORS = (redis.RedisError, PersistenceError, psycopg.Error, OSError)

log = structlog.get_logger()


class Followed:
    """One generation and its partitions. `stopped` says why it no longer follows, None while it
    does.
    """

    def __init__(self, generation: Generation, stored: Sequence[bytes]) -> None:
        self.generation = generation
        self.definition: Projection = DEFINITIONS[generation.projection]
        self.partitions = [
            Partition(self.definition, keys, checkpoint)
            for keys, checkpoint in zip(generation.all_keys, stored, strict=True)
        ]
        self.stopped: str | None = None

    @property
    def lowest(self) -> Position:
        return min(partition.checkpoint.position for partition in self.partitions)

    def stop(self, reason: Exception) -> None:
        self.stopped = str(reason)
        log.error(
            "generation_stopped",
            projection=self.generation.projection,
            generation=self.generation.number,
            error=type(reason).__name__,
            reason=str(reason),
        )


class Follower:
    """Keeps the generations that it is given up to date; one pass at a time."""

    def __init__(self, reader: LogReader, store: PartitionStore) -> None:
        self._reader = reader
        self._store = store
        self.followed: dict[tuple[str, int], Followed] = {}
        self._idle_advanced_at = 0.0
        self.lagging = False

    def follow(self, generations: Sequence[Generation]) -> list[Generation]:
        """Follow exactly these from now on; returns those that have a partition without a
        checkpoint.
        """
        wanted = {(one.projection, one.number): one for one in generations}
        for key in list(self.followed):
            if key not in wanted:
                del self.followed[key]
        lost = []
        for key, generation in wanted.items():
            stored = self._store.checkpoints(generation.all_keys)
            if ABSENT in stored:
                self.followed.pop(key, None)
                lost.append(generation)
            elif key not in self.followed:
                self.followed[key] = Followed(generation, stored)
                log.info(
                    "generation_followed",
                    projection=generation.projection,
                    generation=generation.number,
                    state=generation.state,
                )
        return lost

    def forget(self) -> None:
        """Drop all that is held in memory, as after a lost connection."""
        self.followed.clear()

    def run_pass(self) -> int:
        """Fold the next batch into every followed generation; returns how many events were new to
        one.

        `lagging` says afterwards whether some partition is still to be brought to the end of the
        batch.
        """
        following = [followed for followed in self.followed.values() if not followed.stopped]
        if not following:
            return 0
        start = min(followed.lowest for followed in following)
        events = self._reader.fetch(Position(max(start, 1)), BATCH_EVENTS_MAX)
        for followed in following:
            _check_log(followed, events)
        if not events:
            return 0
        advance_idle = time.monotonic() - self._idle_advanced_at >= IDLE_ADVANCE_S
        calls: list[tuple[Followed, Partition, Call]] = []
        for followed in following:
            if not followed.stopped:
                calls += self._fold(followed, events, advance_idle=advance_idle)
        if advance_idle:
            self._idle_advanced_at = time.monotonic()
        self._write(calls)
        last = events[-1].position
        self.lagging = any(followed.lowest < last for followed in following if not followed.stopped)
        return sum(event.position > start for event in events)

    def _fold(
        self, followed: Followed, events: Sequence[LogEvent], *, advance_idle: bool
    ) -> list[tuple[Followed, Partition, Call]]:
        """The calls for each partition that the batch concerns, for the others when it is time."""
        shares: dict[int, list[LogEvent]] = {}
        for event in events:
            number = followed.definition.partition(event.event)
            if number is None:
                continue
            if event.position > followed.partitions[number].checkpoint.position:
                shares.setdefault(number, []).append(event)
        last = events[-1]
        calls: list[tuple[Followed, Partition, Call]] = []
        try:
            self._load_missing(followed, shares)
            for number, partition in enumerate(followed.partitions):
                share = shares.get(number, [])
                behind = partition.checkpoint.position < last.position
                if share or (behind and advance_idle):
                    calls += ((followed, partition, call) for call in partition.fold(share, last))
        # TODO: park the entity alone and go on with all others, as docs/unfinished.md says.
        except SERVER_ERRORS:
            raise
        except Exception as fault:  # noqa: BLE001  # Any fault in folding stops its generation.
            followed.stop(fault)
            return []
        return calls

    def _load_missing(self, followed: Followed, shares: dict[int, list[LogEvent]]) -> None:
        """Hold every document that the batch reads, in one round trip."""
        wanted = []
        for number, share in shares.items():
            missing = followed.partitions[number].missing(share)
            if missing:
                wanted.append((followed.partitions[number], share, missing))
        if not wanted:
            return
        stored = self._store.documents(
            [(partition.keys, missing) for partition, _, missing in wanted]
        )
        for (partition, share, missing), values in zip(wanted, stored, strict=True):
            partition.hold(share, missing, values)

    def _write(self, calls: Sequence[tuple[Followed, Partition, Call]]) -> None:
        """Make all calls in one round trip; announce what was applied, reset what was refused."""
        if not calls:
            return
        results = self._store.apply(call for _, _, call in calls)
        applied: dict[tuple[str, int], dict[int, Position]] = {}
        for (followed, partition, call), standing in zip(calls, results, strict=True):
            if standing is None:
                partition.applied(call)
                key = (partition.keys.projection, partition.keys.generation)
                positions = applied.setdefault(key, {})
                positions[partition.keys.partition] = partition.checkpoint.position
            else:
                self._refused(followed, partition, standing)
        self._store.announce(
            Applied(projection, generation, positions)
            for (projection, generation), positions in applied.items()
        )

    def _refused(self, followed: Followed, partition: Partition, standing: bytes) -> None:
        """Somebody else wrote meanwhile, or the partition is gone: go on from what stands."""
        log.info("write_refused", partition=partition.keys.prefix, lost=standing == ABSENT)
        if standing == ABSENT:
            # Followed anew once its generation has been made good.
            generation = followed.generation
            self.followed.pop((generation.projection, generation.number), None)
        else:
            partition.reset(standing)


def _check_log(followed: Followed, events: Sequence[LogEvent]) -> None:
    """Stop the generation if another event, or none, stands at one of its checkpoints."""
    reached_end = len(events) < BATCH_EVENTS_MAX
    last = events[-1].position if events else START
    standing: dict[Position, LogEvent] = {}
    checked = {partition.checkpoint.position for partition in followed.partitions}
    for event in events:
        if event.position in checked:
            standing[event.position] = event
    try:
        for partition in followed.partitions:
            position = partition.checkpoint.position
            if position > START and (position <= last or reached_end):
                partition.require_same_log(standing.get(position))
    except LogDiverged as diverged:
        followed.stop(diverged)
