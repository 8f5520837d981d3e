"""Following the log: every followed generation folds each batch in one pass.

A pass fetches from the lowest place that a partition has come to, inclusive, so that the event
there is seen again. What it writes is compared and set by `apply.lua`; a refused partition forgets
what it knew and goes on from what stands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg
import redis
import structlog
from eventsourcing.persistence import PersistenceError

from projector.documents.calls import Call
from projector.documents.store import ABSENT, PartitionStore, Wanted
from projector.following.followed_generation import Followed, Share
from projector.following.partition import Partition
from projector.generations.table import Generation
from projector.log.reader import LogReader
from shared.ids import Position

BATCH_EVENTS_MAX = 5_000
# Partitions that no event of a batch concerns are brought up this much later at most.
IDLE_ADVANCE_S = 0.05
# Readers hear of a switch earlier than this.
READERS_LATE_S = 1.0

# A server that does not answer: the pass is repeated, nothing is wrong with an event.
SERVER_ERRORS = (redis.RedisError, PersistenceError, psycopg.Error, OSError)

log = structlog.get_logger()


class Follower:
    """Keeps the generations that it is given up to date; one pass at a time."""

    def __init__(self, reader: LogReader, store: PartitionStore) -> None:
        self._reader = reader
        self._store = store
        self.followed: dict[tuple[str, int], Followed] = {}
        self._idle_advanced_at = 0.0
        self.lagging = False

    def follow(self, generations: Sequence[Generation]) -> None:
        """Follow exactly these from now on, but for partitions that have no checkpoint."""
        wanted = {(one.projection, one.number): one for one in generations}
        for key in list(self.followed):
            if key not in wanted:
                del self.followed[key]
        for key, generation in wanted.items():
            stored = self._store.checkpoints(generation.all_keys)
            held = self.followed.get(key)
            if all(one == ABSENT for one in stored):
                self.followed.pop(key, None)
            elif held is not None and held.has(stored):
                held.generation = generation
            else:
                self.followed[key] = Followed(generation, stored)
                log.info(
                    "generation_followed",
                    projection=generation.projection,
                    generation=generation.number,
                    state=generation.state,
                )

    def forget(self) -> None:
        """Drop all that is held in memory, as after a lost connection."""
        self.followed.clear()

    def run_pass(self) -> int:
        """Fold a batch into every followed generation; returns how many events were new to one.

        Generations far behind the others get a batch of their own, so that they hold nobody up.
        `lagging` says afterwards whether some checkpoint is still to be brought up.
        """
        due = [followed for followed in self.followed.values() if followed.is_due]
        if not due:
            return 0
        front = max(followed.lowest for followed in due)
        near = [one for one in due if front - one.lowest <= BATCH_EVENTS_MAX]
        far = [one for one in due if front - one.lowest > BATCH_EVENTS_MAX]
        advance_idle = time.monotonic() - self._idle_advanced_at >= IDLE_ADVANCE_S
        if advance_idle:
            self._idle_advanced_at = time.monotonic()
        folded = sum(self._fold_batch(group, advance_idle) for group in (near, far) if group)
        self.lagging = any(followed.lags for followed in due)
        return folded

    def _fold_batch(self, group: Sequence[Followed], advance_idle: bool) -> int:
        """One batch, from the group's lowest place on, inclusive."""
        start = min(followed.lowest for followed in group)
        events = self._reader.fetch(
            Position(max(start, 1)),
            BATCH_EVENTS_MAX,
            personal=any(followed.definition.personal for followed in group),
        )
        reached_end = len(events) < BATCH_EVENTS_MAX
        in_order = sorted(group, key=_readers_leave)
        shares = [
            followed.shares(events, reached_end=reached_end, advance_idle=advance_idle)
            for followed in in_order
        ]
        moved = self._load_missing([share for own in shares for share in own])
        calls = [
            made
            for followed, own in zip(in_order, shares, strict=True)
            for made in followed.fold([share for share in own if share.partition not in moved])
        ]
        if calls:
            self._write(calls, events[-1].position)
        if not events or all(followed.stopped is not None for followed in group):
            return 0
        return len(events) - (events[0].position <= start)

    def _load_missing(self, shares: Sequence[Share]) -> set[Partition]:
        """Hold every document that the shares read, in one round trip.

        Returns the partitions that somebody else has moved on meanwhile: what is stored is not what
        these events are to be folded into. They go on from where they stand, in the next pass.
        """
        missing = [
            (share.partition, share.partition.missing(share.events))
            for share in shares
            if share.events
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
                Wanted(partition.keys, documents, partition.needs_parked)
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

    def _write(self, calls: Sequence[tuple[Share, Call]], position: Position) -> None:
        """Make all calls in one round trip; reset what was refused."""
        results = self._store.apply([call for _, call in calls], announce=position)
        for (share, call), standing in zip(calls, results, strict=True):
            if standing is None:
                share.partition.applied(call)
            else:
                self._refused(share, standing)

    def _refused(self, share: Share, standing: bytes) -> None:
        """Somebody else wrote meanwhile, or the partition is gone: go on from what stands."""
        log.info("write_refused", partition=share.partition.keys.prefix, lost=standing == ABSENT)
        if standing == ABSENT:
            # Followed anew once its generation has been made good.
            generation = share.followed.generation
            self.followed.pop((generation.projection, generation.number), None)
        else:
            share.partition.reset(standing)


def _readers_leave(followed: Followed) -> int:
    """What readers leave for another at a switch is written after that, so that they never step
    back: the active one, and the one that was it a moment ago.
    """
    retired_for_s = followed.generation.retired_for_s
    if retired_for_s is not None and retired_for_s < READERS_LATE_S:
        return 2
    return 1 if followed.generation.state == "active" else 0
