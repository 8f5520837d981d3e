"""Fill Starfold and the CRUD peer with the synthetic data set, and make requests from it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from bench import catalogue
from bench.catalogue import Rating
from bench.connection import Answer, Connection
from bench.load import request
from bench.stack import Stack
from starfold_client import NewMovie, NewUser, Starfold
from starfold_client.answers import RowResult

SCHEMA_FILE = Path(__file__).parent / "peers" / "crud.sql"
CREATIONS_A_BATCH = 500
RATINGS_A_BATCH = 1_000
# Every tenth rating has a review.
REVIEW_EVERY = 10
REVIEW = "Better the second time: the last half hour is worth the wait."


class Seeded(NamedTuple):
    """Ids by index in `catalogue.users()` and `catalogue.films()`, and a token for each user."""

    user_ids: Sequence[UUID]
    movie_ids: Sequence[UUID]
    tokens: Sequence[str]


def seed(stack: Stack) -> Seeded:
    """Create users and movies, without ratings."""
    with client_of(stack) as client:
        user_ids = created_users(client, catalogue.users())
        movie_ids = created_movies(client, catalogue.films())
    return Seeded(user_ids, movie_ids, stack.access_tokens(user_ids))


def batch_body(seeded: Seeded, ratings: Sequence[Rating]) -> bytes:
    rows = [
        {
            "user_id": seeded.user_ids[one.user],
            "movie_id": seeded.movie_ids[one.film],
            "score": float(one.stars),
            "rated_at": one.rated_at,
        }
        for one in ratings
    ]
    return msgspec.json.encode({"ratings": rows})


def send_batch(connection: Connection, body: bytes) -> Answer:
    """Send rows in one bulk request; raise `AssertionError` if a row was refused."""
    answer = connection.send("POST", "/v1/ratings/batch", body)
    assert b'"rejected"' not in answer.body, answer.body[:500]
    return answer


def fresh_ratings(seeded: Seeded, drawn: random.Random, count: int) -> list[Rating]:
    """Return new ratings of any films by any users, dated now."""
    now = datetime.now(UTC)
    users, films = len(seeded.user_ids), len(seeded.movie_ids)
    pairs = drawn.sample(range(users * films), count)
    return [Rating(pair % users, pair // users, drawn.randint(1, 5), now) for pair in pairs]


def rate_requests(
    seeded: Seeded, method: str, prefix: str, *, count: int, draw: int
) -> list[bytes]:
    """Return requests to rate, all of different pairs; the same ones for the same `draw`."""
    drawn = random.Random(draw)
    requests = []
    for nth, one in enumerate(fresh_ratings(seeded, drawn, count)):
        body: dict[str, Any] = {"score": one.stars - drawn.choice((0, 0.5))}
        if nth % REVIEW_EVERY == 0:
            body["review"] = REVIEW
        path = f"{prefix}/movies/{seeded.movie_ids[one.film]}/rating"
        encoded = msgspec.json.encode(body)
        requests.append(request(method, path, body=encoded, token=seeded.tokens[one.user]))
    return requests


def fill_crud(stack: Stack, seeded: Seeded, ratings: Sequence[Rating]) -> None:
    """Insert the same data set into the tables of the CRUD peer, and analyze them."""
    with psycopg.connect(stack.peers_dsn, autocommit=True) as connection:
        connection.execute(SCHEMA_FILE.read_bytes())
        cursor = connection.cursor()
        with cursor.copy("COPY users (user_id, display_name) FROM STDIN") as copy:
            for user_id, row in zip(seeded.user_ids, catalogue.users(), strict=True):
                copy.write_row([user_id, row.display_name])
        statement = "COPY movies (movie_id, title, year, genres, directors, runtime_min) FROM STDIN"
        with cursor.copy(statement) as copy:
            for movie_id, film in zip(seeded.movie_ids, catalogue.films(), strict=True):
                fields = (film.title, film.year, film.genres, film.directors, film.runtime_min)
                copy.write_row([movie_id, *fields])
        insert_crud(connection, seeded, ratings)


def insert_crud(connection: psycopg.Connection, seeded: Seeded, ratings: Sequence[Rating]) -> None:
    """Add ratings to the CRUD peer's table, each pair once."""
    statement = "COPY ratings (user_id, movie_id, half_stars, rated_at) FROM STDIN"
    with connection.cursor().copy(statement) as copy:
        for one in ratings:
            pair = (seeded.user_ids[one.user], seeded.movie_ids[one.film])
            copy.write_row([*pair, 2 * one.stars, one.rated_at])
    connection.execute("VACUUM ANALYZE")


def client_of(stack: Stack) -> Starfold:
    """Return a client that may do what a service may."""
    url = "http://127.0.0.1:{}".format
    return Starfold(url(stack.command_port), url(stack.query_port), api_key=stack.service_key)


def created_users(client: Starfold, users: Iterable[NewUser]) -> list[UUID]:
    """Return the ids of external users, in order."""
    created = client.create_external_users(users, rows_a_request=CREATIONS_A_BATCH)
    return [_required(result.user_id, result) for _, result in created]


def created_movies(client: Starfold, movies: Iterable[NewMovie]) -> list[UUID]:
    """Return the ids of movies, in order."""
    created = client.create_movies(movies, rows_a_request=CREATIONS_A_BATCH)
    return [_required(result.movie_id, result) for _, result in created]


def _required(created: UUID | None, result: RowResult) -> UUID:
    if created is None:
        raise AssertionError(f"a row was refused: {result}")
    return created
