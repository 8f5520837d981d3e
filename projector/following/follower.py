"""Follow the log: each pass folds the new events into every followed generation.

A pass fetches from the lowest position that a partition has reached, inclusive, so that it sees the
event there again. `apply.lua` writes by compare-and-set; a partition whose write it refuses drops
its cache and resumes from the stored checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg
import redis
import structlog
from eventsourcing.persistence import PersistenceError

from projector.documents.calls import Call
from projector.documents.store import ABSENT, PartitionQuery, PartitionStore
from projector.following.commit_delay import observe_delays
from projector.following.followed_generation import FollowedGeneration, Slice
from projector.following.partition import Partition
from projector.generations.table import Generation
from projector.log.reader import LogReader
from projector.projections.selection import Selection, Share, selection
from shared.ids import Position

FETCH_EVENTS_MAX = 5_000
# Maximum delay before partitions without events in a pass are advanced.
IDLE_ADVANCE_S = 0.05
# Readers notice a switch within this time.
READERS_FOLLOW_WITHIN_S = 1.0

# Errors of a server that does not answer: repeat the pass, no event is at fault.
SERVER_ERRORS = (redis.RedisError, PersistenceError, psycopg.Error, OSError)

log = structlog.get_logger()


class Follower:
    """Keep the given generations up to date, one pass at a time."""

    def __init__(self, reader: LogReader, store: PartitionStore) -> None:
        self._reader = reader
        self._store = store
        self.followed: dict[tuple[str, int], FollowedGeneration] = {}
        self._share: Share | None = None
        self._selected: Selection | None = None
        self._idle_advanced_at = 0.0
        self.lagging = False

    def follow(self, generations: Sequence[Generation], share: Share | None = None) -> None:
        """Follow these generations from now on: a share of their partitions, all without one.

        Partitions without a checkpoint are left out.
        """
        if share is not self._share:
            self._share, self._selected = share, selection(share) if share is not None else None
        wanted = {(one.projection, one.number): one for one in generations}
        for key in list(self.followed):
            if key not in wanted:
                del self.followed[key]
        for key, generation in wanted.items():
            checkpoints = self._checkpoints(generation)
            held = self.followed.get(key)
            if not checkpoints:
                self.followed.pop(key, None)
            elif held is not None:
                held.generation = generation
                held.hold(checkpoints)
            else:
                self.followed[key] = FollowedGeneration(generation)
                self.followed[key].hold(checkpoints)
                log.info(
                    "generation_followed",
                    projection=generation.projection,
                    generation=generation.number,
                    state=generation.state,
                )

    def forget(self) -> None:
        """Drop all cached state, for example after a lost connection."""
        self.followed.clear()

    def run_pass(self) -> int:
        """Fold new events into every followed generation; return how many were new to at least one.

        Generations far behind the others fetch separately, so that they do not delay the rest.
        Afterwards `lagging` says whether some checkpoint still has to be advanced.
        """
        due = [followed for followed in self.followed.values() if followed.is_due]
        if not due:
            return 0
        front = max(followed.lowest for followed in due)
        near = [one for one in due if front - one.lowest <= FETCH_EVENTS_MAX]
        far = [one for one in due if front - one.lowest > FETCH_EVENTS_MAX]
        advance_idle = time.monotonic() - self._idle_advanced_at >= IDLE_ADVANCE_S
        if advance_idle:
            self._idle_advanced_at = time.monotonic()
        folded = sum(self._fold_group(group, advance_idle) for group in (near, far) if group)
        self.lagging = any(followed.lags for followed in due)
        return folded

    def _checkpoints(self, generation: Generation) -> dict[int, bytes]:
        """Return the stored checkpoints of the share's partitions that have one."""
        own = [
            keys
            for keys in generation.all_keys
            if self._share is None or keys.partition in self._share.get(keys.projection, ())
        ]
        stored = self._store.checkpoints(own) if own else []
        return {
            keys.partition: checkpoint
            for keys, checkpoint in zip(own, stored, strict=True)
            if checkpoint != ABSENT
        }

    def _fold_group(self, group: Sequence[FollowedGeneration], advance_idle: bool) -> int:
        """Fold one fetch, from the group's lowest position on, inclusive."""
        start = min(followed.lowest for followed in group)
        events = self._reader.fetch(
            Position(max(start, 1)),
            FETCH_EVENTS_MAX,
            personal=any(followed.definition.personal for followed in group),
            selected=self._selected,
        )
        reached_end = len(events) < FETCH_EVENTS_MAX
        in_order = sorted(group, key=_write_order)
        slices = [
            followed.slices(events, reached_end=reached_end, advance_idle=advance_idle)
            for followed in in_order
        ]
        moved = self._load_missing([one for own in slices for one in own])
        calls = [
            made
            for followed, own in zip(in_order, slices, strict=True)
            for made in followed.fold([one for one in own if one.partition not in moved])
        ]
        if calls:
            self._write(calls, events[-1].position)
        if not events or all(followed.stopped is not None for followed in group):
            return 0
        return len(events) - (events[0].position <= start)

    def _load_missing(self, slices: Sequence[Slice]) -> set[Partition]:
        """Load every document that folding the slices reads, in one round trip.

        Return the partitions that another writer has moved on meanwhile: these events must not be
        folded into what is stored now. They resume from their stored checkpoint in the next pass.
        """
        missing = [
            (one.partition, one.partition.missing(one.events)) for one in slices if one.events
        ]
        wanted = [
            (partition, documents)
            for partition, documents in missing
            if documents or partition.needs_parked
        ]
        if not wanted:
            return set()
        found = self._store.load(
            [
                PartitionQuery(partition.keys, documents, partition.needs_parked)
                for partition, documents in wanted
            ]
        )
        moved = set()
        for (partition, documents), one in zip(wanted, found, strict=True):
            if one.checkpoint == partition.stored:
                partition.hold(documents, one)
            else:
                moved.add(partition)
                if one.checkpoint != ABSENT:
                    partition.reset(one.checkpoint)
        return moved

    def _write(self, calls: Sequence[tuple[Slice, Call]], position: Position) -> None:
        """Make all calls in one round trip; reset the partitions whose write was refused."""
        results = self._store.apply([call for _, call in calls], announce=position)
        applied: dict[int, Slice] = {}
        for (one, call), stored in zip(calls, results, strict=True):
            if stored is None:
                one.partition.applied(call)
                applied[id(one)] = one
                continue
            if applied.get(id(one)) is one:
                applied[id(one)] = one.until(one.partition.reached.position)
            self._refused(one, stored)
        self._applied(list(applied.values()))

    def _applied(self, slices: Sequence[Slice]) -> None:
        """Measure the slices that readers see now."""
        observe_delays(slices)

    def _refused(self, one: Slice, stored: bytes) -> None:
        """Resume from the stored checkpoint after another write, or drop a lost generation."""
        log.info("write_refused", partition=one.partition.keys.prefix, lost=stored == ABSENT)
        if stored == ABSENT:
            # It is followed again once upkeep has rebuilt its generation.
            generation = one.followed.generation
            self.followed.pop((generation.projection, generation.number), None)
        else:
            one.partition.reset(stored)


def _write_order(followed: FollowedGeneration) -> int:
    """Order writes so that readers who switch generations never see older data.

    The active generation is written last, and after it the one that was active a moment ago.
    """
    retired_for_s = followed.generation.retired_for_s
    if retired_for_s is not None and retired_for_s < READERS_FOLLOW_WITHIN_S:
        return 2
    return 1 if followed.generation.state == "active" else 0
