"""`changes`: the movies in the order of their last change, for consumers that keep a copy.

A movie has one place however often it changes, so that a consumer can follow from any position. A
capped stream lists the changes for query APIs of earlier releases.
"""

from __future__ import annotations

from projector.documents.working_set import Documents, Key
from projector.projections.definition import LogEvent, Projection, UndecodedRating
from shared.ids import Position
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
from shared.read_model.kinds import CHANGE_ORDER, CHANGED_MOVIE_FIELD, CHANGED_MOVIES


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
            _note(documents, event.movie_id.bytes, logged.position)
        case UndecodedRating():
            _note(documents, event.movie, logged.position)
        case _:
            pass


def _note(documents: Documents, movie: bytes, position: Position) -> None:
    documents.rank(CHANGE_ORDER, "", movie, position)
    # TODO: drop the stream once no query API reads it: the release before this one does.
    documents.append(CHANGED_MOVIES, position, CHANGED_MOVIE_FIELD, with_checksum(movie))


PROJECTION = Projection(
    name=CHANGES,
    version=3,
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
