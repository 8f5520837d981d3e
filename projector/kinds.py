"""The kinds of string documents: what a projection folds, and how that is stored.

What is folded may be less than what is stored: statistics are folded as their histogram, and the
averages are computed when they are encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from shared.read_model import (
    HistoryYear,
    MovieDocument,
    ProfileDocument,
    RatingStatistics,
    statistics_of,
)

Folded = TypeVar("Folded")
Histogram = tuple[int, ...]

_json = msgspec.json.Encoder().encode
_decode_statistics = msgspec.json.Decoder(RatingStatistics).decode


class Kind(NamedTuple, Generic[Folded]):
    """A kind of document; `name` is the part of its key."""

    name: str
    encode: Callable[[Folded], bytes]
    decode: Callable[[bytes], Folded]


def _encode_statistics(histogram: Histogram) -> bytes:
    return _json(statistics_of(histogram))


def _decode_histogram(stored: bytes) -> Histogram:
    return _decode_statistics(stored).histogram


MOVIE: Kind[MovieDocument] = Kind("movie", _json, msgspec.json.Decoder(MovieDocument).decode)
PROFILE: Kind[ProfileDocument] = Kind(
    "profile", _json, msgspec.json.Decoder(ProfileDocument).decode
)
STATISTICS: Kind[Histogram] = Kind("stats", _encode_statistics, _decode_histogram)
HISTORY: Kind[HistoryYear] = Kind(
    "history", msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(HistoryYear).decode
)

# Keys of these kinds are no string documents: sorted sets, a hash, a stream.
RATERS = "raters"
CATALOGUE = "catalogue"
RATINGS = "ratings"
REVIEWS = "reviews"
CHANGED_MOVIES = "movies"
