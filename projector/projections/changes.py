"""`changes`: a capped stream of changed movies in log order, for consumers that keep a copy."""

from __future__ import annotations

from projector.documents.working_set import Documents, Key
from projector.projections.definition import LogEvent, Projection, UndecodedRating
from shared.log.events import (
    Event,
    MovieCreated,
    MovieDetailsChanged,
    MovieMerged,
    MovieReopened,
    MovieWithdrawn,
    RatingMoved,
    RatingSubmitted,
    RatingWithdrawn,
)
from shared.read_model.checksum import with_checksum
from shared.read_model.keys import CHANGES
from shared.read_model.kinds import CHANGED_MOVIE_FIELD, CHANGED_MOVIES


def reads(_event: Event) -> tuple[Key, ...]:
    return ()


def apply(documents: Documents, logged: LogEvent) -> None:
    event = logged.event
    match event:
        case (
            RatingSubmitted()
            | RatingWithdrawn()
            | RatingMoved()
            | MovieCreated()
            | MovieDetailsChanged()
            | MovieMerged()
            | MovieWithdrawn()
            | MovieReopened()
        ):
            movie = with_checksum(event.movie_id.bytes)
            documents.append(CHANGED_MOVIES, logged.position, CHANGED_MOVIE_FIELD, movie)
        case UndecodedRating():
            movie = with_checksum(event.movie)
            documents.append(CHANGED_MOVIES, logged.position, CHANGED_MOVIE_FIELD, movie)
        case _:
            pass


PROJECTION = Projection(
    name=CHANGES,
    version=2,
    partitions=1,
    entities={
        MovieCreated: "movie_id",
        MovieDetailsChanged: "movie_id",
        MovieMerged: "movie_id",
        MovieWithdrawn: "movie_id",
        MovieReopened: "movie_id",
        RatingSubmitted: "movie_id",
        RatingWithdrawn: "movie_id",
        RatingMoved: "movie_id",
        UndecodedRating: "movie_id",
    },
    reads=reads,
    apply=apply,
    personal=False,
)
