"""One event as stored, for those who read the log."""

from __future__ import annotations

from typing import NamedTuple

from shared.ids import Position, StreamId, Version


class StoredRow(NamedTuple):
    """One event as stored; the state is still encoded."""

    position: Position
    stream_id: StreamId
    version: Version
    topic: str
    state: bytes
