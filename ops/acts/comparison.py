"""Comparing read models with the log, as the command line and workers do."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ops.errors import OperatorError
from projector.audit.auditor import Audit, Report
from projector.audit.differences import Difference
from projector.building.builder import Builder
from projector.building.upkeep import Upkeep
from projector.generations.table import Generation
from projector.wiring import Wiring
from shared.errors import StarfoldError


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


def key_text(one: Difference) -> str:
    """Return the stored key of a difference."""
    kind, suffix = one.key
    return f"{kind}:{suffix}" if suffix else kind
