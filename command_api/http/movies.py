"""Movies, which curators and services create, correct, merge and withdraw."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from command_api.bodies.answers import MovieAnswer, RowsAnswer
from command_api.bodies.idempotency_key import Idempotent
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import (
    BULK_BYTES_MAX,
    MOVIE_BYTES_MAX,
    OTHER_FIELDS_BYTES,
    MergeBody,
    MovieBody,
    MovieChangesBody,
    MoviesBody,
)
from command_api.bulk.requests import BulkJson, BulkRequests, RowKind
from command_api.commit.closed_movies import ClosedMovies, rated
from command_api.deciding.movie import (
    ChangeMovieDetails,
    CreateMovie,
    MergeMovie,
    StartWithdrawal,
    catalogue_id_stream,
)
from command_api.http.commands import (
    CHANGED,
    DONE,
    STALE,
    Commands,
    Conditional,
    answer,
    answered,
    creation,
)
from command_api.identity.access import CATALOGUE
from shared.ids import MovieId, keyed_uuid, new_uuid7
from shared.web.answer import Answer, AnswerKind
from shared.web.openapi import CLOSED
from shared.web.operation import Request, operation
from shared.web.parameter_types import CanonicalUuid
from shared.web.problems import Refused

ID_TAKEN = AnswerKind("Another movie has this IMDb or TMDB id, or this one is being withdrawn.")
BEING_WITHDRAWN = AnswerKind("One of the movies is being withdrawn.")


class MovieCorrection(Idempotent, Conditional):
    movie_id: CanonicalUuid


class MergedMovie(Idempotent):
    movie_id: CanonicalUuid


class Movies:
    def __init__(
        self, commands: Commands, bulk: BulkRequests, closed_movies: ClosedMovies, secret: bytes
    ) -> None:
        self._commands = commands
        self._bulk = bulk
        self._closed_movies = closed_movies
        self._secret = secret
        self._stream_of = partial(catalogue_id_stream, secret)

    @operation(
        "POST",
        "/v1/movies",
        tag="movies",
        access=CATALOGUE,
        parameters=Idempotent,
        body=JsonBody(MovieBody, MOVIE_BYTES_MAX),
        answers={
            201: answered("The movie is new", MovieAnswer, ("Location", "ETag")),
            200: answered("A movie with this external id exists", MovieAnswer, ("ETag",)),
            409: ID_TAKEN,
        }
        | CLOSED,
    )
    async def create_movie(self, request: Request[Idempotent, MovieBody]) -> Answer:
        """Add a movie (curators, operators, service keys with the scope `movies`).

        If a movie with the external id exists already, the answer is 200 with its id.
        """
        outcome = await self._commands.send_once(self._creation(request.body), request)
        path = f"/v1/movies/{outcome.subject}"
        return creation(outcome, {"movie_id": outcome.subject}, path)

    @operation(
        "POST",
        "/v1/movies/batch",
        tag="movies",
        access=CATALOGUE.lately,
        parameters=Idempotent,
        body=BulkJson(MoviesBody, BULK_BYTES_MAX),
        answers={200: answered("A result for each row", RowsAnswer)},
    )
    async def create_movies(self, request: Request[Idempotent, None]) -> Answer:
        """Add up to 1,000 movies; each is accepted or refused on its own."""
        kind = RowKind(MovieBody, MOVIE_BYTES_MAX, subject="movie_id")
        return await self._bulk.commit(request, kind, self._creation)

    @operation(
        "PATCH",
        "/v1/movies/{movie_id}",
        tag="movies",
        access=CATALOGUE,
        parameters=MovieCorrection,
        body=JsonBody(MovieChangesBody, MOVIE_BYTES_MAX),
        answers=CHANGED
        | STALE
        | CLOSED
        | {409: ID_TAKEN, 428: AnswerKind("`If-Match` is missing.")},
    )
    async def change_movie(self, request: Request[MovieCorrection, MovieChangesBody]) -> Answer:
        """Correct a movie (curators); `If-Match` names the `ETag` of the corrected version.

        An IMDb or TMDB id that the movie gives up is free for another movie at once.
        """
        condition = request.parameters.condition
        if condition is None:
            raise Refused(
                "precondition-required",
                "send the movie's `ETag` as `If-Match`",
            )
        changes = request.body.model_dump(exclude_unset=True)
        command = ChangeMovieDetails(
            movie_id=MovieId(request.parameters.movie_id),
            changes=changes,
            stream_of=self._stream_of,
            condition=condition,
            now=self._commands.now(),
        )
        return answer(await self._commands.send_once(command, request))

    @operation(
        "POST",
        "/v1/movies/{movie_id}/merge",
        tag="movies",
        access=CATALOGUE,
        parameters=MergedMovie,
        body=JsonBody(MergeBody, OTHER_FIELDS_BYTES),
        answers=CLOSED
        | {
            202: answered("Merged; the ratings are moving", MovieAnswer),
            409: BEING_WITHDRAWN,
        },
    )
    async def merge_movie(self, request: Request[MergedMovie, MergeBody]) -> Answer:
        """Merge a movie into another one, which remains (curators).

        From then on the old id is answered with 301. Its ratings move one by one; if a user rated
        both, the later rating counts. Its IMDb and TMDB ids are free.
        """
        command = MergeMovie(
            movie_id=MovieId(request.parameters.movie_id),
            into=MovieId(request.body.into),
            stream_of=self._stream_of,
            now=self._commands.now(),
        )
        outcome = await self._commands.send_once(command, request)
        self._closed_movies.hurry()
        return answer(outcome, {"movie_id": outcome.subject}, HTTPStatus.ACCEPTED)

    @operation(
        "DELETE",
        "/v1/movies/{movie_id}",
        tag="movies",
        access=CATALOGUE,
        parameters=MovieCorrection,
        answers=DONE
        | STALE
        | CLOSED
        | {409: AnswerKind("The movie has ratings, or some are still moving to it.")},
    )
    async def withdraw_movie(self, request: Request[MovieCorrection, None]) -> Answer:
        """Withdraw a movie that has no ratings, for good (curators).

        From then on its id is answered with 410; its IMDb and TMDB ids are free. A movie that was
        withdrawn before gives 204 too.
        """
        movie_id = MovieId(request.parameters.movie_id)
        if await self._closed_movies.is_rated(movie_id):
            raise rated(movie_id)
        command = StartWithdrawal(
            movie_id=movie_id,
            condition=request.parameters.condition,
            now=self._commands.now(),
        )
        await self._commands.send_once(command, request)
        return answer(await self._closed_movies.end_withdrawal(movie_id))

    def _creation(self, body: MovieBody) -> CreateMovie:
        if body.external_id is None:
            movie_id = MovieId(new_uuid7())
        else:
            movie_id = MovieId(keyed_uuid(self._secret, "external-movie", body.external_id))
        return CreateMovie(
            movie_id=movie_id,
            details=body.details(),
            stream_of=self._stream_of,
            now=self._commands.now(),
        )
