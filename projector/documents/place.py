"""The place of an event in the log, and its identity."""

from __future__ import annotations

from typing import NamedTuple

from shared.ids import Position, StreamId, Version
from shared.read_model.checkpoints import Checkpoint


class Place(NamedTuple):
    """A position and the identity of the event there; a digest of 0 means unknown."""

    position: Position
    stream_id: StreamId
    version: Version
    digest: int = 0

    def is_of_same_event(self, other: Place) -> bool:
        """Whether both places name the same event, as far as is known."""
        return self[:3] == other[:3] and (
            self.digest == other.digest or not self.digest or not other.digest
        )


def place_of(checkpoint: Checkpoint) -> Place:
    return Place(
        checkpoint.position, checkpoint.stream_id, checkpoint.version, checkpoint.event_digest
    )
