"""Healing: rebuild from the log the values that readers or the projector found damaged.

Readers report entities and partitions in the set `sf:damaged`; the projector parks an entity as
damaged when it meets a document that it cannot use. The healer compares all reported values with
one fresh fold of the log and repairs them by compare-and-set, while the partition is followed. A
report stays in the set until the value is healed, so that a killed projector loses no report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from projector.audit.auditor import Audit
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.errors import StarfoldError
from shared.read_model.damage import DamageReport

PARKED_LOOKED_AT_EVERY_S = 2.0
# Delay after a failed attempt: the partition is being rebuilt, or belongs to another log.
RETRY_S = 5.0

log = structlog.get_logger()


class _Round(NamedTuple):
    """The reports of one generation, and the set entries that they came from."""

    reports: list[DamageReport]
    entries: list[bytes]


class Healer:
    """Heal on the calling thread, over connections of its own."""

    def __init__(self, wiring: Wiring, *, on_progress: Callable[[], object] = lambda: None) -> None:
        self._wiring = wiring
        self._on_progress = on_progress
        self._looked_at = 0.0
        self._retry_at: dict[tuple[str, int], float] = {}

    def run_once(self) -> int:
        """Heal all reported damage; return the number of repaired documents, members and fields."""
        healed = 0
        for key, found in self._found().items():
            generation = self._wiring.generations.get(*key)
            if generation is None or not _is_followed(generation):
                self._wiring.store.take_reports(found.entries)
            elif time.monotonic() >= self._retry_at.get(key, 0.0):
                healed += self._heal(generation, found)
        return healed

    def _found(self) -> dict[tuple[str, int], _Round]:
        rounds: dict[tuple[str, int], _Round] = {}
        for entry, report in self._wiring.store.reports():
            if report is None:
                self._wiring.store.take_reports([entry])
                continue
            one = rounds.setdefault((report.projection, report.generation), _Round([], []))
            one.reports.append(report)
            one.entries.append(entry)
        for report in self._parked_as_damaged():
            one = rounds.setdefault((report.projection, report.generation), _Round([], []))
            one.reports.append(report)
        return rounds

    def _parked_as_damaged(self) -> list[DamageReport]:
        if time.monotonic() < self._looked_at + PARKED_LOOKED_AT_EVERY_S:
            return []
        self._looked_at = time.monotonic()
        return [
            DamageReport(generation.projection, generation.number, number, one.entity)
            for generation in self._wiring.generations.all()
            if _is_followed(generation)
            for number, parked in enumerate(self._wiring.store.parked(generation.all_keys))
            for one in parked
            if one.damaged
        ]

    def _heal(self, generation: Generation, found: _Round) -> int:
        entities = {one.entity for one in found.reports if one.entity is not None}
        whole = {one.partition for one in found.reports if one.entity is None}
        whole &= set(range(generation.partitions))
        differences = 0
        try:
            if DEFINITIONS[generation.projection].partitions == 1:
                # Its entities have no keys of their own.
                whole = {0}
            elif entities:
                differences += self._compare(generation, entities=entities)
            if whole:
                differences += self._compare(generation, partitions=whole)
        except StarfoldError as error:
            log.warning(
                "healing_waits",
                projection=generation.projection,
                generation=generation.number,
                reason=str(error),
            )
            self._retry_at[generation.projection, generation.number] = time.monotonic() + RETRY_S
            return 0
        self._wiring.store.take_reports(found.entries)
        if differences:
            self._wiring.incidents.note(
                f"{differences} damaged values of {generation.projection} generation"
                f" {generation.number} were rebuilt from the log, in {len(entities)} entities and"
                f" {len(whole)} whole partitions"
            )
        return differences

    def _progressed(self, _events: int) -> None:
        self._on_progress()

    def _compare(self, generation: Generation, **chosen: set[Any]) -> int:
        audit = Audit(
            self._wiring.reader,
            self._wiring.store,
            on_progress=self._progressed,
        )
        return len(audit.verify(generation, repair=True, **chosen).differences)


def _is_followed(generation: Generation) -> bool:
    definition = DEFINITIONS.get(generation.projection)
    return (
        generation.state in ("following", "active", "retired")
        and definition is not None
        and definition.version == generation.definition_version
    )
