"""An event as it is stored, for readers of the log."""

from __future__ import annotations

from typing import NamedTuple

from shared.ids import Position, StreamId, Version


class StoredRow(NamedTuple):
    """An event as it is stored; its state is still encoded."""

    position: Position
    stream_id: StreamId
    version: Version
    topic: str
    state: bytes
