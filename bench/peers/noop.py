"""The ceiling: FastAPI on uvicorn with the same body validation and token check, doing nothing."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

import msgspec
from fastapi import Response

from bench.peers.serving import Caller, peer, serve
from command_api.bodies.models import RatingBody
from query_api.http.shapes import Movie
from shared.web.serving.protocol import GatheringProtocol

CONSTANT = msgspec.json.encode(Movie.EXAMPLE)
CREATED = b'{"status":"created"}'

app = peer()


@app.post("/movies/{movie_id}/rating")
async def rate(movie_id: UUID, body: RatingBody, caller: Caller) -> Response:
    del movie_id, body, caller  # The framework has checked them; a no-op does nothing with them.
    return Response(CREATED, HTTPStatus.CREATED, media_type="application/json")


@app.get("/constant")
async def constant() -> Response:
    """Return a body as large as a movie's."""
    return Response(CONSTANT, media_type="application/json")


if __name__ == "__main__":
    serve(app, http=GatheringProtocol)
