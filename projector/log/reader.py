"""Read the log: decode events, and open their personal data with the keys of their subjects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace
from prometheus_client import Counter

from projector.projections import LogEvent, Projection, Unreadable
from projector.projections.selection import Selection
from shared.errors import Misconfigured
from shared.ids import Position, UserId
from shared.log.codec import Codec, Decoded, opened, sealed_subject
from shared.log.event_store import EventStore
from shared.log.sealing import KeyWrap
from shared.log.stored_row import StoredRow

READ_EVENTS = Counter(
    "starfold_projector_read_events", "Events read from the log, decoded or not.", ["decoded"]
)

# Keys tried at the start before the wrapping key is rejected.
KEYS_TRIED = 3
# Events of one fetch when the whole log is read.
FETCH_EVENTS = 5_000


class LogReader:
    """Fetch the log in order, and the keys with each fetch: an erased subject has none."""

    def __init__(self, store: EventStore, codec: Codec, key_wrap: KeyWrap) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap

    def fetch(
        self,
        start: Position,
        limit: int,
        *,
        personal: bool = True,
        selected: Selection | None = None,
    ) -> list[LogEvent]:
        """Return at most `limit` events from `start` on, inclusive.

        Personal data is opened only on request. An event that cannot be decoded comes as
        `Unreadable`; one whose personal data cannot be opened comes with its `fault`; a rating that
        is not `selected` comes as `UndecodedRating`.
        """
        events: list[LogEvent] = []
        sealed: list[tuple[int, Decoded, UserId]] = []
        decode = self._codec.decode_sealed
        undecoded = 0
        for row in self._store.fetch(start, limit):
            if selected is not None and (other := selected.stand_in(row.topic, row.state)):
                events.append(LogEvent(row.position, row.stream_id, row.version, other, row.state))
                undecoded += 1
                continue
            try:
                decoded = decode(row.topic, row.state)
            except Exception as error:  # noqa: BLE001  # Damaged bytes raise anything; the projections report it.
                events.append(_unreadable(row, error))
                continue
            event = decoded.event
            if personal and event.personal and (subject := sealed_subject(event)) is not None:
                sealed.append((len(events), decoded, subject))
            events.append(LogEvent(row.position, row.stream_id, row.version, event, row.state))
        if sealed:
            self._open(events, sealed)
        READ_EVENTS.labels("true").inc(len(events) - undecoded)
        READ_EVENTS.labels("false").inc(undecoded)
        return events

    def fetches(
        self, projection: Projection, *, after: Position, until: Position
    ) -> Iterator[list[LogEvent]]:
        """Yield the log after one position up to another, or to an event that cannot be folded."""
        start = Position(after + 1)
        while start <= until:
            events = self.fetch(start, FETCH_EVENTS, personal=projection.personal)
            wanted = events[: projection.readable(events)]
            while wanted and wanted[-1].position > until:
                wanted.pop()
            if wanted:
                yield wanted
            if len(wanted) < len(events) or not events:
                return
            start = Position(wanted[-1].position + 1)

    def recorded_at(self, position: Position) -> datetime | None:
        """Return when the first event from a position on was recorded; None if none can be read."""
        for row in self._store.fetch(position, 1):
            try:
                return self._codec.decode_sealed(row.topic, row.state).metadata.recorded_at
            except Exception:  # noqa: BLE001  # Only its age is unknown; the projections report the event.
                return None
        return None

    def head(self) -> Position:
        return self._store.head()

    def past(self, until: Position) -> LogReader:
        """Return the reader to read events up to a position with."""
        return self

    def replica_head(self) -> Position | None:
        """Return the position that the replica has; None without a replica."""
        return None

    def require_sealing_key(self) -> None:
        """Raise `Misconfigured` if the wrapping key opens none of the last users' keys."""
        wrapped_keys = self._store.last_wrapped_keys(KEYS_TRIED)
        _, faults = self._unwrapped(wrapped_keys)
        if wrapped_keys and len(faults) == len(wrapped_keys):
            raise Misconfigured(next(iter(faults.values())))

    def _open(self, events: list[LogEvent], sealed: Iterable[tuple[int, Decoded, UserId]]) -> None:
        """Replace the sealed events by copies with opened personal data."""
        subjects = {subject for _, _, subject in sealed}
        keys, faults = self._unwrapped(self._store.wrapped_keys(list(subjects)))
        for index, decoded, subject in sealed:
            fault = faults.get(subject)
            if fault is None:
                try:
                    events[index] = replace(events[index], event=opened(decoded, keys).event)
                except Exception as error:  # noqa: BLE001  # Damaged bytes raise anything; the entity is parked.
                    fault = f"its personal data cannot be opened: {_named(error)}"
            if fault is not None:
                events[index] = replace(events[index], fault=fault)

    def _unwrapped(
        self, wrapped_keys: dict[UserId, bytes]
    ) -> tuple[dict[UserId, bytes], dict[UserId, str]]:
        """Return the keys that could be unwrapped, and the faults of the others."""
        keys: dict[UserId, bytes] = {}
        faults: dict[UserId, str] = {}
        for user_id, wrapped in wrapped_keys.items():
            try:
                keys[user_id] = self._key_wrap.unwrap(user_id, wrapped)
            except Misconfigured as error:
                faults[user_id] = str(error)
        return keys, faults


def _unreadable(row: StoredRow, error: Exception) -> LogEvent:
    reason = f"the event at position {row.position} cannot be read: {_named(error)}"
    event = Unreadable(topic=row.topic, reason=reason)
    return LogEvent(row.position, row.stream_id, row.version, event, row.state)


def _named(error: Exception) -> str:
    """Name an error without quoting other people's data: use the message only of our own errors."""
    return str(error) if isinstance(error, Misconfigured) else type(error).__name__
