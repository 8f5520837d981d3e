"""The streams that a batch was loaded with, and the events that it has recorded on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, cast
from uuid import UUID

from command_api.deciding import movie, rating, reservation, session, user
from command_api.deciding.effects import Effects
from command_api.deciding.load_result import LoadResult
from command_api.deciding.movie import Movie
from command_api.deciding.rating import Rating
from command_api.deciding.reservation import Reservation
from command_api.deciding.session import EndedSessions
from command_api.deciding.state_cache import StateCache
from command_api.deciding.user import User
from shared.ids import (
    CLOSURES,
    NO_VERSION,
    START,
    MovieId,
    Position,
    StreamId,
    UserId,
    Version,
    merges_stream_id,
)
from shared.log.codec import Codec
from shared.log.events import Event, Metadata, MovieAbsorbed, MovieClosed
from shared.log.sealing import Keys, SubjectKeys
from shared.log.stored_row import StoredRow

State = TypeVar("State")
Evolve = Callable[[Any, Any], Any]


class Needs(NamedTuple):
    """What a command is decided on.

    The last event of some streams, all events of others, whether movies are open, subjects' keys,
    and whether sessions are open.
    """

    latest: tuple[StreamId, ...] = ()
    whole: tuple[StreamId, ...] = ()
    movies: tuple[MovieId, ...] = ()
    subjects: tuple[UserId, ...] = ()
    sessions: tuple[UUID, ...] = ()


class Author(Protocol):
    """The command that records events."""

    def metadata(self, nth: int) -> Metadata:
        """Return the metadata of its n-th event, 0 first."""
        ...


class NewEvent(NamedTuple):
    """An event that the batch records, at its place in its stream, with its metadata."""

    stream_id: StreamId
    version: Version
    event: Event
    metadata: Metadata


class _StreamState:
    """One stream's state.

    `recorded_at_index` is the index of its last event in the batch, if it has one. `opened` says
    that the state includes personal data.
    """

    __slots__ = (
        "evolve",
        "loaded_version",
        "opened",
        "position",
        "recorded_at_index",
        "state",
        "version",
    )

    def __init__(self, state: object, evolve: Evolve, version: Version, position: Position) -> None:
        self.state = state
        self.evolve = evolve
        self.version = version
        self.loaded_version = version
        self.position = position
        self.recorded_at_index: int | None = None
        self.opened = False


class Streams:
    """States by stream. Commands decided later in a batch see what earlier ones recorded."""

    def __init__(
        self, loaded: LoadResult, codec: Codec, keys: SubjectKeys, cache: StateCache
    ) -> None:
        self._loaded = loaded
        self._codec = codec
        self._cache = cache
        # Keys of the loaded subjects; the batch adds the keys of the users that it creates.
        self.keys = keys
        self._states: dict[StreamId, _StreamState] = {}
        self._guards: dict[StreamId, Version] = {}
        self._closures_guarded = False
        self.events: list[NewEvent] = []
        self.effects = Effects()
        self._author: Author | None = None
        self._author_begins_at = 0

    def begin(self, author: Author) -> None:
        """Record in the name of the given command from now on."""
        self._author, self._author_begins_at = author, len(self.events)

    def add(self, rows: Mapping[StreamId, list[StoredRow]]) -> None:
        """Add streams that were loaded later; each is guarded separately when it is recorded on."""
        self._loaded.streams.update(rows)

    def user(self, user_id: UserId) -> User:
        """Return a user without personal data, which most commands do not need."""
        stream_id = StreamId(user_id)
        current = self._states.get(stream_id)
        if current is None:
            current = self._states[stream_id] = self._unopened(stream_id)
        return cast("User", current.state)

    def account(self, user_id: UserId) -> User:
        """Return a user with personal data."""
        state = self.user(user_id)
        stream_id = StreamId(user_id)
        current = self._states[stream_id]
        if current.opened:
            return state
        state = self._folded(self._rows(stream_id), User(), user.evolve, self.keys)
        for new in self.events:
            if new.stream_id == stream_id:
                state = user.evolve(state, cast("Any", new.event))
        current.state, current.opened = state, True
        return state

    def movie(self, movie_id: MovieId) -> Movie:
        """Return a movie, which does not exist if the id belongs to another stream."""
        stream_id = StreamId(movie_id)
        rows = self._rows(stream_id)
        if rows and rows[-1].topic not in movie.TOPICS:
            return Movie()
        return self._state(stream_id, Movie(), movie.evolve)

    def rating(self, stream_id: StreamId) -> Rating:
        return self._state(stream_id, Rating(), rating.evolve)

    def reservation(self, stream_id: StreamId) -> Reservation:
        return self._state(stream_id, Reservation(), reservation.evolve)

    def ended_sessions(self, stream_id: StreamId) -> EndedSessions:
        """Return the ended sessions from the loaded last event of a stream, and from this batch."""
        return self._state(stream_id, EndedSessions(), session.evolve)

    def session_is_open(self, session_id: UUID) -> bool:
        return session_id in self._loaded.sessions

    def version(self, stream_id: StreamId) -> Version:
        current = self._states.get(stream_id)
        return current.version if current else NO_VERSION

    def require_open(self, movie_id: MovieId, pointer: str | None = None) -> None:
        """Raise `NotFound`, `Moved`, `Gone` or `Conflict` unless the movie takes ratings.

        Most calls need not decode the movie. It stays open until the append, since the stream of
        closures is guarded.
        """
        if not self._closures_guarded:
            self._closures()
            self.guard(CLOSURES)
            self._closures_guarded = True
        stream_id = StreamId(movie_id)
        if stream_id not in self._states:
            if self._cache.is_open(movie_id):
                return
            rows = self._rows(stream_id)
            if rows and rows[-1].topic in movie.OPEN_TOPICS:
                self._cache.note_movie(movie_id)
                return
        movie.require_open(self.movie(movie_id), movie_id, pointer=pointer)

    @property
    def closures_version(self) -> Version:
        """The loaded version of the stream of closures."""
        rows = self._rows(CLOSURES)
        return rows[-1].version if rows else NO_VERSION

    def close(self, movie_id: MovieId) -> None:
        """Prevent ratings of a movie from now on."""
        self._closures()
        self.record(CLOSURES, MovieClosed(movie_id=movie_id))

    def absorbed(self, movie_id: MovieId) -> tuple[MovieId, ...]:
        """Return all movies that the movie has absorbed."""
        return self._state(merges_stream_id(movie_id), (), _absorbed)

    def absorbed_before(self, movie_id: MovieId) -> tuple[MovieId, ...]:
        """Return the absorbed movies without the ones that this batch records."""
        rows = self._rows(merges_stream_id(movie_id))
        return self._folded(rows[-1:], (), _absorbed, self.keys)

    def guard(self, stream_id: StreamId) -> None:
        """Have the append refused if the stream has changed since it was loaded."""
        self._guards[stream_id] = self._states[stream_id].loaded_version

    def record(self, stream_id: StreamId, event: Event) -> None:
        """Record the author's event on a stream that has been read, and guard the stream."""
        assert self._author is not None
        current = self._states[stream_id]
        current.version = Version(current.version + 1)
        current.state = current.evolve(current.state, event)
        current.recorded_at_index = len(self.events)
        self._guards[stream_id] = current.loaded_version
        metadata = self._author.metadata(len(self.events) - self._author_begins_at)
        self.events.append(NewEvent(stream_id, current.version, event, metadata))

    @property
    def guards(self) -> Mapping[StreamId, Version]:
        return self._guards

    def last_of(self, stream_id: StreamId) -> tuple[int | None, Position]:
        """Return the last event's index in the batch, or None and its position, 0 for none."""
        current = self._states[stream_id]
        return current.recorded_at_index, current.position

    def _state(
        self, stream_id: StreamId, initial: State, evolve: Callable[[State, Any], State]
    ) -> State:
        current = self._states.get(stream_id)
        if current is None:
            rows = self._rows(stream_id)
            state = self._folded(rows, initial, evolve, self.keys)
            current = self._states[stream_id] = _stream_state(state, evolve, rows)
        return cast("State", current.state)

    def _closures(self) -> None:
        if CLOSURES not in self._states:
            rows = self._rows(CLOSURES)
            self._states[CLOSURES] = _stream_state(None, _unchanged, rows)

    def _unopened(self, stream_id: StreamId) -> _StreamState:
        """Return a user's state without personal data, from the cache if possible."""
        rows = self._rows(stream_id)
        if not rows:
            return _stream_state(User(), user.evolve, rows)
        version = rows[-1].version
        state = self._cache.user(stream_id, version)
        if state is None:
            state = self._unopened_user(rows)
            self._cache.note_user(stream_id, version, state)
        return _stream_state(state, user.evolve, rows)

    def _unopened_user(self, rows: list[StoredRow]) -> User:
        """Fold a user from sealed events, and drop the personal data.

        The sealed fields still show which ones were set.
        """
        state = User()
        for row in rows:
            sealed = self._codec.decode_sealed(row.topic, row.state).event
            state = user.evolve(state, cast("Any", sealed))
        return user.without_personal(state)

    def _rows(self, stream_id: StreamId) -> list[StoredRow]:
        return self._loaded.streams.get(stream_id, [])

    def _folded(
        self,
        rows: list[StoredRow],
        state: State,
        evolve: Callable[[State, Any], State],
        keys: Keys,
    ) -> State:
        for row in rows:
            state = evolve(state, self._codec.decode(row.topic, row.state, keys).event)
        return state


def _absorbed(_absorbed: tuple[MovieId, ...], event: MovieAbsorbed) -> tuple[MovieId, ...]:
    return event.absorbed


def _unchanged(state: object, _event: Event) -> object:
    return state


def _stream_state(state: object, evolve: Evolve, rows: list[StoredRow]) -> _StreamState:
    last = rows[-1] if rows else None
    version, position = (last.version, last.position) if last else (NO_VERSION, START)
    return _StreamState(state, evolve, version, position)
