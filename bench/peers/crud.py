"""Plain CRUD: an upsert for each request and averages by SQL, on psycopg's asynchronous pool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import FastAPI, HTTPException
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from bench.peers.serving import Caller, dsn, peer, serve
from command_api.bodies.models import RatingBody

# The fastest of 4, 8, 16 and 32 here, by little.
POOL_CONNECTIONS = 16

_UPSERT = """
INSERT INTO ratings (user_id, movie_id, half_stars, review, rated_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (user_id, movie_id) DO UPDATE
SET half_stars = excluded.half_stars, review = coalesce(excluded.review, ratings.review),
    rated_at = excluded.rated_at
RETURNING xmax = 0 AS created
"""
_MOVIE = """
SELECT m.*, count(r.half_stars) AS count, avg(r.half_stars)::float8 / 2 AS average
FROM movies m LEFT JOIN ratings r USING (movie_id)
WHERE m.movie_id = %s GROUP BY m.movie_id
"""
_PROFILE = """
SELECT u.*, count(r.half_stars) AS count, avg(r.half_stars)::float8 / 2 AS average
FROM users u LEFT JOIN ratings r USING (user_id)
WHERE u.user_id = %s GROUP BY u.user_id
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    pool = AsyncConnectionPool(
        dsn(),
        min_size=POOL_CONNECTIONS,
        kwargs={"autocommit": True, "row_factory": dict_row},
        open=False,
    )
    async with pool:
        await pool.wait()
        app.state.pool = pool
        yield


app = peer(lifespan)


@app.put("/movies/{movie_id}/rating", status_code=HTTPStatus.CREATED)
async def rate(movie_id: UUID, body: RatingBody, caller: Caller) -> dict[str, str]:
    rated_at = body.rated_at or datetime.now(UTC)
    row = await _one(_UPSERT, [caller, movie_id, body.half_stars, body.review, rated_at])
    return {"status": "created" if row["created"] else "changed"}


@app.get("/movies/{movie_id}")
async def movie(movie_id: UUID) -> dict[str, Any]:
    return await _one(_MOVIE, [movie_id])


@app.get("/users/{user_id}")
async def profile(user_id: UUID) -> dict[str, Any]:
    return await _one(_PROFILE, [user_id])


async def _one(statement: str, parameters: list[object]) -> dict[str, Any]:
    pool: AsyncConnectionPool[Any] = app.state.pool
    async with pool.connection() as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        row: dict[str, Any] | None = await cursor.fetchone()
    if row is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return row


if __name__ == "__main__":
    serve(app)
