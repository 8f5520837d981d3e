"""Ratings written as the eventsourcing library's documentation recommends."""

from __future__ import annotations

import os
from uuid import UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict


class Rating(Aggregate):
    """One user's rating of one movie."""

    @event("Submitted")
    def __init__(self, user_id: UUID, movie_id: UUID, half_stars: int, review: str | None) -> None:
        self.user_id = user_id
        self.movie_id = movie_id
        self.half_stars = half_stars
        self.review = review

    @staticmethod
    def create_id(user_id: UUID, movie_id: UUID) -> UUID:
        return uuid5(user_id, movie_id.hex)

    @event("Changed")
    def change(self, half_stars: int, review: str | None) -> None:
        self.half_stars = half_stars
        self.review = review


class Ratings(Application[UUID]):
    """Saves each command's aggregate in its own transaction."""

    def rate(self, user_id: UUID, movie_id: UUID, half_stars: int, review: str | None) -> str:
        try:
            rating: Rating = self.repository.get(Rating.create_id(user_id, movie_id))
        except AggregateNotFoundError:
            self.save(Rating(user_id, movie_id, half_stars, review))
            return "created"
        rating.change(half_stars, review)
        self.save(rating)
        return "changed"


def environment(conninfo: str) -> dict[str, str]:
    """Return the library's settings: PostgreSQL, pooled."""
    parameters = conninfo_to_dict(conninfo)
    return {
        **os.environ,
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parameters["dbname"]),
        "POSTGRES_HOST": str(parameters["host"]),
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": str(parameters["user"]),
        "POSTGRES_PASSWORD": str(parameters["password"]),
        "POSTGRES_POOL_SIZE": "10",
        "POSTGRES_MAX_OVERFLOW": "10",
        "POSTGRES_MAX_WAITING": "100",
    }
