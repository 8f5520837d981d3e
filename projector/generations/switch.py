"""The switch: a generation that has caught up becomes the active one.

The projector's upkeep does it where that was asked for, and `starfold switch` at once.
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
    """Make a generation that is followed active once it is nowhere behind the one that is.

    The log may grow faster than it can be looked at: it is enough to have reached where the active
    one stood at the first look, and better to be ahead of it at the last. It has to be followed by
    then, since some readers go on with the old one for a moment. An active one that has stopped is
    not waited for: its log may be gone.
    """
    if wanted.state not in ("following", "retired"):
        return False
    active = _followed_active(generations, wanted.projection)
    if active is not None and wanted.stopped is not None:
        return False
    first = _positions(store, active) if active is not None else []
    give_up_at = time.monotonic() + WITHIN_S
    standing = first
    positions = _positions(store, wanted)
    while not _covers(positions, standing) and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
        standing = _positions(store, active) if active is not None else []
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
    """Of each partition; of a generation without one there are none."""
    stored: Sequence[bytes] = store.checkpoints(generation.all_keys)
    if ABSENT in stored:
        return []
    return [decode_checkpoint(checkpoint).position for checkpoint in stored]


def _covers(positions: Sequence[Position], standing: Sequence[Position]) -> bool:
    """Whether no partition is behind the one that its readers read so far."""
    if not positions or len(positions) == len(standing):
        return bool(positions) and all(map(ge, positions, standing))
    return min(positions) >= max(standing, default=START)
