"""Which ratings concern some partitions, by a look at fixed places of the stored event.

Nearly all events are ratings. Each names a user and a movie, whose ids stand at the same places of
every stored rating, and the last byte of an id determines its partition. So a reader that works on
a share of the partitions need not decode a rating that concerns none of them. All other events, and
ratings of another layout, are decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from projector.projections import DEFINITIONS, UndecodedRating
from shared.log.codec import RATING_MOVIE, RATING_USER, is_plain_rating
from shared.log.events import RatingSubmitted

# Partitions by the name of their projection.
Share = Mapping[str, Collection[int]]

_LAST_BYTES = range(256)
_UNNAMED = UndecodedRating(movie=b"")


class Selection(NamedTuple):
    """The ratings of interest: a flag for each value of the last byte of a user's and a movie's id.

    `names_movies` says whether a projection needs the movie of every other rating.
    """

    users: bytes
    movies: bytes
    names_movies: bool

    def stand_in(self, topic: str, state: bytes) -> UndecodedRating | None:
        """Return what stands for a rating of no interest; None for an event to be decoded."""
        if (
            not is_plain_rating(topic, state)
            or self.users[state[RATING_USER.stop - 1]]
            or self.movies[state[RATING_MOVIE.stop - 1]]
        ):
            return None
        return UndecodedRating(movie=state[RATING_MOVIE]) if self.names_movies else _UNNAMED


def selection(share: Share) -> Selection | None:
    """Return the ratings that concern a share of the partitions; None if all do."""
    users, movies, names_movies = bytearray(256), bytearray(256), False
    for name, partitions in share.items():
        definition = DEFINITIONS[name]
        field = definition.entities.get(RatingSubmitted)
        if field is None or not partitions:
            continue
        if UndecodedRating in definition.entities:
            names_movies = True
            continue
        if len(_LAST_BYTES) % definition.partitions:
            return None
        flags = users if field == "user_id" else movies
        for last in _LAST_BYTES:
            flags[last] |= last % definition.partitions in partitions
    if all(users) or all(movies):
        return None
    return Selection(bytes(users), bytes(movies), names_movies)
