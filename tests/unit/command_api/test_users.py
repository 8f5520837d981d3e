"""The rules of a user and of what is reserved."""

from __future__ import annotations

import pytest

from command_api.deciding import reservation, user
from command_api.deciding.movie import CatalogueId
from command_api.deciding.reservation import Reservation
from shared.errors import Conflict, NotFound
from shared.log.events import (
    EmailReleased,
    EmailReserved,
    Event,
    ExternalIdReleased,
    ExternalIdReserved,
    ImdbIdReleased,
    ImdbIdReserved,
    TmdbIdReleased,
    TmdbIdReserved,
    UserErased,
    UserPasswordChanged,
    UserRoleChanged,
)
from tests.support.builders import (
    ANN,
    BEN,
    NOON,
    SOLARIS,
    STALKER,
    change_password,
    change_profile,
    change_role,
    create_external_user,
    erase_user,
    sign_up,
    user_created,
    user_profile_changed,
)
from tests.support.scenarios.decider_scenario import given

ERASED = UserErased(user_id=ANN, erased_at=NOON)


def test_a_sign_up_makes_a_member() -> None:
    given().when(sign_up()).then(user_created(role="member"))


def test_an_external_user_has_neither_address_nor_password() -> None:
    given().when(create_external_user()).then(
        user_created(email=None, password_hash=None, external_id="imdb:1")
    )


def test_who_exists_is_not_made_again() -> None:
    given(user_created()).when(sign_up()).then_nothing()
    given(user_created()).when(create_external_user()).then_nothing()


def test_an_erased_users_id_is_not_given_again() -> None:
    given(user_created(), ERASED).when(sign_up()).then_refused(Conflict, "erased")


def test_a_profile_changes_what_is_named_and_keeps_the_rest() -> None:
    given(user_created()).when(change_profile(visibility="private")).then(
        user_profile_changed(visibility="private")
    )
    given(user_created(), user_profile_changed(visibility="private")).when(
        change_profile(display_name="Anna")
    ).then(user_profile_changed(display_name="Anna", visibility="private"))


def test_an_unchanged_profile_records_nothing() -> None:
    given(user_created()).when(change_profile(display_name="Ann")).then_nothing()


def test_a_password_replaces_the_one_that_was_checked() -> None:
    given(user_created()).when(change_password()).then(
        UserPasswordChanged(user_id=ANN, password_hash="new", ends_sessions=True)
    )


def test_a_password_that_moved_on_meanwhile_is_a_conflict() -> None:
    changed = UserPasswordChanged(user_id=ANN, password_hash="other")
    given(user_created(), changed).when(change_password()).then_refused(Conflict)


def test_a_role_is_recorded_when_it_is_another() -> None:
    promoted = UserRoleChanged(user_id=ANN, role="curator")
    given(user_created()).when(change_role()).then(promoted)
    given(user_created(), promoted).when(change_role()).then_nothing()


def test_erasing_leaves_nothing_known() -> None:
    given(user_created()).when(erase_user()).then(ERASED)
    state = user.evolve(user.evolve(user.User(), user_created()), ERASED)
    assert state == user.User(exists=True, erased=True)


@pytest.mark.parametrize(
    "command", [change_profile(), change_password(), change_role(), erase_user()]
)
def test_nobody_and_the_erased_are_not_found(command: object) -> None:
    given().when(command).then_refused(NotFound)
    given(user_created(), ERASED).when(command).then_refused(NotFound)


def test_an_address_belongs_to_one_user_until_it_is_released() -> None:
    free = Reservation()
    (reserved,) = reservation.reserve_email(free, ANN)
    assert reserved == EmailReserved(user_id=ANN)
    taken = reservation.evolve(free, reserved)
    assert reservation.reserve_email(taken, ANN) == []
    with pytest.raises(Conflict, match="e-mail address is taken"):
        reservation.reserve_email(taken, BEN)
    assert reservation.release_email(taken, BEN) == []
    (released,) = reservation.release_email(taken, ANN)
    assert released == EmailReleased(user_id=ANN)
    assert reservation.evolve(taken, released) == free


def test_an_external_id_belongs_to_one_user_until_it_is_released() -> None:
    taken = reservation.evolve(Reservation(), ExternalIdReserved(user_id=ANN))
    assert taken == Reservation(ANN)
    assert reservation.release_external_id(taken, BEN) == []
    (released,) = reservation.release_external_id(taken, ANN)
    assert released == ExternalIdReleased(user_id=ANN)
    assert reservation.evolve(taken, released) == Reservation()


@pytest.mark.parametrize(
    ("field", "reserving", "releasing"),
    [("imdb_id", ImdbIdReserved, ImdbIdReleased), ("tmdb_id", TmdbIdReserved, TmdbIdReleased)],
)
def test_an_id_in_another_catalogue_belongs_to_one_movie_until_it_is_released(
    field: CatalogueId, reserving: type[Event], releasing: type[Event]
) -> None:
    (reserved,) = reservation.reserve_movie_id(field, Reservation(), STALKER)
    assert reserved == reserving(movie_id=STALKER)
    taken = reservation.evolve(Reservation(), reserved)
    with pytest.raises(Conflict, match="id is taken"):
        reservation.reserve_movie_id(field, taken, SOLARIS)
    assert reservation.release_movie_id(field, taken, SOLARIS) == []
    (released,) = reservation.release_movie_id(field, taken, STALKER)
    assert released == releasing(movie_id=STALKER)
    assert reservation.evolve(taken, released) == Reservation()
