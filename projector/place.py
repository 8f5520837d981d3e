"""Where an event is in the log, and which one it is."""

from __future__ import annotations

from typing import NamedTuple

from shared.ids import Position, StreamId, Version
from shared.read_model import Checkpoint


class Place(NamedTuple):
    """If one of these differs, it is another event."""

    position: Position
    stream_id: StreamId
    version: Version


def place_of(checkpoint: Checkpoint) -> Place:
    return Place(checkpoint.position, checkpoint.stream_id, checkpoint.version)
