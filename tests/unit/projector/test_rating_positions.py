"""A profile holds the position of each rating's last change, also of a withdrawn or moved one."""

from __future__ import annotations

from uuid import UUID

from projector.documents.working_set import Key
from shared.ids import MovieId
from shared.log.events import Event, UserErased
from shared.read_model.checksum import stored_position
from shared.read_model.kinds import POSITIONS, position_field, positions_suffix
from tests.support.builders import (
    ANN,
    NOON,
    SOLARIS,
    STALKER,
    rating_moved,
    rating_submitted,
    rating_withdrawn,
    user_created,
)
from tests.support.scenarios.projection_scenario import given

AGAIN = rating_submitted(half_stars=8, previous_half_stars=6, previous_rated_at=NOON)
# The id ends as `STALKER` does, so that both share a field.
TWIN = MovieId(UUID(int=STALKER.int + (1 << 100)))


def key_of(movie: MovieId) -> Key:
    return POSITIONS, positions_suffix(ANN.hex, movie.bytes)


def positions(**fields: tuple[bytes, int]) -> dict[bytes, bytes]:
    return {field: stored_position(field, position) for field, position in fields.values()}


def of(movie: MovieId, position: int) -> tuple[bytes, int]:
    return position_field(movie.bytes), position


def gone(movie: MovieId, position: int) -> tuple[bytes, int]:
    return movie.bytes, position


def profile(*history: Event) -> tuple[Event, ...]:
    return (user_created(), *history)


def test_a_change_of_a_rating_takes_the_place_of_the_one_before() -> None:
    given("profiles", *profile(rating_submitted())).when(AGAIN).times(2).then(
        {key_of(STALKER): positions(stalker=of(STALKER, 3))}
    )


def test_a_withdrawn_rating_leaves_the_position_of_its_withdrawal() -> None:
    given("profiles", *profile(rating_submitted())).when(rating_withdrawn()).times(2).then(
        {key_of(STALKER): positions(stalker=of(STALKER, 2), gone=gone(STALKER, 3))}
    )


def test_a_rating_that_is_given_again_has_the_later_position() -> None:
    history = profile(rating_submitted(), rating_withdrawn())
    given("profiles", *history).when(rating_submitted()).times(2).then(
        {key_of(STALKER): positions(stalker=of(STALKER, 4), gone=gone(STALKER, 3))}
    )


def test_a_moved_rating_is_gone_from_one_movie_and_new_at_the_other() -> None:
    moved = (rating_moved(), rating_submitted(movie_id=SOLARIS))
    given("profiles", *profile(rating_submitted())).when(*moved).times(2).then(
        {
            key_of(STALKER): positions(stalker=of(STALKER, 2), gone=gone(STALKER, 3)),
            key_of(SOLARIS): positions(solaris=of(SOLARIS, 4)),
        }
    )


def test_ratings_that_share_a_field_share_the_later_position_and_keep_it() -> None:
    both = profile(rating_submitted(), rating_submitted(movie_id=TWIN))
    given("profiles", *both).when(rating_withdrawn()).times(2).then(
        {key_of(STALKER): positions(both=of(TWIN, 3), gone=gone(STALKER, 4))}
    )


def test_an_erasure_deletes_all_positions() -> None:
    history = profile(rating_submitted(), rating_submitted(movie_id=SOLARIS))
    assert key_of(STALKER) != key_of(SOLARIS)
    erased = UserErased(user_id=ANN, erased_at=NOON)
    given("profiles", *history).when(erased).times(2).then(
        {key_of(STALKER): None, key_of(SOLARIS): None}
    )
