"""The switch: make a generation that has caught up the active one.

The projector's upkeep does it if that was requested; `starfold switch` does it at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import ge

import structlog

from projector.documents.store import ABSENT, PartitionStore
from projector.generations.table import Generation, Generations
from shared.ids import START, Position
from shared.read_model.checkpoints import decode_checkpoint

WITHIN_S = 0.5
POLL_S = 0.01

log = structlog.get_logger()


def switch_if_ready(generations: Generations, store: PartitionStore, wanted: Generation) -> bool:
    """Make a generation active if none of its partitions is behind the active one's.

    Return whether it is active. The log may grow faster than the two can be compared: it is enough
    to reach the active generation's positions at the first look, and better to pass those at the
    last. The generation must be followed by then, because some readers use the old one for another
    moment. A stopped active generation is ignored: its log may be gone.
    """
    if wanted.state not in ("following", "retired"):
        return False
    active = _followed_active(generations, wanted.projection)
    if active is not None and wanted.stopped is not None:
        return False
    first = _positions(store, active) if active is not None else []
    give_up_at = time.monotonic() + WITHIN_S
    active_positions = first
    positions = _positions(store, wanted)
    while not _covers(positions, active_positions) and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
        active_positions = _positions(store, active) if active is not None else []
        positions = _positions(store, wanted)
    if not _covers(positions, first) or not generations.switch(wanted.projection, wanted.number):
        return False
    generations.publish(store)
    log.info(
        "generation_switched",
        projection=wanted.projection,
        generation=wanted.number,
        position=min(positions),
    )
    return True


def _followed_active(generations: Generations, projection: str) -> Generation | None:
    for one in generations.all():
        if one.projection == projection and one.state == "active" and one.stopped is None:
            return one
    return None


def _positions(store: PartitionStore, generation: Generation) -> list[Position]:
    """Return the position of each partition; none if a partition has no checkpoint."""
    stored: Sequence[bytes] = store.checkpoints(generation.all_keys)
    if ABSENT in stored:
        return []
    return [decode_checkpoint(checkpoint).position for checkpoint in stored]


def _covers(positions: Sequence[Position], active_positions: Sequence[Position]) -> bool:
    """Whether no partition is behind the one that its readers have used so far."""
    if not positions or len(positions) == len(active_positions):
        return bool(positions) and all(map(ge, positions, active_positions))
    return min(positions) >= max(active_positions, default=START)
