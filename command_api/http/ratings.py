"""Ratings: one user's opinion of one movie, one by one or in batches."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response

from command_api.bulk.rows import RowKind, commit_rows, rows_response
from command_api.commit.idempotency import DOCUMENTED
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import acting_user
from command_api.deciding.rating import SubmitRating, WithdrawRating
from command_api.http.bodies import (
    BULK_BYTES_MAX,
    RATING_BYTES_MAX,
    MovieRatingBody,
    RatingAnswer,
    RatingBody,
    RatingsBody,
    RowsAnswer,
)
from command_api.http.body_route import BodyRoute
from command_api.http.bulk_route import BatchRoute
from command_api.http.dependencies import Caller, CallingMember, Wired
from command_api.http.responses import PROBLEMS, answer, send_once
from shared.ids import MovieId, UserId, rating_stream_id

router = APIRouter(
    prefix="/v1",
    tags=["ratings"],
    responses=PROBLEMS,
    route_class=BodyRoute,
    max_body_size=RATING_BYTES_MAX,
)
batches = APIRouter(prefix="/v1", tags=["ratings"], responses=PROBLEMS, route_class=BatchRoute)


@router.put("/movies/{movie_id}/rating", response_model=RatingAnswer, openapi_extra=DOCUMENTED)
async def rate_movie(
    movie_id: UUID, body: RatingBody, request: Request, wiring: Wired, caller: CallingMember
) -> Response:
    """Rate a movie: 201 for the first rating, 200 for a changed opinion or the same one again."""
    command = submission(caller.user_id, movie_id, body, wiring.now())
    return _rated(await send_once(command, request, wiring, caller))


@router.delete(
    "/movies/{movie_id}/rating", status_code=HTTPStatus.NO_CONTENT, openapi_extra=DOCUMENTED
)
async def withdraw_rating(
    movie_id: UUID, request: Request, wiring: Wired, caller: CallingMember
) -> Response:
    """Take one's rating back; 204 also where there is none."""
    movie = MovieId(movie_id)
    command = WithdrawRating(
        user_id=caller.user_id,
        movie_id=movie,
        rating_stream=rating_stream_id(caller.user_id, movie),
        now=wiring.now(),
    )
    outcome = await send_once(command, request, wiring, caller)
    return answer(HTTPStatus.NO_CONTENT, None, outcome)


@router.post("/ratings", response_model=RatingAnswer, openapi_extra=DOCUMENTED)
async def submit_rating(
    body: MovieRatingBody, request: Request, wiring: Wired, caller: Caller
) -> Response:
    """Rate a movie named in the body; a service key names the user too."""
    user_id = acting_user(caller, UserId(body.user_id) if body.user_id else None)
    command = submission(user_id, body.movie_id, body, wiring.now())
    return _rated(await send_once(command, request, wiring, caller))


@batches.post("/ratings/batch", response_model=RowsAnswer, max_body_size=BULK_BYTES_MAX)
async def submit_ratings(
    body: RatingsBody, request: Request, wiring: Wired, caller: Caller
) -> Response:
    """Up to 10,000 ratings; each is accepted or refused on its own. Safe to send again."""
    now = wiring.now()

    def command_of(row: MovieRatingBody) -> SubmitRating:
        user_id = acting_user(caller, UserId(row.user_id) if row.user_id else None)
        return submission(user_id, row.movie_id, row, now)

    kind = RowKind(MovieRatingBody, RATING_BYTES_MAX)
    results = await commit_rows(body.ratings, kind, command_of, request, wiring, caller)
    return rows_response(results)


def submission(user_id: UserId, movie_id: UUID, body: RatingBody, now: datetime) -> SubmitRating:
    """The command that a body asks for."""
    movie = MovieId(movie_id)
    return SubmitRating(
        user_id=user_id,
        movie_id=movie,
        rating_stream=rating_stream_id(user_id, movie),
        half_stars=body.half_stars,
        review=(body.review or None) if "review" in body.model_fields_set else msgspec.UNSET,
        rated_at=body.rated_at,
        now=now,
    )


def rated_status(outcome: Outcome) -> HTTPStatus:
    return HTTPStatus.CREATED if outcome.status == "created" else HTTPStatus.OK


def _rated(outcome: Outcome) -> Response:
    return answer(rated_status(outcome), {"status": outcome.status}, outcome)
