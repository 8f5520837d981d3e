"""The stock recipe: the eventsourcing library's `Application.save` a request, on its own pool."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from bench.peers.library import Ratings, environment
from bench.peers.serving import Caller, dsn, peer, serve
from command_api.bodies.models import RatingBody


def main() -> None:
    app = peer()
    ratings = Ratings(environment(dsn()))

    # Not async: the library blocks, so FastAPI runs it on its pool of 40 threads.
    @app.put("/movies/{movie_id}/rating", status_code=HTTPStatus.CREATED)
    def rate(movie_id: UUID, body: RatingBody, caller: Caller) -> dict[str, str]:
        return {"status": ratings.rate(caller, movie_id, body.half_stars, body.review)}

    serve(app)


if __name__ == "__main__":
    main()
