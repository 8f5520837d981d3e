"""The kinds of string documents: what a projection folds, and how that is stored.

What is folded may be less than what is stored: statistics are folded as their histogram, and the
averages are computed when they are encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from shared.ids import Position
from shared.read_model import (
    HistoryYear,
    MovieDocument,
    ProfileDocument,
    RatingStatistics,
    statistics_of,
)

Folded = TypeVar("Folded")
Histogram = tuple[int, ...]


class Scores(NamedTuple):
    """What statistics are folded as: how many of each score, and the event that made it so."""

    histogram: Histogram
    position: Position


_json = msgspec.json.Encoder().encode
_decode_statistics = msgspec.json.Decoder(RatingStatistics).decode


class Kind(NamedTuple, Generic[Folded]):
    """A kind of document; `name` is the part of its key."""

    name: str
    encode: Callable[[Folded], bytes]
    decode: Callable[[bytes], Folded]


def _encode_scores(scores: Scores) -> bytes:
    return _json(statistics_of(scores.histogram, scores.position))


def _decode_scores(stored: bytes) -> Scores:
    statistics = _decode_statistics(stored)
    return Scores(statistics.histogram, statistics.position)


MOVIE: Kind[MovieDocument] = Kind("movie", _json, msgspec.json.Decoder(MovieDocument).decode)
PROFILE: Kind[ProfileDocument] = Kind(
    "profile", _json, msgspec.json.Decoder(ProfileDocument).decode
)
STATISTICS: Kind[Scores] = Kind("stats", _encode_scores, _decode_scores)
HISTORY: Kind[HistoryYear] = Kind(
    "history", msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(HistoryYear).decode
)

# Keys of these kinds are no string documents: sorted sets, a hash, a stream.
RATERS = "raters"
CATALOGUE = "catalogue"
RATINGS = "ratings"
REVIEWS = "reviews"
CHANGED_MOVIES = "movies"
