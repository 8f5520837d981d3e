"""The movies that a member chooses for unmatched films."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from command_api.deciding.load_result import LoadRequest
from command_api.deciding.movie import OPEN_TOPICS, TOPICS
from command_api.store.store import Store
from shared.errors import InvalidInput
from shared.ids import StreamId

# A rating of a merged movie goes to the one that remains.
_TAKES_RATINGS = OPEN_TOPICS | {"MovieMerged", "MovieMergeCompleted"}
assert _TAKES_RATINGS <= TOPICS


async def require_rateable(store: Store, movies: Sequence[UUID]) -> None:
    """Raise `InvalidInput` for the first movie that takes no ratings: its film stays unmatched."""
    streams = [StreamId(movie_id) for movie_id in movies]
    loaded = (await store.load(LoadRequest(latest=streams))).streams
    for place, stream_id in enumerate(streams):
        rows = loaded.get(stream_id, [])
        if not rows or rows[-1].topic not in _TAKES_RATINGS:
            raise InvalidInput(
                f"there is no movie {stream_id} that takes ratings",
                pointer=f"/choices/{place}/movie_id",
            )
