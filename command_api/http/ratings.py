"""Ratings of movies by users, one by one or in bulk."""

from __future__ import annotations

from http import HTTPStatus

from command_api.bodies.answers import RatingAnswer, RowsAnswer
from command_api.bodies.idempotency_key import Idempotent
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import (
    BULK_BYTES_MAX,
    RATING_BYTES_MAX,
    MovieRatingBody,
    RatingBody,
    RatingsBody,
)
from command_api.bulk.requests import BulkJson, BulkRequests, RowKind
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import acting_user
from command_api.deciding.rating import SubmitRating, WithdrawRating
from command_api.http.commands import (
    DONE,
    STALE,
    Commands,
    Conditional,
    answer,
    answered,
    stated,
)
from command_api.identity.access import MEMBERS, RATERS
from shared.ids import MovieId, UserId, rating_stream_id, uuid_text
from shared.web.answer import Answer, AnswerKind, json_bytes
from shared.web.openapi import CLOSED
from shared.web.operation import Request, operation
from shared.web.parameter_types import CanonicalUuid

RATED = {
    201: answered("The first rating of this movie", RatingAnswer, ("ETag", "Location")),
    200: answered("A changed or repeated rating", RatingAnswer, ("ETag",)),
    409: AnswerKind("The rating is dated before the current one, or the movie is being withdrawn."),
} | CLOSED
# As a number: each use of an enumeration calls a function.
_CREATED = int(HTTPStatus.CREATED)


class RatedMovie(Idempotent, Conditional):
    movie_id: CanonicalUuid


class Ratings:
    def __init__(self, commands: Commands, bulk: BulkRequests) -> None:
        self._commands = commands
        self._bulk = bulk

    @operation(
        "PUT",
        "/v1/movies/{movie_id}/rating",
        tag="ratings",
        access=MEMBERS,
        parameters=RatedMovie,
        body=JsonBody(RatingBody, RATING_BYTES_MAX),
        answers=RATED | STALE,
    )
    async def rate_movie(self, request: Request[RatedMovie, RatingBody]) -> Answer:
        """Rate a movie: 201 for the first rating, 200 for a changed or repeated one."""
        user_id, movie_id = request.caller.member.user_id, request.parameters.movie_id
        command = request.body.command(
            user_id, movie_id, self._commands.now(), request.parameters.condition
        )
        return _rated(await self._commands.send_once(command, request), command)

    @operation(
        "DELETE",
        "/v1/movies/{movie_id}/rating",
        tag="ratings",
        access=MEMBERS,
        parameters=RatedMovie,
        answers=DONE | STALE | CLOSED | {409: AnswerKind("The movie is being withdrawn.")},
    )
    async def withdraw_rating(self, request: Request[RatedMovie, None]) -> Answer:
        """Withdraw the caller's rating; 204 even if there is none."""
        user_id, movie_id = request.caller.member.user_id, MovieId(request.parameters.movie_id)
        command = WithdrawRating(
            user_id=user_id,
            movie_id=movie_id,
            rating_stream=rating_stream_id(user_id, movie_id),
            condition=request.parameters.condition,
            now=self._commands.now(),
        )
        return answer(await self._commands.send_once(command, request))

    @operation(
        "POST",
        "/v1/ratings",
        tag="ratings",
        access=RATERS,
        parameters=Idempotent,
        body=JsonBody(MovieRatingBody, RATING_BYTES_MAX),
        answers=RATED | {404: AnswerKind("There is no such movie or user.")},
    )
    async def submit_rating(self, request: Request[Idempotent, MovieRatingBody]) -> Answer:
        """Rate a movie named in the body; a service key names the user too."""
        body = request.body
        named = UserId(body.user_id) if body.user_id else None
        user_id = acting_user(request.caller.principal, named)
        command = body.command(user_id, body.movie_id, self._commands.now())
        return _rated(await self._commands.send_once(command, request), command)

    @operation(
        "POST",
        "/v1/ratings/batch",
        tag="ratings",
        access=RATERS.lately,
        parameters=Idempotent,
        body=BulkJson(RatingsBody, BULK_BYTES_MAX),
        answers={200: answered("A result for each row", RowsAnswer)},
    )
    async def submit_ratings(self, request: Request[Idempotent, None]) -> Answer:
        """Submit up to 10,000 ratings; each is accepted or refused on its own. Safe to repeat."""
        now, principal = self._commands.now(), request.caller.principal

        def command_of(row: MovieRatingBody) -> SubmitRating:
            user_id = acting_user(principal, UserId(row.user_id) if row.user_id else None)
            return row.command(user_id, row.movie_id, now)

        return await self._bulk.commit(
            request, RowKind(MovieRatingBody, RATING_BYTES_MAX), command_of
        )


def _rated(outcome: Outcome, command: SubmitRating) -> Answer:
    created = outcome.status == "created"
    content = b'{"status":"%s"}' % outcome.status.encode()
    made = stated(json_bytes(content, _CREATED) if created else json_bytes(content), outcome)
    if created:
        user_id, movie_id = uuid_text(command.user_id), uuid_text(command.movie_id)
        made.fields.append((b"location", b"/v1/users/%b/ratings/%b" % (user_id, movie_id)))
    return made
