"""The state that a process caches from batch to batch, to avoid reading and decoding it again.

The cache has no personal data, and nothing in it can be outdated when used: a user's state belongs
to a version of their stream, and is used only while the stream, which every batch loads, ends
there. Open movies are valid as long as the stream of closures, also loaded, does not change.
"""

from __future__ import annotations

from command_api.deciding.user import User
from shared.ids import NO_VERSION, MovieId, StreamId, Version

USERS_MAX = 50_000
MOVIES_MAX = 200_000


class StateCache:
    """The cache of one process; each batch adds to it, and a full part is cleared."""

    def __init__(self) -> None:
        self._users: dict[StreamId, tuple[Version, User]] = {}
        self._movies: set[MovieId] = set()
        self._closures = NO_VERSION

    def user(self, stream_id: StreamId, version: Version) -> User | None:
        """Return the user's cached state at exactly this version, None if there is none."""
        known = self._users.get(stream_id)
        return known[1] if known is not None and known[0] == version else None

    def note_user(self, stream_id: StreamId, version: Version, user: User) -> None:
        """Cache a user's state, which must have no personal data."""
        if len(self._users) >= USERS_MAX:
            self._users.clear()
        self._users[stream_id] = (version, user)

    def require_closures(self, version: Version) -> bool:
        """Clear the movies unless they were cached at this version of the closures."""
        known = version == self._closures
        if not known:
            self._movies.clear()
            self._closures = version
        return known

    def is_open(self, movie_id: MovieId) -> bool:
        return movie_id in self._movies

    def note_movie(self, movie_id: MovieId) -> None:
        if len(self._movies) >= MOVIES_MAX:
            self._movies.clear()
        self._movies.add(movie_id)

    def forget(self) -> None:
        """Clear the cache after a lost connection: the next server may have lost recent commits."""
        self._users.clear()
        self._movies.clear()
