"""What a replay or a switch waits for, in words, and the time since the last progress."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
import structlog

from projector.documents.store import ABSENT
from projector.generations.table import Generation
from projector.wiring import Wiring
from shared.ids import Position
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.status import STATUS_KEY, Status

SAY_EVERY_S = 5.0
# A projector writes its status once a second.
PROJECTOR_SILENT_MAX_S = 10.0

log = structlog.get_logger()


class WaitReport:
    """Reports periodically on standard error what a command waits for."""

    def __init__(self, wiring: Wiring, what: str) -> None:
        self._wiring = wiring
        self._what = what
        self._say_at = time.monotonic() + SAY_EVERY_S
        self._seen: object = None
        self._moved_at = time.monotonic()

    @property
    def still_s(self) -> float:
        """Time since the last progress."""
        return time.monotonic() - self._moved_at

    def look(self, generation: Generation) -> str:
        """Return what the command waits for."""
        reason, progress = wait_reason(self._wiring, generation)
        seen = (generation.state, generation.audit, progress)
        if seen != self._seen:
            self._seen, self._moved_at = seen, time.monotonic()
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + SAY_EVERY_S
            log.info("waiting", to=self._what, reason=reason)
        return reason


def wait_reason(wiring: Wiring, generation: Generation) -> tuple[str, object]:
    """Return what a replay or a switch waits for, and a value that changes with every progress."""
    if generation.state == "building":
        builds = wiring.generations.builds(generation.projection, generation.number)
        built = sum(one.built for one in builds)
        folded = sum(one.folded_events for one in builds)
        return f"{built} of {len(builds)} shares are built, {folded} events folded", folded
    lowest = _lowest(wiring, generation)
    if generation.state == "following" and generation.audit == "wanted":
        return "a worker has not finished its audit", lowest
    if _is_projector_silent(wiring):
        return "no projector is running", lowest
    if generation.stopped is not None:
        return generation.stopped, lowest
    head = wiring.reader.head()
    if lowest is None:
        return "some partitions have no readable checkpoint: a projector rebuilds them", None
    return f"it is at position {lowest} of {head}", lowest


def _lowest(wiring: Wiring, generation: Generation) -> Position | None:
    stored = wiring.store.checkpoints(generation.all_keys)
    if ABSENT in stored:
        return None
    return min(decode_checkpoint(one).position for one in stored)


def _is_projector_silent(wiring: Wiring) -> bool:
    stored = wiring.store.read(STATUS_KEY)
    try:
        status = msgspec.json.decode(stored or b"", type=Status)
    except msgspec.MsgspecError:
        return True
    return (datetime.now(UTC) - status.at).total_seconds() > PROJECTOR_SILENT_MAX_S
