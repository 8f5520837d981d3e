"""What a process remembers from batch to batch, so that it need not be read and decoded again.

Nothing personal is remembered, and nothing that could have changed is believed: a user's state is
of a version of their stream, and used only while the stream, loaded with every batch, ends there.
That a movie takes ratings is believed as long as the stream of closures, also loaded, stays where
it is.
"""

from __future__ import annotations

from command_api.deciding.user import User
from shared.ids import NO_VERSION, MovieId, StreamId, Version

USERS_MAX = 50_000
MOVIES_MAX = 200_000


class StateCache:
    """Of one process. Filled by batches one after another; what is over the limits is dropped."""

    def __init__(self) -> None:
        self._users: dict[StreamId, tuple[Version, User]] = {}
        self._movies: set[MovieId] = set()
        self._closures = NO_VERSION

    def user(self, stream_id: StreamId, version: Version) -> User | None:
        """The user's state at just this version, if it is known."""
        known = self._users.get(stream_id)
        return known[1] if known is not None and known[0] == version else None

    def note_user(self, stream_id: StreamId, version: Version, user: User) -> None:
        """`user` without anything personal."""
        if len(self._users) >= USERS_MAX:
            self._users.clear()
        self._users[stream_id] = (version, user)

    def require_closures(self, version: Version) -> bool:
        """Forget the movies unless they were noted at this version of the stream of closures."""
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
        """After a lost connection: the next server may be one that lost the log's tail."""
        self._users.clear()
        self._movies.clear()
