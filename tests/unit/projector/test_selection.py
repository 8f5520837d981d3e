"""The look at a stored rating: whether it concerns a share, without decoding it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projector.projections import DEFINITIONS
from projector.projections.selection import Share, selection
from projector.sharing.assignment import share_of
from shared.ids import EventId, MovieId, UserId, new_uuid7
from shared.log.codec import RATING_MOVIE, Codec
from shared.log.events import (
    EVENT_TYPES,
    Event,
    Metadata,
    RatingMoved,
    RatingSubmitted,
    RatingWithdrawn,
    TracedMetadata,
)
from shared.log.sealing import NO_KEYS
from shared.read_model.keys import CHANGES, MOVIES, PROFILES, partition_of
from tests.support.builders import movie_created

NOON = datetime(2026, 1, 31, 12, 0, 0, 1_000, tzinfo=UTC)
METADATA = Metadata(EventId(new_uuid7()), NOON, new_uuid7(), new_uuid7(), new_uuid7())
IDS = st.uuids()
HALF: Share = {MOVIES: range(8), PROFILES: range(8), CHANGES: ()}


def _rating(user: UUID, movie: UUID) -> RatingSubmitted:
    return RatingSubmitted(
        user_id=UserId(user), movie_id=MovieId(movie), half_stars=7, rated_at=NOON
    )


def _ratings(user: UUID, movie: UUID) -> list[Event]:
    ids = {"user_id": UserId(user), "movie_id": MovieId(movie)}
    previous = {"previous_half_stars": 3, "previous_rated_at": NOON}
    return [
        _rating(user, movie),
        RatingWithdrawn(**ids, withdrawn_at=NOON, **previous),  # type: ignore[arg-type]  # Mixed.
        RatingMoved(**ids, into=MovieId(user), moved_at=NOON, **previous),  # type: ignore[arg-type]  # Mixed.
    ]


def _stored(event: Event, metadata: Metadata = METADATA) -> tuple[str, bytes]:
    return type(event).__name__, Codec().encode(event, metadata, NO_KEYS)


@given(IDS, IDS)
def test_a_rating_is_passed_over_if_neither_its_movie_nor_its_user_is_own(
    user: UUID, movie: UUID
) -> None:
    selected = selection(HALF)
    assert selected is not None
    own = partition_of(user) < 8 or partition_of(movie) < 8
    for event in _ratings(user, movie):
        assert (selected.stand_in(*_stored(event)) is None) == own


@given(IDS, IDS)
def test_the_only_partition_of_changes_gets_the_movie_of_a_rating_that_is_not_decoded(
    user: UUID, movie: UUID
) -> None:
    selected = selection({CHANGES: {0}})
    assert selected is not None
    stand_in = selected.stand_in(*_stored(_rating(user, movie)))
    assert stand_in is not None
    assert stand_in.movie_id == movie
    assert DEFINITIONS[CHANGES].entity(stand_in) == movie
    assert DEFINITIONS[MOVIES].entity(stand_in) is None


# What a client may send as its trace: anything, the names that are looked for too.
IMITATIONS = [(b"\xa7user_id\xc4\x10" * 4)[start : start + 24] for start in range(10)]


@given(
    st.lists(st.none() | IDS, min_size=3, max_size=3),
    st.sampled_from([0, 1_000, 999_999]),
    st.none() | st.binary(min_size=24, max_size=24) | st.sampled_from(IMITATIONS),
)
def test_a_rating_with_other_metadata_is_decoded_or_rightly_passed_over(
    principals: list[UUID | None], microsecond: int, trace: bytes | None
) -> None:
    recorded_at = NOON.replace(microsecond=microsecond)
    metadata = Metadata(EventId(new_uuid7()), recorded_at, *principals)
    if trace is not None:
        metadata = TracedMetadata(**msgspec.structs.asdict(metadata), trace=trace)
    selected = selection(HALF)
    assert selected is not None
    assert selected.stand_in(*_stored(_rating(UUID(int=1), UUID(int=20)), metadata)) is None


def test_other_events_and_damaged_ratings_are_decoded() -> None:
    selected = selection({MOVIES: {0}})
    assert selected is not None
    topic, state = _stored(_rating(UUID(int=1), UUID(int=1)))
    assert selected.stand_in(topic, state) is not None
    assert selected.stand_in(*_stored(movie_created(movie_id=MovieId(UUID(int=1))))) is None
    assert selected.stand_in("RatingImagined", state) is None
    for length in range(RATING_MOVIE.stop + 1):
        assert selected.stand_in(topic, state[:length]) is None


@pytest.mark.parametrize(
    "share",
    [share_of(0, 1), {MOVIES: range(16)}, {PROFILES: range(16), CHANGES: {0}}],
    ids=["one projector", "all movies", "all profiles"],
)
def test_nothing_is_looked_at_where_every_rating_concerns_the_share(share: Share) -> None:
    assert selection(share) is None


def test_the_look_knows_every_event_that_names_a_user_and_a_movie_first() -> None:
    both = [one for one in EVENT_TYPES if _first_two(one) == ["user_id", "movie_id"]]
    assert both == [RatingSubmitted, RatingWithdrawn, RatingMoved]
    for definition in DEFINITIONS.values():
        fields = {definition.entities.get(one) for one in both}
        assert len(fields) == 1, "one flag for each projection holds for every kind of rating"


def _first_two(event_type: type[Event]) -> list[str]:
    return [one.name for one in msgspec.structs.fields(event_type)[:2]]
