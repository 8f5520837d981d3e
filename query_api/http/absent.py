"""Why a movie cannot be shown: it does not exist, was merged, or Redis lost what it held of it."""

from __future__ import annotations

from uuid import UUID

from query_api.catalogue.index_feed import IndexFeed
from query_api.redis_reads.reader import Reader
from shared.errors import Moved, NotFound, StarfoldError, Unavailable
from shared.ids import MovieId, Position
from shared.read_model.keys import MOVIES
from shared.read_model.kinds import MOVED, MOVIE, STATISTICS


class AbsentMovies:
    """Tells a movie that does not exist from one that was merged or whose documents are lost."""

    def __init__(self, reader: Reader, feed: IndexFeed) -> None:
        self._reader = reader
        self._feed = feed

    async def error(
        self, movie_id: UUID, position: Position, parked: bytes | None = None
    ) -> StarfoldError:
        """Return the error to raise; a movie whose very first event is parked exists all the same.

        Raises `DocumentDamaged` itself where some document is there, or the index has the movie.
        """
        if parked is not None:
            return Unavailable(f"movie {movie_id} cannot be shown: see `starfold parked`")
        into = await self.moved(movie_id)
        if into is not None:
            return Moved(MovieId(movie_id), into).at(position)
        await self._reader.require_absent(MOVIES, movie_id, MOVIE.name, STATISTICS.name)
        if movie_id.bytes in self._feed.require().entries:
            return await self._reader.lost(MOVIES, movie_id)
        return NotFound(f"there is no movie {movie_id}").at(position)

    async def moved(self, movie_id: UUID) -> MovieId | None:
        """Return the movie that this one was merged into, if it was."""
        (stored,) = (await self._reader.documents(MOVIES, movie_id, (MOVED.name,))).values
        return None if stored is None else MOVED.parse(stored).into
