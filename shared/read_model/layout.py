"""The layout of the read models in Redis: what the projector writes and the query API reads.

Keys are `sf:{<projection>:<generation>:<partition>}:<kind>:<id>`; the part in braces is the
cluster's hash tag, so that a partition's documents and its checkpoint live together and one script
writes them at once.

    movies      movie:<movie_id>           JSON     MovieDocument, details as the API shows them
                stats:<movie_id>           JSON     RatingStatistics
                history:<movie_id>:<year>  msgpack  HistoryYear, daily differences of the histogram
                raters:<movie_id>          sorted   user id (16 bytes) by rating_rank
                catalogue                  sorted   movie id (16 bytes) by creation, milliseconds
    profiles    profile:<user_id>          JSON     ProfileDocument
                private:<user_id>          JSON     PrivateDocument, if there is an e-mail
                access:<subject_id>        JSON     AccessDocument (`access.py`), if the log says
                                                    anything of a user's or a key's tokens
                stats:<user_id>            JSON     RatingStatistics
                ratings:<user_id>          sorted   movie id (16 bytes) by rating_rank
                reviews:<user_id>          hash     review text by movie id (16 bytes)
    changes     movies                     stream   entry <position>-0, field movie = movie id
    each        checkpoint                 msgpack  Checkpoint

Where an entity is parked, its partition also has `parked:<id>` (JSON, Parked), and the same as a
field of the hash `parked`, by the entity's id (16 bytes).

Every string document, every field of a hash and every entry's movie id ends with a checksum
(`checksum.py`); ranks carry check bits (`ranks.py`), a checkpoint and the copy of the
generations a checksum of their own, which older releases pass over (`checkpoints.py`).
`sf:damaged` is a set of what readers found damaged, for the projector to heal (`damage.py`).

`sf:log` says of which log the read models are (PostgreSQL's `log_identity`, with a checksum).
`sf:generations` is the readers' copy of the table of generations, and the channel on which a new
copy is announced; on the channel `sf:applied` the projector says which position it has come to;
`sf:scrubbed` is the erasure that Redis's own files are clean of; `sf:status` says how far each
projection is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

import msgspec

from shared.ids import MovieId, Position, StreamId, UserId, Version
from shared.log.events import MovieFields, Visibility

PARTITIONS = 16
GENERATIONS_KEY = "sf:generations"
LOG_KEY = "sf:log"
SCRUBBED_KEY = "sf:scrubbed"
APPLIED_CHANNEL = "sf:applied"
GENERATIONS_CHANNEL = "sf:generations"

MOVIES = "movies"
PROFILES = "profiles"
CHANGES = "changes"

PARKED = "parked"

# The definition versions from which on values are stored with checksums and ranks with check bits.
CHECKED_SINCE = {MOVIES: 3, PROFILES: 3, CHANGES: 2}

BINS = 10  # Half stars 1 to 10.
AVERAGE_UNITS = 10_000  # In a star: averages have 4 decimals.

# The weighted average `(v*R + m*C) / (v + m)`: a movie with fewer than about m ratings is drawn
# towards C. Both are part of the definition of `movies`; changing one is a new definition version
# and a replay.
WEIGHT_M = 25
WEIGHT_C_HALF_STARS = 7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RANK_STEP = 16
HISTORY_STEP = 16


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The last event that a partition has applied, and what applied it.

    Position 0 with stream and version of nothing: nothing has been applied yet. `event_digest` is
    the CRC-32 of the event as it is stored, 0 where an earlier release wrote the checkpoint: the
    same version of the same stream may stand at the same position of a log that was restored and
    went another way.
    """

    position: Position
    stream_id: StreamId
    version: Version
    definition_version: int
    build_token: UUID
    event_digest: int = 0


class GenerationCopy(msgspec.Struct, frozen=True):
    """What a reader needs to know of a projection's active generation.

    `checksum` is 0 in the copies of releases that had none.
    """

    number: int
    definition_version: int
    partitions: int
    checksum: int = 0


class PartitionKeys(NamedTuple):
    """Builds the keys of one partition of one generation of a projection."""

    projection: str
    generation: int
    partition: int

    @property
    def prefix(self) -> str:
        return f"sf:{{{self.projection}:{self.generation}:{self.partition}}}:"

    @property
    def checkpoint(self) -> str:
        return self.prefix + "checkpoint"

    def document(self, kind: str, suffix: str = "") -> str:
        return self.prefix + document_name(kind, suffix)


def document_name(kind: str, suffix: str = "") -> str:
    """What follows the prefix in a document's key."""
    return f"{kind}:{suffix}" if suffix else kind


class RatingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of a set of scores, all computed from the histogram. Averages in stars, 4
    decimals.

    `histogram` counts half stars 1 to 10. Averages and median are None when there is no score.
    `position` is of the event that made them so.
    """

    count: int
    average: float | None
    median: float | None
    weighted_average: float | None
    histogram: tuple[int, ...]
    position: Position


class MovieDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A movie's details; `version` is its stream's, the basis of `If-Match`."""

    movie_id: MovieId
    title: str
    year: int
    genres: tuple[str, ...]
    directors: tuple[str, ...]
    writers: tuple[str, ...]
    cast: tuple[str, ...]
    runtime_min: int | None
    languages: tuple[str, ...]
    countries: tuple[str, ...]
    certificate: str | None
    description: str | None
    imdb_id: str | None
    poster_url: str | None
    external_id: str | None
    created_at: datetime
    version: int


class ProfileDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A user's public face. An erased user's name is None."""

    user_id: UserId
    display_name: str | None
    visibility: Visibility
    erased: bool
    created_at: datetime


class PrivateDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What only the user is shown of themselves."""

    email: str


class HistoryYear(msgspec.Struct, array_like=True, gc=False):
    """What each day of a year added to each bin; may be negative.

    Keys are the day of the year (1 to 366, UTC) times `HISTORY_STEP` plus the half stars. The
    running sum up to the end of a day is the histogram at that time.
    """

    added: dict[int, int]


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """An entity whose event at `position` could not be applied, and why.

    `discarded` says that an operator has decided to leave its documents as they were before it,
    `damaged` that nothing is wrong with the event: a document of the entity is, and the projector
    refolds all of them.
    """

    entity: UUID
    position: Position
    topic: str
    error: str
    discarded: bool = False
    damaged: bool = False


def generation_copy(projection: str, number: int, version: int, partitions: int) -> GenerationCopy:
    """A copy with its checksum."""
    checksum = crc32(f"{projection}:{number}:{version}:{partitions}".encode())
    return GenerationCopy(number, version, partitions, checksum)


def partition_of(entity: UUID, partitions: int = PARTITIONS) -> int:
    """The partition of an entity; the last bits of every kind of id that is used are random."""
    return entity.int % partitions


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    # Exact until the year 2200: a double holds such a time to less than half a microsecond.
    return datetime.fromtimestamp(value / 1_000, UTC)


def rating_rank(rated_at: datetime, half_stars: int) -> int:
    """A sorted set's score that orders by time and carries the score; exact in a double until
    17,000 A.D.
    """
    return milliseconds(rated_at) * _RANK_STEP + half_stars


def from_rating_rank(rank: int) -> tuple[datetime, int]:
    """The time and the half stars of a rank."""
    at_ms, half_stars = divmod(rank, _RANK_STEP)
    return from_milliseconds(at_ms), half_stars


def statistics_of(histogram: tuple[int, ...], position: Position) -> RatingStatistics:
    """Everything that a histogram says."""
    # How many scores there are of at most so many half stars.
    up_to = list(accumulate(histogram))
    count = up_to[-1]
    # A score of n half stars is counted in all but the first n - 1 of them.
    total = (BINS + 1) * count - sum(up_to)
    return RatingStatistics(
        count=count,
        average=stars(total, count) if count else None,
        median=_median(up_to) if count else None,
        weighted_average=weighted_average(count, total) if count else None,
        histogram=histogram,
        position=position,
    )


def weighted_average(count: int, sum_half_stars: int) -> float:
    """In stars, 4 decimals."""
    return stars(sum_half_stars + WEIGHT_M * WEIGHT_C_HALF_STARS, count + WEIGHT_M)


def stars(sum_half_stars: int, count: int) -> float:
    """The mean in stars to 4 decimals, a half upwards: by integers, since floats decide ties by
    chance.
    """
    return (sum_half_stars * AVERAGE_UNITS + count) // (2 * count) / AVERAGE_UNITS


def _median(up_to: Sequence[int]) -> float:
    """In stars, of at least one score."""
    count = up_to[-1]
    # Bins are counted from 0, half stars from 1.
    lower, upper = bisect_right(up_to, (count - 1) // 2), bisect_right(up_to, count // 2)
    return (lower + upper + 2) / 4


def movie_document(
    movie_id: MovieId, fields: MovieFields, created_at: datetime, version: int
) -> MovieDocument:
    """The document of a movie with these details."""
    return MovieDocument(
        movie_id=movie_id,
        created_at=created_at,
        version=version,
        **{name: getattr(fields, name) for name in MovieFields.__struct_fields__},
    )
