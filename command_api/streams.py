"""The streams that a batch was loaded with, and what it has recorded on top of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from command_api.deciders import movie, rating, reservation, user
from command_api.deciders.movie import Movie
from command_api.deciders.rating import Rating
from command_api.deciders.reservation import Reservation
from command_api.deciders.user import User
from shared.codec import Codec
from shared.event_store import Loaded
from shared.events import Event
from shared.ids import NO_VERSION, START, MovieId, Position, StreamId, UserId, Version

State = TypeVar("State")
Evolve = Callable[[Any, Any], Any]


class Needs(NamedTuple):
    """What a command is decided on: some streams' last event, whole others, subjects' keys."""

    latest: tuple[StreamId, ...] = ()
    whole: tuple[StreamId, ...] = ()
    subjects: tuple[UserId, ...] = ()


class NewEvent(NamedTuple):
    """An event that the batch records, at its place in its stream."""

    stream_id: StreamId
    version: Version
    event: Event


class _Standing:
    """One stream's state; `recorded_at_index` is the place of its last event in the batch, if it
    has one.
    """

    __slots__ = ("evolve", "loaded_version", "position", "recorded_at_index", "state", "version")

    def __init__(self, state: object, evolve: Evolve, version: Version, position: Position) -> None:
        self.state = state
        self.evolve = evolve
        self.version = version
        self.loaded_version = version
        self.position = position
        self.recorded_at_index: int | None = None


class Streams:
    """States by stream. Commands decided later in a batch see what earlier ones recorded."""

    def __init__(self, loaded: Loaded, codec: Codec, keys: dict[UserId, bytes]) -> None:
        self._loaded = loaded
        self._codec = codec
        # Unwrapped keys of the subjects at hand; the batch adds those of the users that it creates.
        self.keys = keys
        self._standing: dict[StreamId, _Standing] = {}
        self._guards: dict[StreamId, Version] = {}
        self.events: list[NewEvent] = []

    def user(self, user_id: UserId) -> User:
        return self._state(StreamId(user_id), User(), user.evolve)

    def movie(self, movie_id: MovieId) -> Movie:
        return self._state(StreamId(movie_id), Movie(), movie.evolve)

    def rating(self, stream_id: StreamId) -> Rating:
        return self._state(stream_id, Rating(), rating.evolve)

    def reservation(self, stream_id: StreamId) -> Reservation:
        return self._state(stream_id, Reservation(), reservation.evolve)

    def version(self, stream_id: StreamId) -> Version:
        standing = self._standing.get(stream_id)
        return standing.version if standing else NO_VERSION

    def exists(self, stream_id: StreamId) -> bool:
        """Whether the stream has any event, without decoding it."""
        return stream_id in self._loaded.streams or self.version(stream_id) > NO_VERSION

    def guard(self, stream_id: StreamId) -> None:
        """Let the append be refused if the stream has moved on since it was loaded."""
        self._guards[stream_id] = self._standing[stream_id].loaded_version

    def record(self, stream_id: StreamId, event: Event) -> None:
        """Add an event to a stream that has been read; its state moves on, and it is guarded."""
        standing = self._standing[stream_id]
        standing.version = Version(standing.version + 1)
        standing.state = standing.evolve(standing.state, event)
        standing.recorded_at_index = len(self.events)
        self._guards[stream_id] = standing.loaded_version
        self.events.append(NewEvent(stream_id, standing.version, event))

    @property
    def guards(self) -> Mapping[StreamId, Version]:
        return self._guards

    def last_of(self, stream_id: StreamId) -> tuple[int | None, Position]:
        """The stream's last event: its place in the batch, or None and its position, 0 for none."""
        standing = self._standing[stream_id]
        return standing.recorded_at_index, standing.position

    def _state(
        self, stream_id: StreamId, initial: State, evolve: Callable[[State, Any], State]
    ) -> State:
        standing = self._standing.get(stream_id)
        if standing is None:
            standing = self._fold(stream_id, initial, evolve)
        return cast("State", standing.state)

    def _fold(self, stream_id: StreamId, initial: object, evolve: Evolve) -> _Standing:
        standing = _Standing(initial, evolve, NO_VERSION, START)
        for row in self._loaded.streams.get(stream_id, ()):
            event = self._codec.decode(row.topic, row.state, self.keys).event
            standing.state = evolve(standing.state, event)
            standing.version = standing.loaded_version = row.version
            standing.position = row.position
        self._standing[stream_id] = standing
        return standing
