"""Comparisons of read models with the log: the one function, and the table of ordered ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ops.errors import OperatorError
from projector.audit.auditor import Audit, Report
from projector.audit.differences import Difference
from projector.building.builder import Builder
from projector.building.upkeep import Upkeep
from projector.generations.table import Generation
from projector.wiring import Wiring
from shared.errors import StarfoldError
from shared.ids import new_uuid7
from shared.log.event_store import Datastore

DIFFERENCES_KEPT_MAX = 100

State = Literal["wanted", "passed", "failed", "impossible"]

_INSERT = (
    "INSERT INTO verifications (verification_id, projection, number, repair)"
    " VALUES (%s, %s, %s, %s)"
)
_SELECT = (
    "SELECT verification_id, ordered_at, projection, number, repair, state, finished_at, report"
    " FROM verifications"
)
_FINISH = (
    "UPDATE verifications SET state = %s, report = %s, finished_at = now()"
    " WHERE verification_id = %s AND state = 'wanted'"
)


class Verification(NamedTuple):
    """An ordered comparison; `report` has its numbers and first differences, or its error."""

    verification_id: UUID
    ordered_at: datetime
    projection: str
    number: int
    repair: bool
    state: State
    finished_at: datetime | None
    report: dict[str, Any] | None


class Verifications:
    """The table, accessed through the event store's connections; it raises the library's errors."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def order(self, projection: str, number: int, *, repair: bool) -> UUID:
        verification_id = new_uuid7()
        with self._datastore.get_connection() as connection:
            connection.execute(_INSERT, [verification_id, projection, number, repair])
        return verification_id

    def get(self, verification_id: UUID) -> Verification | None:
        found = self._rows(" WHERE verification_id = %s", verification_id)
        return found[0] if found else None

    def newest(self, limit: int) -> list[Verification]:
        return self._rows(" ORDER BY verification_id DESC LIMIT %s", limit)

    def wanted(self) -> list[Verification]:
        return self._rows(" WHERE state = 'wanted' ORDER BY verification_id")

    def finish(self, verification_id: UUID, state: State, report: dict[str, Any]) -> None:
        with self._datastore.get_connection() as connection:
            connection.execute(_FINISH, [state, Jsonb(report), verification_id])

    def _rows(self, condition: str, *parameters: object) -> list[Verification]:
        with self._datastore.get_connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Verification))
            statement = f"{_SELECT}{condition}"
            return cursor.execute(statement.encode(), parameters).fetchall()


def verified(
    wiring: Wiring,
    generation: Generation,
    entity: UUID | None = None,
    *,
    repair: bool,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> Report:
    """Compare a generation with a fresh fold of the log, or one entity of it; with `repair`, mend.

    Raises `OperatorError` if they cannot be compared.
    """
    audit = Audit(wiring.reader, wiring.store, on_progress=on_progress)
    entities = None if entity is None else [entity]
    if repair:
        builder = Builder(wiring.reader, wiring.store, wiring.generations)
        Upkeep(wiring, builder).rebuild_lost_partitions([generation])
    try:
        return audit.verify(generation, entities=entities, repair=repair)
    except StarfoldError as error:
        raise OperatorError(str(error)) from None


def run(wiring: Wiring, verification_id: UUID) -> bool:
    """Make an ordered comparison and store what it found; return whether nothing differs."""
    verifications = Verifications(wiring.events.connections)
    ordered = verifications.get(verification_id)
    if ordered is None or ordered.state != "wanted":
        return ordered is not None and ordered.state == "passed"
    generation = wiring.generations.get(ordered.projection, ordered.number)
    if generation is None or generation.state == "purged":
        gone = f"generation {ordered.number} does not exist any more"
        verifications.finish(verification_id, "impossible", {"error": gone})
        return False
    try:
        report = verified(wiring, generation, repair=ordered.repair)
    except OperatorError as error:
        verifications.finish(verification_id, "impossible", {"error": str(error)})
        return False
    state: State = "passed" if report.passed else "failed"
    verifications.finish(verification_id, state, _summary(report))
    return report.passed


def key_text(one: Difference) -> str:
    """Return the stored key of a difference."""
    kind, suffix = one.key
    return f"{kind}:{suffix}" if suffix else kind


def _summary(report: Report) -> dict[str, Any]:
    return {
        "keys": report.keys,
        "events": report.events,
        "position": report.position,
        "parked": len(report.parked),
        "differences": len(report.differences),
        "first_differences": [
            {
                "entity": None if one.entity is None else str(one.entity),
                "key": key_text(one),
                "field": one.part,
                "stored": one.stored,
                "from_the_log": one.wanted,
            }
            for one in report.differences[:DIFFERENCES_KEPT_MAX]
        ],
    }
