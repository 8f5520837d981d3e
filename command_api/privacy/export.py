"""All data of one user in the log, which they may request (GDPR, articles 15 and 20).

A user's ratings are found without a read model: the ids of their streams follow from the ids of the
user and of every movie. That reads much of the catalogue, from a replica of the database if there
is one that has all that the primary had when the export began.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import structlog

from command_api.deciding.load_result import LoadRequest
from command_api.privacy.places import Places
from command_api.privacy.rating_files import CurrentRating, File, RatingsFormat, ratings_file
from command_api.store.replica import Replica
from command_api.store.store import Store
from command_api.store.subjects import subject_pages
from shared.errors import Unavailable
from shared.ids import MovieId, Position, StreamId, UserId, rating_stream_id, sessions_stream_id
from shared.log.codec import Codec, Decoded
from shared.log.events import MovieCreated, MovieDetailsChanged, MovieFields, RatingSubmitted
from shared.log.sealing import Keys, KeyWrap, SubjectKeys
from shared.log.stored_row import StoredRow

EXPORTS_MAX = 2

_SESSION_FIELDS = ("created_at", "refreshed_at", "expires_at", "user_agent")
_SESSIONS = (
    b"SELECT created_at, refreshed_at, expires_at, user_agent FROM sessions"
    b" WHERE subject_id = %s ORDER BY created_at"
)
# Part of the account record; meaningless outside Starfold.
_LEFT_OUT = {"user_id", "subject_id", "password_hash", "ends_sessions"}
_FILM_FIELDS = ("title", "year", "imdb_id", "tmdb_id", "external_id")

Document = dict[str, Any]
Result = TypeVar("Result")

log = structlog.get_logger()


class Export:
    """Exports users' data, a few at a time: the work grows with the catalogue."""

    def __init__(
        self, store: Store, codec: Codec, key_wrap: KeyWrap, replica: Replica | None = None
    ) -> None:
        self._store = store
        self._replica = replica
        self._codec = codec
        self._key_wrap = key_wrap
        self._places = Places(EXPORTS_MAX, "export")

    async def of(self, user_id: UserId) -> bytes:
        """Return the user's export as JSON, no older than the position that it states.

        `behind` is the number of events that the log had beyond it at the end.
        Raises `Overloaded` while another export of the user is running, or too many others are.
        """
        with self._places.held(user_id):
            document = await self._read(lambda store: self._of(store, user_id))
            document["behind"] = max(await self._store.head() - document["position"], 0)
            return msgspec.json.encode(document)

    async def ratings_of(self, user_id: UserId, kind: RatingsFormat) -> File:
        """Return the user's current ratings as a file; raise `Overloaded` as `of` does."""
        with self._places.held(user_id):
            ratings = await self._read(lambda store: self._current_ratings(store, user_id))
            # Many reviews take a while to encode.
            return await asyncio.to_thread(ratings_file, ratings, kind)

    async def _read(self, read: Callable[[Store], Awaitable[Result]]) -> Result:
        """Return the result from a replica that has all of the log so far, else the primary's."""
        if self._replica is not None:
            store = await self._replica.having(await self._store.head())
            if store is not None:
                try:
                    return await read(store)
                except Unavailable as error:
                    log.warning("replica_unavailable", error=type(error).__name__)
        return await read(self._store)

    async def _of(self, store: Store, user_id: UserId) -> Document:
        position = await store.head()
        ended = sessions_stream_id(user_id)
        loaded = await store.load(LoadRequest(whole=[StreamId(user_id), ended], subjects=[user_id]))
        keys = SubjectKeys(self._key_wrap, loaded.wrapped_keys)
        account = [self._entry(row, keys) for row in loaded.streams.get(StreamId(user_id), [])]
        ratings = [rating async for page in self._ratings(store, user_id, keys) for rating in page]
        return {
            "user_id": user_id,
            "position": position,
            "account": account,
            "sessions": await self._sessions(store, user_id),
            "ended_sessions": [self._entry(row, keys) for row in loaded.streams.get(ended, [])],
            "ratings": sorted(ratings, key=lambda rating: str(rating["history"][0]["at"])),
        }

    async def _current_ratings(self, store: Store, user_id: UserId) -> list[CurrentRating]:
        loaded = await store.load(LoadRequest(subjects=[user_id]))
        keys = SubjectKeys(self._key_wrap, loaded.wrapped_keys)
        return [one async for page in self._current(store, user_id, keys) for one in page]

    async def _ratings(
        self, store: Store, user_id: UserId, keys: Keys
    ) -> AsyncIterator[list[Document]]:
        async for page in subject_pages(store, "MovieCreated"):
            movies = _by_rating_stream(user_id, page)
            found = (await store.load(LoadRequest(whole=list(movies)))).streams
            rated = {stream: movies[stream] for stream in found}
            details = await self._details(store, list(rated.values()))
            yield [
                {
                    "movie_id": movie,
                    **_film(details.get(movie)),
                    "current": self._current_of(found[stream][-1], keys),
                    "history": [self._entry(row, keys) for row in found[stream]],
                }
                for stream, movie in rated.items()
            ]

    def _current_of(self, last: StoredRow, keys: Keys) -> Document | None:
        event = self._codec.decode(last.topic, last.state, keys).event
        if not isinstance(event, RatingSubmitted):
            return None
        return {
            "score": event.half_stars / 2,
            "rated_at": event.rated_at,
            "review": event.review,
        }

    async def _current(
        self, store: Store, user_id: UserId, keys: Keys
    ) -> AsyncIterator[list[CurrentRating]]:
        async for page in subject_pages(store, "MovieCreated"):
            movies = _by_rating_stream(user_id, page)
            found = (await store.load(LoadRequest(latest=list(movies)))).streams
            last = {
                movies[stream]: self._codec.decode(rows[-1].topic, rows[-1].state, keys).event
                for stream, rows in found.items()
            }
            rated = {
                movie: event for movie, event in last.items() if isinstance(event, RatingSubmitted)
            }
            details = await self._details(store, list(rated))
            yield [
                CurrentRating(details[movie], event.half_stars, event.rated_at, event.review)
                for movie, event in rated.items()
            ]

    async def _details(self, store: Store, movies: list[StreamId]) -> dict[StreamId, MovieFields]:
        details: dict[StreamId, MovieFields] = {}
        for movie, rows in (await store.load(LoadRequest(whole=movies))).streams.items():
            for row in rows:
                event = self._codec.decode(row.topic, row.state, {}).event
                if isinstance(event, MovieCreated | MovieDetailsChanged):
                    details[movie] = event.details
        return details

    def _entry(self, row: StoredRow, keys: Keys) -> Document:
        decoded = self._codec.decode(row.topic, row.state, keys)
        return {"event": row.topic, "at": decoded.metadata.recorded_at, **_fields(decoded)}

    async def _sessions(self, store: Store, user_id: UserId) -> list[Document]:
        rows = await store.rows(_SESSIONS, [user_id])
        return [dict(zip(_SESSION_FIELDS, row, strict=True)) for row in rows]


def _film(details: MovieFields | None) -> Document:
    """Return what other programs, and another Starfold, know the film by."""
    return {name: getattr(details, name, None) for name in _FILM_FIELDS}


def _by_rating_stream(
    user_id: UserId, page: Sequence[tuple[Position, StreamId]]
) -> dict[StreamId, StreamId]:
    """Return movies by the stream of the user's rating of each."""
    return {rating_stream_id(user_id, MovieId(movie)): movie for _, movie in page}


def _fields(decoded: Decoded) -> Document:
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(decoded.event).items()
        if name not in _LEFT_OUT and value is not None
    }
    if isinstance(decoded.event, RatingSubmitted):
        fields["score"] = decoded.event.half_stars / 2
    return fields
