"""Where an event is in the log, and which one it is."""

from __future__ import annotations

from typing import NamedTuple

from shared.ids import Position, StreamId, Version
from shared.read_model.checkpoints import Checkpoint


class Place(NamedTuple):
    """If one of these differs, it is another event. A digest of 0 is unknown."""

    position: Position
    stream_id: StreamId
    version: Version
    digest: int = 0

    def is_of_same_event(self, other: Place) -> bool:
        """Whether both are places of one event, as far as is known."""
        return self[:3] == other[:3] and (
            self.digest == other.digest or not self.digest or not other.digest
        )


def place_of(checkpoint: Checkpoint) -> Place:
    return Place(
        checkpoint.position, checkpoint.stream_id, checkpoint.version, checkpoint.event_digest
    )
