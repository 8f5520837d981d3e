"""`movies`: details, statistics, daily history, and the users who rated each movie."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache

import msgspec

from projector.documents.working_set import Documents, Key
from projector.projections.definition import LogEvent, Projection
from shared.errors import DocumentUnusable, ProjectionFault
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
from shared.read_model.documents import HISTORY_STEP, ClosedDocument, HistoryYear, movie_document
from shared.read_model.keys import MOVIES, PARTITIONS
from shared.read_model.kinds import (
    CATALOGUE,
    CLOSED,
    HISTORY,
    LEFT,
    MOVIE,
    RATERS,
    STATISTICS,
    Scores,
    year_suffix,
)
from shared.read_model.ranks import milliseconds, rating_rank
from shared.read_model.statistics import BINS


def reads(event: Event) -> tuple[Key, ...]:
    match event:
        case RatingSubmitted():
            return _moved(event.movie_id.hex, event.rated_at)
        case RatingWithdrawn():
            return _moved(event.movie_id.hex, event.withdrawn_at)
        case RatingMoved():
            return _moved(event.movie_id.hex, event.moved_at)
        case MovieDetailsChanged() | MovieReopened() | MovieMerged() | MovieWithdrawn():
            return ((MOVIE.name, event.movie_id.hex),)
        case _:
            return ()


def apply(documents: Documents, logged: LogEvent) -> None:
    """Apply an event; raise `ProjectionFault` if the movie that it rates or changes is missing."""
    event = logged.event
    match event:
        case RatingSubmitted():
            movie = event.movie_id.hex
            _move(
                documents,
                logged,
                movie,
                event.rated_at,
                removed=event.previous_half_stars,
                added=event.half_stars,
            )
            rank = rating_rank(event.rated_at, event.half_stars)
            documents.rank(RATERS, movie, event.user_id.bytes, rank)
        case RatingWithdrawn() | RatingMoved():
            ended_at = event.withdrawn_at if isinstance(event, RatingWithdrawn) else event.moved_at
            _move(
                documents,
                logged,
                event.movie_id.hex,
                ended_at,
                removed=event.previous_half_stars,
                added=None,
            )
            documents.unrank(RATERS, event.movie_id.hex, event.user_id.bytes)
        case MovieCreated():
            movie = event.movie_id.hex
            created = movie_document(
                event.movie_id, event.details, event.created_at, logged.position, logged.version
            )
            documents.put(MOVIE, movie, created)
            documents.put(STATISTICS, movie, Scores([0] * BINS, logged.position))
            documents.rank(CATALOGUE, "", event.movie_id.bytes, milliseconds(event.created_at))
        case MovieMerged() | MovieWithdrawn():
            # The statistics and the raters of a merged one go with the ratings, as they move.
            _close(documents, event, logged.position)
        case MovieDetailsChanged() | MovieReopened():
            existing = documents.get(MOVIE, event.movie_id.hex)
            if existing is None:
                raise DocumentUnusable(f"movie {event.movie_id} changed and was never created")
            changed = movie_document(
                event.movie_id,
                event.details,
                existing.created_at,
                logged.position,
                logged.version,
            )
            documents.put(MOVIE, event.movie_id.hex, changed)
        case _:
            pass


def _close(documents: Documents, event: MovieMerged | MovieWithdrawn, at: Position) -> None:
    """Replace a movie by a note of where it went, and of the ids that it had."""
    if isinstance(event, MovieMerged):
        closed, left_at = ClosedDocument(into=event.into, position=at), event.merged_at
    else:
        closed, left_at = ClosedDocument(into=None, position=at), event.withdrawn_at
    movie = documents.get(MOVIE, event.movie_id.hex)
    if movie is not None:
        closed = msgspec.structs.replace(
            closed, imdb_id=movie.imdb_id, tmdb_id=movie.tmdb_id, external_id=movie.external_id
        )
    documents.delete(MOVIE.name, event.movie_id.hex)
    documents.put(CLOSED, event.movie_id.hex, closed)
    documents.unrank(CATALOGUE, "", event.movie_id.bytes)
    documents.rank(LEFT, "", event.movie_id.bytes, milliseconds(left_at))


def existing_scores(documents: Documents, entity: str, *, removed: int | None) -> Scores:
    """Return an entity's scores, to be changed in place.

    Raises `DocumentUnusable` if it has none, and `ProjectionFault` if the score to be removed is
    not among them.
    """
    scores = documents.get(STATISTICS, entity)
    if scores is None:
        raise DocumentUnusable(f"{entity} has no statistics: it was never created")
    if removed is not None and scores.histogram[removed - 1] == 0:
        raise ProjectionFault(f"{entity} has no score of {removed} half stars to remove")
    return scores


def move_score(bins: list[int], *, removed: int | None, added: int | None) -> None:
    if removed is not None:
        bins[removed - 1] -= 1
    if added is not None:
        bins[added - 1] += 1


def _move(
    documents: Documents,
    logged: LogEvent,
    movie: str,
    at: datetime,
    *,
    removed: int | None,
    added: int | None,
) -> None:
    """Move a score in the statistics and in the history.

    Times in events are in UTC. Both differences belong to the day of the change: earlier days stay
    as they were.
    """
    scores = existing_scores(documents, movie, removed=removed)
    key = year_suffix(movie, at.year)
    year = documents.get(HISTORY, key) or HistoryYear({})
    move_score(scores.histogram, removed=removed, added=added)
    scores.position = logged.position
    documents.put(STATISTICS, movie, scores)
    day = (at.toordinal() - _last_day_before(at.year)) * HISTORY_STEP
    if removed is not None:
        year.added[day + removed] = year.added.get(day + removed, 0) - 1
    if added is not None:
        year.added[day + added] = year.added.get(day + added, 0) + 1
    documents.put(HISTORY, key, year)


def _moved(movie: str, at: datetime) -> tuple[Key, ...]:
    """Return the documents that `_move` reads."""
    return ((STATISTICS.name, movie), (HISTORY.name, year_suffix(movie, at.year)))


@cache
def _last_day_before(year: int) -> int:
    return date(year, 1, 1).toordinal() - 1


PROJECTION = Projection(
    name=MOVIES,
    version=4,
    partitions=PARTITIONS,
    entities={
        MovieCreated: "movie_id",
        MovieDetailsChanged: "movie_id",
        MovieMerged: "movie_id",
        MovieWithdrawn: "movie_id",
        MovieReopened: "movie_id",
        RatingSubmitted: "movie_id",
        RatingWithdrawn: "movie_id",
        RatingMoved: "movie_id",
    },
    reads=reads,
    apply=apply,
    personal=False,
)
