"""Why a movie cannot be shown: it does not exist, or what Redis holds of it was lost."""

from __future__ import annotations

from uuid import UUID

from query_api.catalogue.index_feed import IndexFeed
from query_api.redis_reads.reader import Reader
from shared.errors import NotFound, StarfoldError, Unavailable
from shared.ids import Position
from shared.read_model.keys import MOVIES
from shared.read_model.kinds import MOVIE, STATISTICS


class AbsentMovies:
    """Tells a movie that does not exist from one whose documents are lost."""

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
        await self._reader.require_absent(MOVIES, movie_id, MOVIE.name, STATISTICS.name)
        if movie_id.bytes in self._feed.require().entries:
            return await self._reader.lost(MOVIES, movie_id)
        return NotFound(f"there is no movie {movie_id}").at(position)
