"""Why a movie cannot be shown: it does not exist, or what Redis holds of it was lost."""

from __future__ import annotations

from uuid import UUID

from query_api.http.dependencies import Wiring
from shared.errors import NotFound, StarfoldError, Unavailable
from shared.ids import Position
from shared.read_model.layout import MOVIES


async def no_movie(
    wiring: Wiring, movie_id: UUID, position: Position, parked: bytes | None = None
) -> StarfoldError:
    """The error to raise; a movie whose very first event is parked exists all the same.

    Raises `DocumentDamaged` itself where some document is there, or the index has the movie.
    """
    if parked is not None:
        return Unavailable(f"movie {movie_id} cannot be shown: see `starfold parked`")
    await wiring.reader.require_absent(MOVIES, movie_id, "movie", "stats")
    if movie_id.bytes in wiring.feed.require().entries:
        return await wiring.reader.lost(MOVIES, movie_id)
    return NotFound(f"there is no movie {movie_id}").at(position)
