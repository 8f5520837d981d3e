"""Upkeep: keep exactly one active generation for each projection, built from this log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from projector.building.builder import Builder, ShareId
from projector.documents.store import ABSENT, PartitionStore
from projector.generations.switch import switch_if_ready
from projector.generations.table import RETIRED_KEPT_S, Generation, Generations, Reason
from projector.projections import DEFINITIONS, Projection
from projector.wiring import Wiring
from shared.errors import DocumentDamaged
from shared.read_model.checksum import checked, with_checksum
from shared.read_model.keys import GENERATIONS_KEY, LOG_KEY

log = structlog.get_logger()


def purge(generations: Generations, store: PartitionStore, generation: Generation) -> int:
    """Delete a generation's keys and return their number; a running builder drops its own."""
    dropped = store.drop(generation.all_keys)
    generations.mark_purged(generation.projection, generation.number)
    return dropped + store.drop(generation.all_keys)


class Upkeep:
    """Build missing generations, purge old ones, and keep the readers' copy up to date."""

    def __init__(self, wiring: Wiring, builder: Builder) -> None:
        self._generations = wiring.generations
        self._store = wiring.store
        self._incidents = wiring.incidents
        self._builder = builder

    def run_once(self) -> None:
        self._store.require_writable()
        self._require_own_log()
        self._publish()
        self._make_good()
        generations = self._generations.all()
        self.rebuild_lost_partitions(generations)
        for generation in generations:
            if generation.state == "retired" and (generation.retired_for_s or 0) > RETIRED_KEPT_S:
                self.purge(generation)
            elif generation.switch_when_ready and generation.may_switch:
                switch_if_ready(self._generations, self._store, generation)

    def rebuild_lost_partitions(self, generations: Sequence[Generation]) -> None:
        """Rebuild in place the partitions without a readable checkpoint in followed generations."""
        for generation in generations:
            if not self._lost_partitions(generation):
                continue
            projection = generation.projection
            with self._generations.bootstrap_locks([projection]) as held:
                lost = self._lost_partitions(generation) if held else []
                if not lost:
                    continue
                self._incidents.note(
                    f"{len(lost)} of {generation.partitions} partitions of {projection} generation"
                    f" {generation.number} had no readable checkpoint and are rebuilt from the log"
                )
                self._builder.rebuild(generation, lost)

    def _require_own_log(self) -> None:
        """Drop the read models if they belong to another log, as after a change of database."""
        own = with_checksum(str(self._generations.log_id()).encode())
        stored = self._store.read(LOG_KEY)
        if stored == own:
            return
        if _is_sound(stored):
            self._store.delete(GENERATIONS_KEY)  # From now on nobody reads them.
            self._store.announce_generations()
            dropped = self._store.drop_everything()
            self._incidents.note(
                f"the read models in Redis belonged to another log: {dropped} keys were dropped,"
                " and the read models of this log are rebuilt"
            )
        self._store.write(LOG_KEY, own)

    def purge(self, generation: Generation) -> None:
        dropped = purge(self._generations, self._store, generation)
        log.info(
            "generation_purged",
            projection=generation.projection,
            generation=generation.number,
            keys=dropped,
        )

    def _publish(self) -> None:
        if self._generations.publish(self._store):
            log.info("generations_published")

    def _make_good(self) -> None:
        """Build a generation for every projection that needs one, all in one pass over the log.

        A projection needs one if none is active, if the active one's documents are gone, or if this
        release brings a newer definition than any generation so far had.
        """
        newest, generations = self._generations.newest_definitions(), self._generations.all()
        wanting = [
            one.name for one in DEFINITIONS.values() if self._wants(one, newest, generations)
        ]
        if not wanting:
            return
        with self._generations.bootstrap_locks(wanting) as held:
            builds = [
                share for projection in held for share in self._bootstrap(DEFINITIONS[projection])
            ]
            self._publish()  # Readers must not look for lost generations meanwhile.
            if builds:
                self._builder.build_together(builds)

    def _wants(
        self, definition: Projection, newest: Mapping[str, int], generations: Sequence[Generation]
    ) -> bool:
        active = _active(definition, generations)
        return (
            active is None or self._is_lost(active) or self._is_new(definition, newest, generations)
        )

    def _is_new(
        self, definition: Projection, newest: Mapping[str, int], generations: Sequence[Generation]
    ) -> bool:
        """Whether the first generation of this definition still has to be built.

        Once it exists, the operator decides: upkeep leaves an older generation active if the
        operator switched back to it.
        """
        return (
            newest.get(definition.name, 0) < definition.version
            or self._unfinished(definition, generations) is not None
        )

    def _bootstrap(self, definition: Projection) -> Sequence[ShareId]:
        """Return the shares to build, from a second look at the table under the lock."""
        newest, generations = self._generations.newest_definitions(), self._generations.all()
        active = _active(definition, generations)
        reason: Reason = "new definition"
        if active is None:
            reason = "first start"
        elif self._is_lost(active):
            reason = "lost"
            if active.definition_version != definition.version:
                log.warning("older_definition_lost", projection=definition.name)
            self._incidents.note(
                f"{definition.name} generation {active.number} was lost in Redis and is rebuilt"
                " from the log"
            )
            purge(self._generations, self._store, active)
        elif not self._is_new(definition, newest, generations):
            return []
        generation = self._unfinished(definition, self._generations.all())
        if generation is None:
            generation = self._generations.create(
                definition, reason, shares=1, switch_when_ready=True, audit="wanted"
            )
        return [
            ShareId(build.projection, build.number, build.share)
            for build in self._generations.builds(generation.projection, generation.number)
            if not build.built
        ]

    def _unfinished(
        self, definition: Projection, generations: Sequence[Generation]
    ) -> Generation | None:
        """Return a generation that a projector has begun or built, and not yet switched to."""
        for one in generations:
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
        """Whether a generation must be built from scratch.

        One that has lost only some partitions is rebuilt in place, unless this release does not
        know its definition.
        """
        stored = self._store.checkpoints(generation.all_keys)
        return ABSENT in stored and not self._lost_partitions(generation)

    def _lost_partitions(self, generation: Generation) -> list[int]:
        """Return the partitions to rebuild in place: some but not all, of a known definition."""
        definition = DEFINITIONS.get(generation.projection)
        if (
            generation.state == "building"
            or definition is None
            or definition.version != generation.definition_version
        ):
            return []
        stored = self._store.checkpoints(generation.all_keys)
        lost = [number for number, one in enumerate(stored) if one == ABSENT]
        return lost if len(lost) < generation.partitions else []


def _active(definition: Projection, generations: Sequence[Generation]) -> Generation | None:
    return next(
        (one for one in generations if one.projection == definition.name and one.state == "active"),
        None,
    )


def _is_sound(stored: bytes | None) -> bool:
    """Whether a stored log identity is intact; a damaged one proves nothing."""
    try:
        return stored is not None and bool(checked(stored))
    except DocumentDamaged:
        return False
