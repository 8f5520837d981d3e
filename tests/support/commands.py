"""Commands for tests that commit without HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from command_api.commit.committer import Committer
from command_api.commit.idempotency import RequestKey
from command_api.commit.pending_command import Answer, Pending
from command_api.deciding.movie import CreateMovie
from command_api.deciding.principal import Principal, Service
from command_api.deciding.rating import SubmitRating
from command_api.deciding.use_cases import Command
from command_api.deciding.user import CreateExternalUser, SignUp
from shared.ids import MovieId, StreamId, UserId, new_uuid7, rating_stream_id
from shared.log.events import MovieFields

SERVICE = Service(new_uuid7(), frozenset({"users", "ratings", "movies", "roles", "erasure"}))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pending(
    command: Command, principal: Principal = SERVICE, key: RequestKey | None = None
) -> Pending:
    return Pending(
        command,
        principal,
        request_id=uuid4(),
        deadline_s=float("inf"),
        settle=_nobody_waits,
        key=key,
    )


def _nobody_waits(_answer: Answer) -> None:
    """The tests look at what `commit` returns."""


def commit(
    committer: Committer, *commands: Command, principal: Principal = SERVICE
) -> list[Answer]:
    """Commit as one batch."""
    batch = [pending(command, principal) for command in commands]
    return asyncio.run(committer.commit(batch))


def a_user() -> CreateExternalUser:
    return CreateExternalUser(
        user_id=UserId(new_uuid7()),
        external_id=f"test:{uuid4()}",
        external_stream=StreamId(uuid4()),
        derived_id=UserId(uuid4()),
        display_name="Ann",
        now=NOW,
    )


def a_sign_up(email_stream: StreamId) -> SignUp:
    return SignUp(
        user_id=UserId(new_uuid7()),
        email="ann@example.org",
        email_stream=email_stream,
        password_hash="hash",
        display_name="Ann",
        now=NOW,
    )


def a_movie() -> CreateMovie:
    return CreateMovie(
        movie_id=MovieId(new_uuid7()),
        details=MovieFields(title="Stalker", year=1979),
        imdb_stream=None,
        now=NOW,
    )


def a_rating(
    user_id: UserId,
    movie_id: MovieId,
    half_stars: int = 7,
    review: str | msgspec.UnsetType | None = msgspec.UNSET,
) -> SubmitRating:
    return SubmitRating(
        user_id=user_id,
        movie_id=movie_id,
        rating_stream=rating_stream_id(user_id, movie_id),
        half_stars=half_stars,
        review=review,
        now=NOW,
    )
