"""A reservation: one value (e-mail address, IMDb id, …) with one owner at a time."""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

import msgspec

from command_api.deciding.movie import CatalogueId
from shared.errors import Conflict
from shared.ids import MovieId, UserId
from shared.log.events import (
    EmailReleased,
    EmailReserved,
    ExternalIdReleased,
    ExternalIdReserved,
    ImdbIdReleased,
    ImdbIdReserved,
    TmdbIdReleased,
    TmdbIdReserved,
)

ReservationEvent = (
    EmailReserved
    | EmailReleased
    | ExternalIdReserved
    | ExternalIdReleased
    | ImdbIdReserved
    | ImdbIdReleased
    | TmdbIdReserved
    | TmdbIdReleased
)


class Reservation(msgspec.Struct, frozen=True):
    """The owner of the value; None while it is free."""

    owner: UUID | None = None


def reserve_email(reservation: Reservation, user_id: UserId) -> list[ReservationEvent]:
    """Reserve the address; raise `Conflict` if another user has it."""
    return _reserve(reservation, EmailReserved(user_id=user_id), user_id, "email", "e-mail address")


def reserve_movie_id(
    field: CatalogueId, reservation: Reservation, movie_id: MovieId
) -> list[ReservationEvent]:
    """Reserve another catalogue's id; raise `Conflict` if another movie has it."""
    if field == "imdb_id":
        reserved = ImdbIdReserved(movie_id=movie_id)
        return _reserve(reservation, reserved, movie_id, field, "IMDb id")
    return _reserve(reservation, TmdbIdReserved(movie_id=movie_id), movie_id, field, "TMDB id")


def release_email(reservation: Reservation, user_id: UserId) -> list[ReservationEvent]:
    """Release the address if the user has it."""
    if reservation.owner != user_id:
        return []
    return [EmailReleased(user_id=user_id)]


def release_external_id(reservation: Reservation, user_id: UserId) -> list[ReservationEvent]:
    """Release the id if the user has it."""
    if reservation.owner != user_id:
        return []
    return [ExternalIdReleased(user_id=user_id)]


def release_movie_id(
    field: CatalogueId, reservation: Reservation, movie_id: MovieId
) -> list[ReservationEvent]:
    """Release another catalogue's id if the movie has it."""
    if reservation.owner != movie_id:
        return []
    released = ImdbIdReleased if field == "imdb_id" else TmdbIdReleased
    return [released(movie_id=movie_id)]


def evolve(_reservation: Reservation, event: ReservationEvent) -> Reservation:
    match event:
        case EmailReserved() | ExternalIdReserved():
            return Reservation(event.user_id)
        case ImdbIdReserved() | TmdbIdReserved():
            return Reservation(event.movie_id)
        case EmailReleased() | ExternalIdReleased() | ImdbIdReleased() | TmdbIdReleased():
            return Reservation()
        case _:
            assert_never(event)


def _reserve(
    reservation: Reservation, event: ReservationEvent, owner: UUID, field: str, name: str
) -> list[ReservationEvent]:
    if reservation.owner == owner:
        return []
    if reservation.owner is not None:
        raise Conflict(f"this {name} is taken", pointer=f"/{field}")
    return [event]
