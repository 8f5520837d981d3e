"""Reading the log: decoded events, their personal data opened with the keys of their subjects."""

from __future__ import annotations

from typing import NamedTuple

from shared.codec import Codec, opened, sealed_subject
from shared.event_store import EventStore
from shared.events import Event
from shared.ids import Position, StreamId, UserId, Version
from shared.sealing import KeyWrap


class LogEvent(NamedTuple):
    """An event at its place in the log."""

    position: Position
    stream_id: StreamId
    version: Version
    event: Event


class LogReader:
    """Fetches the log in order. Keys are asked for with every fetch: an erased subject has none."""

    def __init__(self, store: EventStore, codec: Codec, key_wrap: KeyWrap) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap

    def fetch(self, start: Position, limit: int) -> list[LogEvent]:
        """At most `limit` events from `start` on, inclusive."""
        rows = self._store.fetch(start, limit)
        sealed = [self._codec.decode_sealed(row.topic, row.state) for row in rows]
        subjects = {sealed_subject(decoded.event) for decoded in sealed} - {None}
        keys = self._unwrapped(subjects)
        return [
            LogEvent(row.position, row.stream_id, row.version, opened(decoded, keys).event)
            for row, decoded in zip(rows, sealed, strict=True)
        ]

    def head(self) -> Position:
        return self._store.head()

    def _unwrapped(self, subjects: set[UserId | None]) -> dict[UserId, bytes]:
        if not subjects:
            return {}
        wrapped_keys = self._store.wrapped_keys([user_id for user_id in subjects if user_id])
        return {
            user_id: self._key_wrap.unwrap(user_id, wrapped)
            for user_id, wrapped in wrapped_keys.items()
        }
