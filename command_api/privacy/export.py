"""All data of one user in the log, which they may request (GDPR, articles 15 and 20).

A user's ratings are found without a read model: the ids of their streams follow from the ids of the
user and of every movie.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from command_api.deciding.load_result import LoadRequest
from command_api.store.store import Store
from command_api.store.subjects import subject_pages
from shared.errors import Overloaded
from shared.ids import MovieId, StreamId, UserId, rating_stream_id, sessions_stream_id
from shared.log.codec import Codec, Decoded
from shared.log.events import MovieCreated, MovieDetailsChanged, RatingSubmitted
from shared.log.sealing import Keys, KeyWrap, SubjectKeys
from shared.log.stored_row import StoredRow

EXPORTS_MAX = 2

_SESSION_FIELDS = ("created_at", "refreshed_at", "expires_at")
_SESSIONS = (
    b"SELECT created_at, refreshed_at, expires_at FROM sessions"
    b" WHERE subject_id = %s ORDER BY created_at"
)
# Part of the account record; meaningless outside Starfold.
_LEFT_OUT = {"user_id", "subject_id", "password_hash", "ends_sessions"}

Document = dict[str, Any]


class Export:
    """Exports users' data, a few at a time: the work grows with the catalogue."""

    def __init__(self, store: Store, codec: Codec, key_wrap: KeyWrap) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap
        self._exporting: set[UserId] = set()

    async def of(self, user_id: UserId) -> bytes:
        """Return the user's export as JSON, no older than the position that it states.

        Raises `Overloaded` while another export of the user is running, or too many others are.
        """
        if user_id in self._exporting:
            raise Overloaded("another export of this user is in progress already")
        if len(self._exporting) >= EXPORTS_MAX:
            raise Overloaded("too many exports are in progress already")
        self._exporting.add(user_id)
        try:
            return msgspec.json.encode(await self._of(user_id))
        finally:
            self._exporting.remove(user_id)

    async def _of(self, user_id: UserId) -> Document:
        position = await self._store.head()
        ended = sessions_stream_id(user_id)
        loaded = await self._store.load(
            LoadRequest(whole=[StreamId(user_id), ended], subjects=[user_id])
        )
        keys = SubjectKeys(self._key_wrap, loaded.wrapped_keys)
        account = [self._entry(row, keys) for row in loaded.streams.get(StreamId(user_id), [])]
        ratings = [rating async for page in self._ratings(user_id, keys) for rating in page]
        return {
            "user_id": user_id,
            "position": position,
            "account": account,
            "sessions": await self._sessions(user_id),
            "ended_sessions": [self._entry(row, keys) for row in loaded.streams.get(ended, [])],
            "ratings": sorted(ratings, key=lambda rating: str(rating["history"][0]["at"])),
        }

    async def _ratings(self, user_id: UserId, keys: Keys) -> AsyncIterator[list[Document]]:
        async for page in subject_pages(self._store, "MovieCreated"):
            movies = {
                rating_stream_id(user_id, MovieId(stream_id)): stream_id for _, stream_id in page
            }
            found = (await self._store.load(LoadRequest(whole=list(movies)))).streams
            rated = {stream: movies[stream] for stream in found}
            titles = await self._titles(list(rated.values()))
            yield [
                {
                    "movie_id": movie,
                    "title": titles.get(movie),
                    "history": [self._entry(row, keys) for row in found[stream]],
                }
                for stream, movie in rated.items()
            ]

    async def _titles(self, movies: list[StreamId]) -> dict[StreamId, str]:
        titles: dict[StreamId, str] = {}
        for movie, rows in (await self._store.load(LoadRequest(whole=movies))).streams.items():
            for row in rows:
                event = self._codec.decode(row.topic, row.state, {}).event
                if isinstance(event, MovieCreated | MovieDetailsChanged):
                    titles[movie] = event.details.title
        return titles

    def _entry(self, row: StoredRow, keys: Keys) -> Document:
        decoded = self._codec.decode(row.topic, row.state, keys)
        return {"event": row.topic, "at": decoded.metadata.recorded_at, **_fields(decoded)}

    async def _sessions(self, user_id: UserId) -> list[Document]:
        rows = await self._store.rows(_SESSIONS, [user_id])
        return [dict(zip(_SESSION_FIELDS, row, strict=True)) for row in rows]


def _fields(decoded: Decoded) -> Document:
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(decoded.event).items()
        if name not in _LEFT_OUT and value is not None
    }
    if isinstance(decoded.event, RatingSubmitted):
        fields["score"] = decoded.event.half_stars / 2
    return fields
