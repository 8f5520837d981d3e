"""Movies: created and corrected by curators and services."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response

from command_api.bulk.rows import RowKind, commit_rows, rows_response
from command_api.commit.idempotency import DOCUMENTED
from command_api.deciding.movie import ChangeMovieDetails, CreateMovie
from command_api.http.bodies import (
    BULK_BYTES_MAX,
    MOVIE_BYTES_MAX,
    MovieAnswer,
    MovieBody,
    MovieChangesBody,
    MoviesBody,
    RowsAnswer,
)
from command_api.http.body_route import BodyRoute
from command_api.http.bulk_route import BatchRoute
from command_api.http.dependencies import Caller, Wired, Wiring
from command_api.http.responses import PROBLEMS, answer, send_once
from shared.errors import InvalidInput
from shared.ids import MovieId, StreamId, Version, keyed_uuid, new_uuid7
from shared.web.problems import problem

_VERSION_TAG = re.compile(r'"([0-9]{1,18})"')

router = APIRouter(prefix="/v1/movies", tags=["movies"], responses=PROBLEMS, route_class=BodyRoute)
batches = APIRouter(
    prefix="/v1/movies", tags=["movies"], responses=PROBLEMS, route_class=BatchRoute
)


@router.post(
    "", status_code=HTTPStatus.CREATED, response_model=MovieAnswer, openapi_extra=DOCUMENTED
)
async def create_movie(
    body: MovieBody, request: Request, wiring: Wired, caller: Caller
) -> Response:
    """Add a movie (curators, operators, service keys with the scope `movies`).

    A movie with an external id that exists already is answered with 200 and the first one's id.
    """
    outcome = await send_once(_create(wiring, body), request, wiring, caller)
    status = HTTPStatus.OK if outcome.status == "unchanged" else HTTPStatus.CREATED
    return answer(status, {"movie_id": outcome.subject}, outcome)


@batches.post("/batch", response_model=RowsAnswer, max_body_size=BULK_BYTES_MAX)
async def create_movies(
    body: MoviesBody, request: Request, wiring: Wired, caller: Caller
) -> Response:
    """Add up to 1,000 movies; each is accepted or refused on its own."""

    def command_of(row: MovieBody) -> CreateMovie:
        return _create(wiring, row)

    kind = RowKind(MovieBody, MOVIE_BYTES_MAX, subject="movie_id")
    results = await commit_rows(body.movies, kind, command_of, request, wiring, caller)
    return rows_response(results)


@router.patch("/{movie_id}", status_code=HTTPStatus.NO_CONTENT, openapi_extra=DOCUMENTED)
async def change_movie(
    movie_id: UUID,
    body: MovieChangesBody,
    request: Request,
    wiring: Wired,
    caller: Caller,
    if_match: Annotated[str | None, Header(examples=['"1"'])] = None,
) -> Response:
    """Correct a movie (curators); `If-Match` holds the `version` that the change was made to, in
    quotes.
    """
    if if_match is None:
        return problem(
            HTTPStatus.PRECONDITION_REQUIRED,
            "precondition-required",
            'send the movie\'s version as `If-Match: "VERSION"`',
        )
    tag = _VERSION_TAG.fullmatch(if_match.strip())
    if tag is None:
        raise InvalidInput(f'If-Match is {if_match[:40]!r} and must be like "3"')
    changes = body.model_dump(exclude_unset=True)
    imdb_id = changes.get("imdb_id")
    command = ChangeMovieDetails(
        movie_id=MovieId(movie_id),
        changes=changes,
        imdb_stream=_imdb_stream(wiring, imdb_id),
        expected_version=Version(int(tag[1])),
        now=wiring.now(),
    )
    outcome = await send_once(command, request, wiring, caller)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


def _create(wiring: Wiring, body: MovieBody) -> CreateMovie:
    if body.external_id is None:
        movie_id = MovieId(new_uuid7())
    else:
        secret = wiring.reservation_secret
        movie_id = MovieId(keyed_uuid(secret, "external-movie", body.external_id))
    return CreateMovie(
        movie_id=movie_id,
        details=body.details(),
        imdb_stream=_imdb_stream(wiring, body.imdb_id),
        now=wiring.now(),
    )


def _imdb_stream(wiring: Wiring, imdb_id: str | None) -> StreamId | None:
    if imdb_id is None:
        return None
    return StreamId(keyed_uuid(wiring.reservation_secret, "imdb", imdb_id))
