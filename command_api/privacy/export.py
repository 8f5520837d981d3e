"""All that the log holds of one user, as they may ask for it (GDPR, articles 15 and 20).

A user's ratings are found without a read model: their streams' ids follow from the ids of the user
and of every movie there is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from command_api.deciding.subjects import subject_pages
from shared.errors import Overloaded
from shared.ids import MovieId, StreamId, UserId, rating_stream_id, sessions_stream_id
from shared.log.codec import Codec, Decoded
from shared.log.event_store import EventStore
from shared.log.events import MovieCreated, MovieDetailsChanged, RatingSubmitted
from shared.log.load import StoredRow, Wanted
from shared.log.sealing import Keys, KeyWrap, SubjectKeys

EXPORTS_MAX = 2

_SESSIONS = (
    "SELECT created_at, refreshed_at, expires_at FROM sessions"
    " WHERE subject_id = %s ORDER BY created_at"
)
# Part of the account record; meaningless outside Starfold.
_LEFT_OUT = {"user_id", "subject_id", "password_hash", "ends_sessions"}

Document = dict[str, Any]


class Export:
    """Blocking, for a thread; takes longer with the size of the catalogue, so a few at a time."""

    def __init__(self, store: EventStore, codec: Codec, key_wrap: KeyWrap) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap
        self._lock = threading.Lock()
        self._exporting: set[UserId] = set()

    def of(self, user_id: UserId) -> bytes:
        """Return the user's export as JSON, no older than the position that it states; raise
        `Overloaded` while the user has another one made, or too many others have.
        """
        with self._lock:
            if user_id in self._exporting:
                raise Overloaded("an export of yours is being made already")
            if len(self._exporting) >= EXPORTS_MAX:
                raise Overloaded("too many exports are being made already")
            self._exporting.add(user_id)
        try:
            return msgspec.json.encode(self._of(user_id))
        finally:
            with self._lock:
                self._exporting.remove(user_id)

    def _of(self, user_id: UserId) -> Document:
        position = self._store.head()
        ended = sessions_stream_id(user_id)
        loaded = self._store.load(Wanted(whole=[StreamId(user_id), ended], subjects=[user_id]))
        keys = SubjectKeys(self._key_wrap, loaded.wrapped_keys)
        account = [self._entry(row, keys) for row in loaded.streams.get(StreamId(user_id), [])]
        ratings = [rating for page in self._ratings(user_id, keys) for rating in page]
        return {
            "user_id": user_id,
            "position": position,
            "account": account,
            "sessions": self._sessions(user_id),
            "ended_sessions": [self._entry(row, keys) for row in loaded.streams.get(ended, [])],
            "ratings": sorted(ratings, key=lambda rating: str(rating["history"][0]["at"])),
        }

    def _ratings(self, user_id: UserId, keys: Keys) -> Iterator[list[Document]]:
        for page in subject_pages(self._store, "MovieCreated"):
            movies = {
                rating_stream_id(user_id, MovieId(stream_id)): stream_id for _, stream_id in page
            }
            found = self._store.load(Wanted(whole=list(movies))).streams
            rated = {stream: movies[stream] for stream in found}
            titles = self._titles(list(rated.values()))
            yield [
                {
                    "movie_id": movie,
                    "title": titles.get(movie),
                    "history": [self._entry(row, keys) for row in found[stream]],
                }
                for stream, movie in rated.items()
            ]

    def _titles(self, movies: list[StreamId]) -> dict[StreamId, str]:
        titles: dict[StreamId, str] = {}
        for movie, rows in self._store.load(Wanted(latest=movies)).streams.items():
            event = self._codec.decode(rows[-1].topic, rows[-1].state, {}).event
            if isinstance(event, MovieCreated | MovieDetailsChanged):
                titles[movie] = event.details.title
        return titles

    def _entry(self, row: StoredRow, keys: Keys) -> Document:
        decoded = self._codec.decode(row.topic, row.state, keys)
        return {"event": row.topic, "at": decoded.metadata.recorded_at, **_fields(decoded)}

    def _sessions(self, user_id: UserId) -> list[Document]:
        with self._store.datastore.get_connection() as connection:
            return [dict(row) for row in connection.execute(_SESSIONS, [user_id]).fetchall()]


def _fields(decoded: Decoded) -> Document:
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(decoded.event).items()
        if name not in _LEFT_OUT and value is not None
    }
    if isinstance(decoded.event, RatingSubmitted):
        fields["score"] = decoded.event.half_stars / 2
    return fields
