"""The kinds of documents: their names in keys, their form during folding, and their codecs.

The folded form may be smaller than the stored one: statistics are folded as a histogram, and their
averages are computed when they are encoded. Folded documents are changed in place. Stored values
end with a checksum; decoding raises `DocumentDamaged` if it does not match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from shared.errors import DocumentDamaged
from shared.ids import Position
from shared.read_model.access import AccessDocument
from shared.read_model.checksum import CHECKSUM_BYTES, checked, with_checksum
from shared.read_model.documents import (
    ClosedDocument,
    HistoryYear,
    MovieDocument,
    Parked,
    PrivateDocument,
    ProfileDocument,
)
from shared.read_model.statistics import RatingStatistics, statistics_of

Folded = TypeVar("Folded")


class Scores(msgspec.Struct, gc=False):
    """The folded form of statistics: the histogram, and the position of its last event."""

    histogram: list[int]
    position: Position


_json = msgspec.json.Encoder().encode
_decode_statistics = msgspec.json.Decoder(RatingStatistics).decode
# Upper bounds, so that a call's size is known without encoding: ten counts, three averages and
# their names; a day's bin is its number and a count below 2^31.
STATISTICS_BYTES_MAX = 512
HISTORY_BIN_BYTES_MAX = 8


class Kind(NamedTuple, Generic[Folded]):
    """A kind of document; `name` is part of its key, `bytes_max` bounds its encoded size.

    `encode` and `decode` convert to and from the stored form; `parse` takes a document without its
    checksum. Both `decode` and `parse` raise `DocumentDamaged`.
    """

    name: str
    encode: Callable[[Folded], bytes]
    decode: Callable[[bytes], Folded]
    parse: Callable[[bytes], Folded]
    bytes_max: Callable[[Folded], int]


def _encode_scores(scores: Scores) -> bytes:
    return _json(statistics_of(tuple(scores.histogram), scores.position))


def _decode_scores(stored: bytes) -> Scores:
    statistics = _decode_statistics(stored)
    return Scores(list(statistics.histogram), statistics.position)


def _encoded_bytes(document: object) -> int:
    return len(_json(document)) + CHECKSUM_BYTES


def _stored(
    name: str,
    encode: Callable[[Folded], bytes],
    decode: Callable[[bytes], Folded],
    bytes_max: Callable[[Folded], int] = _encoded_bytes,
) -> Kind[Folded]:
    """Return a kind whose documents are stored with a checksum."""

    def encode_checked(document: Folded) -> bytes:
        return with_checksum(encode(document))

    def parse(document: bytes) -> Folded:
        try:
            return decode(document)
        except msgspec.MsgspecError as error:
            raise DocumentDamaged(f"a {name} document cannot be decoded") from error

    return Kind(name, encode_checked, lambda stored: parse(checked(stored)), parse, bytes_max)


MOVIE: Kind[MovieDocument] = _stored("movie", _json, msgspec.json.Decoder(MovieDocument).decode)
CLOSED: Kind[ClosedDocument] = _stored("closed", _json, msgspec.json.Decoder(ClosedDocument).decode)
PROFILE: Kind[ProfileDocument] = _stored(
    "profile", _json, msgspec.json.Decoder(ProfileDocument).decode
)
PRIVATE: Kind[PrivateDocument] = _stored(
    "private", _json, msgspec.json.Decoder(PrivateDocument).decode
)
STATISTICS: Kind[Scores] = _stored(
    "stats", _encode_scores, _decode_scores, lambda _scores: STATISTICS_BYTES_MAX
)
HISTORY: Kind[HistoryYear] = _stored(
    "history",
    msgspec.msgpack.Encoder().encode,
    msgspec.msgpack.Decoder(HistoryYear).decode,
    lambda year: HISTORY_BIN_BYTES_MAX * (1 + len(year.added)),
)
ACCESS: Kind[AccessDocument] = _stored("access", _json, msgspec.json.Decoder(AccessDocument).decode)
PARKED_MARK: Kind[Parked] = _stored("parked", _json, msgspec.json.Decoder(Parked).decode)
KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (MOVIE, CLOSED, PROFILE, PRIVATE, STATISTICS, HISTORY, ACCESS, PARKED_MARK)
}

# Keys of these kinds are not string documents but sorted sets, hashes and a stream.
RATERS = "raters"
CATALOGUE = "catalogue"
LEFT = "left_movies"
RATINGS = "ratings"
REVIEWS = "reviews"
POSITIONS = "positions"
# Each movie with the position of its last change as its rank.
CHANGE_ORDER = "change_order"
# The same as a capped stream, for query APIs of releases that do not read the order yet.
CHANGED_MOVIES = "movies"
CHANGED_MOVIE_FIELD = b"movie"
# The hash of every partition that lists its parked entities.
PARKED_ENTITIES = PARKED_MARK.name

# The field of a rating's position: the end of the movie's id, which is random in every kind of id.
# Few bytes, since there is a field for each rating; two ratings of a user that share a field share
# the later position.
POSITION_FIELD_BYTES = 3
# A user's positions are in as many hashes, by the field: Redis stores small ones more compactly.
POSITION_HASHES = 2


def year_suffix(movie: str, year: int) -> str:
    """Return the suffix of the key of a year of a movie's history."""
    return f"{movie}:{year}"


def position_field(movie: bytes) -> bytes:
    """Return the field that holds the position of the last change of a rating of the movie."""
    return movie[-POSITION_FIELD_BYTES:]


def positions_suffix(user: str, movie: bytes) -> str:
    """Return the suffix of the key of the hash with that field."""
    return f"{user}:{movie[-1] % POSITION_HASHES}"


def positions_suffixes(user: str) -> tuple[str, ...]:
    """Return the suffixes of all keys with positions of a user's ratings."""
    return tuple(f"{user}:{number}" for number in range(POSITION_HASHES))
