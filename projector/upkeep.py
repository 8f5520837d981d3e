"""Upkeep of generations, beside the following: build what is missing, drop what is retired.

Runs on a thread of its own with connections of its own, so that a build holds no other projection
up.
"""

from __future__ import annotations

import structlog

from projector.build import Builder
from projector.generations import RETIRED_KEPT_S, Generation, Generations, Reason
from projector.partition_store import ABSENT, PartitionStore
from projector.projections import DEFINITIONS, Projection
from projector.switch import switch_if_ready

log = structlog.get_logger()


def purge(generations: Generations, store: PartitionStore, generation: Generation) -> int:
    """Delete a generation's keys; returns how many. A builder still at it drops what it wrote."""
    dropped = sum(store.drop(keys) for keys in generation.all_keys)
    generations.mark_purged(generation.projection, generation.number)
    return dropped + sum(store.drop(keys) for keys in generation.all_keys)


class Upkeep:
    """What keeps every projection with exactly one active generation, and no old ones for ever."""

    def __init__(self, generations: Generations, store: PartitionStore, builder: Builder) -> None:
        self._generations = generations
        self._store = store
        self._builder = builder

    def run_once(self) -> None:
        self._store.require_writable()
        for definition in DEFINITIONS.values():
            self._make_good(definition)
        for generation in self._generations.all():
            if generation.state == "retired" and (generation.retired_for_s or 0) > RETIRED_KEPT_S:
                self.purge(generation)
            elif generation.switch_when_ready and generation.may_switch:
                switch_if_ready(self._generations, self._store, generation)
        if self._generations.publish(self._store):
            log.info("generations_published")

    def purge(self, generation: Generation) -> None:
        dropped = purge(self._generations, self._store, generation)
        log.info(
            "generation_purged",
            projection=generation.projection,
            generation=generation.number,
            keys=dropped,
        )

    def _make_good(self, definition: Projection) -> None:
        """Build a generation where none is active, where the active one's documents are gone, and
        where this release brings a newer definition than there ever was.
        """
        own = [one for one in self._generations.all() if one.projection == definition.name]
        active = next((one for one in own if one.state == "active"), None)
        lost = active is not None and self._is_lost(active)
        if active is not None and not lost and not self._is_new(definition):
            return
        with self._generations.bootstrap_lock(definition.name) as held:
            if not held:
                return
            if active is None:
                self._bootstrap(definition, "first start")
            elif lost:
                if active.definition_version != definition.version:
                    log.warning("older_definition_lost", projection=definition.name)
                log.warning("generation_lost", projection=definition.name, generation=active.number)
                purge(self._generations, self._store, active)
                self._bootstrap(definition, "lost")
            else:
                self._bootstrap(definition, "new definition")

    def _is_new(self, definition: Projection) -> bool:
        """Whether its first generation is still to be built. Once there was one, the operator
        decides: an older one that was switched back to stays.
        """
        newest = self._generations.newest_definition(definition.name)
        return newest < definition.version or self._unfinished(definition) is not None

    def _bootstrap(self, definition: Projection, reason: Reason) -> None:
        generation = self._unfinished(definition)
        if generation is None:
            generation = self._generations.create(
                definition, reason, shares=1, switch_when_ready=True
            )
        for build in self._generations.builds(generation.projection, generation.number):
            if not build.built:
                self._builder.build(build.projection, build.number, build.share)

    def _unfinished(self, definition: Projection) -> Generation | None:
        """A generation that a projector began to build, or has built and not yet switched to."""
        for one in self._generations.all():
            if (
                one.projection == definition.name
                and one.definition_version == definition.version
                and one.reason != "replay"
                and one.state in ("building", "following")
            ):
                if one.state == "following" and self._is_lost(one):
                    self._generations.mark_purged(one.projection, one.number)
                    continue
                return one
        return None

    def _is_lost(self, generation: Generation) -> bool:
        return ABSENT in self._store.checkpoints(generation.all_keys)
