"""The rules of one user's rating of one movie."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

import msgspec

from shared.errors import InvalidInput, RatingSuperseded
from shared.ids import MovieId, StreamId, UserId
from shared.log.events import RatingMoved, RatingSubmitted, RatingWithdrawn
from shared.versions import Condition, rating_version

RatingEvent = RatingSubmitted | RatingWithdrawn | RatingMoved

# Allowed clock skew of a client; a rating dated in the future is stored with the current time.
CLOCK_AHEAD_MAX = timedelta(minutes=5)


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """The current rating; `half_stars` is None before the first one and after a withdrawal.

    `changed_at` is when the last rating was given or withdrawn: nothing may be dated before it, or
    a day in the movie's history would count the same user twice.
    """

    half_stars: int | None = None
    review: str | None = None
    changed_at: datetime | None = None

    def version(self) -> str | None:
        """Return the rating's version, None without a rating."""
        if self.half_stars is None or self.changed_at is None:
            return None
        return rating_version(self.half_stars, self.review, self.changed_at)


class SubmitRating(msgspec.Struct, frozen=True, kw_only=True):
    """Rate a movie.

    Without `review` the current one stays, None removes it; without `rated_at` the time is now.
    `rating_stream` is the stream of the user's rating of the movie.
    """

    user_id: UserId
    movie_id: MovieId
    rating_stream: StreamId
    half_stars: int
    review: str | msgspec.UnsetType | None = msgspec.UNSET
    rated_at: datetime | None = None
    condition: Condition | None = None
    now: datetime


class WithdrawRating(msgspec.Struct, frozen=True, kw_only=True):
    """Withdraw a rating; nothing happens if there is none."""

    user_id: UserId
    movie_id: MovieId
    rating_stream: StreamId
    condition: Condition | None = None
    now: datetime


class MoveRating(msgspec.Struct, frozen=True, kw_only=True):
    """Move a rating of a merged movie to the remaining one; nothing happens if there is none.

    The streams are the user's ratings of both movies.
    """

    user_id: UserId
    movie_id: MovieId
    into: MovieId
    rating_stream: StreamId
    into_stream: StreamId
    now: datetime


RatingCommand = SubmitRating | WithdrawRating


def decide(command: RatingCommand, rating: Rating) -> list[RatingEvent]:
    """Return the events; raise `StaleVersion`, `RatingSuperseded` or `InvalidInput`."""
    if command.condition is not None:
        command.condition.require(rating.version(), "rating")
    match command:
        case SubmitRating():
            return _submit(command, rating)
        case WithdrawRating():
            return _withdraw(command, rating)
        case _:
            assert_never(command)


def evolve(_rating: Rating, event: RatingEvent) -> Rating:
    """Return the state, which depends only on a rating's last event."""
    match event:
        case RatingSubmitted():
            return Rating(
                half_stars=event.half_stars, review=event.review, changed_at=event.rated_at
            )
        case RatingWithdrawn():
            return Rating(changed_at=event.withdrawn_at)
        case RatingMoved():
            return Rating(changed_at=event.moved_at)
        case _:
            assert_never(event)


def move(command: MoveRating, rating: Rating, remaining: Rating) -> list[RatingEvent]:
    """Return the events that end the rating, and give it to the remaining movie.

    It is not given if the user's rating or withdrawal there is as late.
    """
    if rating.half_stars is None or rating.changed_at is None:
        return []
    moved = RatingMoved(
        user_id=command.user_id,
        movie_id=command.movie_id,
        into=command.into,
        moved_at=max(command.now, rating.changed_at),
        previous_half_stars=rating.half_stars,
        previous_rated_at=rating.changed_at,
    )
    if remaining.changed_at is not None and rating.changed_at <= remaining.changed_at:
        return [moved]
    given = RatingSubmitted(
        user_id=command.user_id,
        movie_id=command.into,
        half_stars=rating.half_stars,
        rated_at=rating.changed_at,
        review=rating.review,
        previous_half_stars=remaining.half_stars,
        previous_rated_at=remaining.changed_at if remaining.half_stars is not None else None,
    )
    return [moved, given]


def _submit(command: SubmitRating, rating: Rating) -> list[RatingEvent]:
    if command.rated_at is not None and command.rated_at > command.now + CLOCK_AHEAD_MAX:
        raise InvalidInput("rated_at is more than 5 minutes in the future", pointer="/rated_at")
    review = rating.review if command.review is msgspec.UNSET else command.review
    if rating.half_stars == command.half_stars and rating.review == review:
        return []  # The same rating again: nothing happened, so nothing is recorded.
    return [
        RatingSubmitted(
            user_id=command.user_id,
            movie_id=command.movie_id,
            half_stars=command.half_stars,
            rated_at=_rated_at(command, rating),
            review=review,
            previous_half_stars=rating.half_stars,
            previous_rated_at=rating.changed_at if rating.half_stars is not None else None,
        )
    ]


def _withdraw(command: WithdrawRating, rating: Rating) -> list[RatingEvent]:
    if rating.half_stars is None or rating.changed_at is None:
        return []
    return [
        RatingWithdrawn(
            user_id=command.user_id,
            movie_id=command.movie_id,
            withdrawn_at=max(command.now, rating.changed_at),
            previous_half_stars=rating.half_stars,
            previous_rated_at=rating.changed_at,
        )
    ]


def _rated_at(command: SubmitRating, rating: Rating) -> datetime:
    """Return the rating's time: an earlier one is refused, a default is raised if needed."""
    if command.rated_at is None or command.rated_at > command.now:
        return max(command.now, rating.changed_at or command.now)
    if rating.changed_at is not None and command.rated_at < rating.changed_at:
        raise RatingSuperseded(
            f"rated_at is {command.rated_at.isoformat()}, before the current rating at"
            f" {rating.changed_at.isoformat()}",
            pointer="/rated_at",
        )
    return command.rated_at
