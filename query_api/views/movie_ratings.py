"""A movie's ratings: the movie lists its raters, and their own partitions hold what they say.

A page takes two round trips: one for the movie's raters, one for profile, score and review of all
users, consistent for each user. Private users are left out, so that a page may hold fewer ratings
than requested, or none, while there are more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from query_api.redis_reads.reader import RatedMovie, Reader
from query_api.views.pages import Page
from query_api.views.sort_keys import SORTED_MAX, KeyedRow, cut, ordered, score_key
from shared.log.events import Visibility
from shared.read_model.keys import MOVIES
from shared.read_model.kinds import MOVIE, RATERS
from shared.read_model.ranks import from_rating_rank

RatersSort = Literal["newest", "score"]
RATERS_KEY_TYPES: dict[RatersSort, type[tuple[Any, ...]]] = {
    "newest": tuple[int, bytes],
    "score": tuple[int, int, bytes],
}

_json = msgspec.json.Encoder().encode


class _Rater(msgspec.Struct, gc=False):
    """The part of a profile that a rating shows; the id stays text."""

    user_id: str
    display_name: str | None
    visibility: Visibility
    erased: bool


_decode_rater = msgspec.json.Decoder(_Rater).decode


class _Opinion(msgspec.Struct, gc=False):
    """A rating as the API shows it."""

    user_id: str
    display_name: str | None
    erased: bool
    score: float
    review: str | None
    rated_at: datetime


class Raters:
    """Builds the pages of a movie's ratings."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(
        self, movie_id: UUID, sort: RatersSort, *, after: tuple[Any, ...] | None, limit: int
    ) -> Page:
        """Return a page; its `items` are None if the movie does not exist."""
        by_time = sort == "newest"
        read = await self._reader.page(
            MOVIES,
            movie_id,
            RATERS,
            limit=limit + 1 if by_time else SORTED_MAX + 1,
            after=after if by_time else None,
            kinds=(MOVIE.name,),
        )
        if read.values[0] is None:
            return Page(read.position, None, None)
        raters: list[KeyedRow[bytes]]
        if by_time:
            raters = [((rank, user), user) for user, rank in read.members]
        else:
            keyed = [(score_key(user, rank), user) for user, rank in read.members]
            raters = ordered(keyed, sort, after)
        users, next_key = cut(raters, limit)
        if not users:
            return Page(read.position, [], None)
        position, newest, rated = await self._reader.rated(movie_id, users)
        items = [item for one in rated if (item := _item(one)) is not None]
        newest = max(read.position, newest)
        return Page(min(read.position, position), items, next_key, newest)


def _item(rated: RatedMovie) -> bytes | None:
    """Encode a rating; None for a private user, and for a rating withdrawn since."""
    if rated.profile is None or rated.rank is None:
        return None
    rater = _decode_rater(rated.profile)
    if rater.visibility != "public":
        return None
    rated_at, half_stars = from_rating_rank(rated.rank)
    review = None if rated.review is None else rated.review.decode()
    return _json(
        _Opinion(rater.user_id, rater.display_name, rater.erased, half_stars / 2, review, rated_at)
    )
