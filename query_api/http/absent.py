"""Why a movie cannot be shown: it does not exist, it left the catalogue, or Redis lost it."""

from __future__ import annotations

from uuid import UUID

from query_api.feed.index_feed import IndexFeed
from query_api.redis_reads.reader import Reader
from shared.errors import Gone, Moved, NotFound, StarfoldError, Unavailable
from shared.ids import MovieId, Position
from shared.read_model.documents import ClosedDocument
from shared.read_model.keys import MOVIES
from shared.read_model.kinds import CLOSED, MOVIE, STATISTICS


class AbsentMovies:
    """Distinguishes movies that do not exist from those that left, and from lost documents."""

    def __init__(self, reader: Reader, feed: IndexFeed) -> None:
        self._reader = reader
        self._feed = feed

    async def error(
        self, movie_id: UUID, position: Position, parked: bytes | None = None
    ) -> StarfoldError:
        """Return the error to raise; a movie whose first event is parked exists nevertheless.

        Raises `DocumentDamaged` if some document of the movie exists, or the index has the movie.
        """
        if parked is not None:
            return Unavailable(f"movie {movie_id} cannot be shown: see `starfold parked`")
        closed = await self._closed(movie_id)
        if closed is not None and closed.into is not None:
            return Moved(MovieId(movie_id), closed.into).at(position)
        if closed is not None:
            return Gone(f"movie {movie_id} was withdrawn").at(position)
        await self._reader.require_absent(MOVIES, movie_id, MOVIE.name, STATISTICS.name)
        if movie_id.bytes in self._feed.require().entries:
            return await self._reader.lost(MOVIES, movie_id)
        return NotFound(f"there is no movie {movie_id}").at(position)

    async def _closed(self, movie_id: UUID) -> ClosedDocument | None:
        (stored,) = (await self._reader.documents(MOVIES, movie_id, (CLOSED.name,))).values
        return None if stored is None else CLOSED.parse(stored)
